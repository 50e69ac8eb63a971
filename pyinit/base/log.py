"""Messages to stderr, and lines for --json-status-fd, that can neither block pyinit nor end it.

Most runs print no message, so the code that prints one is in base.output, and is imported for the first message.
"""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ERROR, WARNING, INFO, DEBUG = -1, 0, 1, 2

level = WARNING  # messages up to this level are printed
stderr_open = True
last_failure = ""


def start() -> None:
    """Find out whether stderr is open.

    Call it before pyinit opens anything. If stderr is closed, the next file that pyinit opens may get descriptor 2.
    """
    global stderr_open
    try:
        posix.fstat(2)
        stderr_open = True
    except OSError:
        stderr_open = False


def error(message: str) -> None:
    """Say why pyinit cannot do what it was asked."""
    _say(ERROR, message)


def warning(message: str) -> None:
    """Say what the reader of a container's log should check."""
    _say(WARNING, message)


def info(message: str) -> None:
    """Say, with -v, what pyinit does."""
    _say(INFO, message)


def debug(message: str) -> None:
    """Say, with -vv, what each process and signal did."""
    _say(DEBUG, message)


def report(status_fd: int, document: str) -> None:
    """Write the line `document` to --json-status-fd, if that option was given."""
    if status_fd >= 0:
        from .output import write

        write(status_fd, f"{document}\n".encode())


def attempt(step: "Callable[..., object]", *arguments: object) -> bool:
    """Call `step` with the `arguments`. Return true, or print its error and return false.

    Once the command runs, no error may end pyinit. Such errors are a system call that a filter denies, a lack of
    descriptors or of memory, and a package that was removed. If the same error follows, it is not printed again.
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
            pass  # somebody has removed the package, or there is no memory: neither may end PID 1
