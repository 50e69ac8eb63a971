"""The command line: argv and the environment become Options, and errors one line on stderr.

Called by the script pyinit/bin/pyinit, with every signal blocked. What the options are is in the module options.
"""

import posix
import sys

from . import log
from .request import OWN_ERROR, VARIABLES, Options, UsageError, Woken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main(inherited_mask: "set[int]") -> "NoReturn":
    """Run pyinit to its end with the words of sys.argv; `inherited_mask` is the signal mask it was started with."""
    log.start(log.WARNING)
    words = sys.argv[1:]
    is_woken = Woken.is_for("".join(words[:1]), posix.getpid())
    try:
        options = resume(words, posix.environ) if is_woken else parse(words, posix.environ)
        if options.prints:
            from .options import print_and_exit

            print_and_exit(options.prints(), inherited_mask)
        log.start(options.verbosity)
        if options.pid_namespace:
            try:
                from .launcher import run
            except ImportError as error:
                raise UsageError(f"--pid-namespace needs ctypes, fcntl and socket of this Python: {error}") from None
        else:
            from .init import run
        run(options, inherited_mask)
    except Exception as error:  # a traceback helps nobody who reads a container's log
        if is_woken:
            raise  # the script tries again
        is_usage = isinstance(error, UsageError)
        log.error(f"{error} (see pyinit --help)" if is_usage else f"cannot start: {type(error).__name__}: {error}")
    posix._exit(OWN_ERROR)


def resume(words: list[str], environ: dict[bytes, bytes]) -> Options:
    """As parse(), for `words` that begin with the waiter's, or a launched program's; they made sense before."""
    from .options import read

    woken = Woken(words[0])
    options = read(words[1:], environ, Options(woken=woken))
    if woken.role != Woken.LAUNCHED:
        options = options.but(parent_death_signal=0)  # which outlasts execve(2)
    if woken.role == Woken.INNER:
        options = options.but(pid_namespace=False, status_fd=-1)  # these are the launcher's
    return options


def parse(words: list[str], environ: dict[bytes, bytes]) -> Options:
    """Read the environment, then `words`, up to the command.

    UsageError where they don't make sense.
    """
    has_option = bool(words) and words[0].startswith("-") and words[0] != "--"
    if has_option or any(variable in environ for variable in VARIABLES):
        from .options import read  # 60 kB and 0.4 ms that `pyinit -- command` does without

        options = read(words, environ)
    else:
        options = Options(command=words[1:] if words[:1] == ["--"] else words)
    if options.prints:
        return options
    if options.pause and options.command:
        raise UsageError(f"--pause runs no command, and {options.command[0]!r} is one")
    if not options.pause and not options.command:
        raise UsageError("no command given")
    return options
