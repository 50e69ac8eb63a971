"""Messages to stderr that can neither block pyinit nor end it.

Called from everywhere. Most runs say nothing, so what says it is in the module output.
"""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ERROR, WARNING, INFO, DEBUG = -1, 0, 1, 2

level = WARNING
stderr_open = True
last_failure = ""


def start(verbosity: int) -> None:
    """Take messages up to `verbosity` from now on.

    To be called before pyinit opens anything: where stderr is closed, the next descriptor opened may well be number 2.
    """
    global level, stderr_open
    level = verbosity
    try:
        posix.fstat(2)
        stderr_open = True
    except OSError:
        stderr_open = False


def error(message: str) -> None:
    """Say why pyinit cannot do what it was asked."""
    _say(ERROR, message)


def warning(message: str) -> None:
    """Say what the reader of a container's log should look into."""
    _say(WARNING, message)


def info(message: str) -> None:
    """Say, with -v, what pyinit does."""
    _say(INFO, message)


def debug(message: str) -> None:
    """Say, with -vv, what each process and signal did."""
    _say(DEBUG, message)


def attempt(step: "Callable[..., object]", *arguments: object) -> bool:
    """Call `step`; where it fails, say so, and return false: once the command runs, no error may end pyinit.

    Such as a system call that a filter denies, no descriptor or no memory left, a package that has been removed. The
    same message is not repeated.
    """
    global last_failure
    try:
        step(*arguments)
        return True
    except Exception as failure:
        message = f"{type(failure).__name__}: {failure}"
        if message != last_failure:
            last_failure = message
            error(message)
        return False


def _say(severity: int, message: str) -> None:
    if severity <= level and stderr_open:
        try:
            from .output import say

            say(message)
        except Exception:
            pass  # the package has been removed meanwhile, or there is no memory: not worth ending PID 1 for
