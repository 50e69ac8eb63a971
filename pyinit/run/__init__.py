"""The command line: it makes Options of argv and the environment, and prints an error as one line on stderr.

The script pyinit/bin/pyinit calls main() with every signal blocked. main() does all of pyinit's work, or the part that
the C program has left to Python. The table of options is in run.options.
"""

import posix
import sys

from ..base import OWN_ERROR, VARIABLES, Options, UsageError, log
from .command import CommandError, Inherited, close, exec_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..native import Told


def main(inherited_mask: "set[int]") -> "NoReturn":
    """Run pyinit to its end with the words of sys.argv. It never returns.

    `inherited_mask` is the signal mask that pyinit was started with.
    """
    log.start()
    log.attempt(set_name)
    words = sys.argv[1:]
    told: Told | None = None
    if words and words[0].startswith("--told="):
        from ..native import told as take

        told = take(words)
    if told is not None and told.is_for_adviser:
        from ..stop.adviser import run as advise

        advise(parse(words, posix.environ), told)
    inherited = Inherited(inherited_mask if told is None else told.mask, words, told.ignored if told else ())
    try:
        options = parse(words, posix.environ)
        if options.prints:
            from .options import print_and_exit

            print_and_exit(options.prints(), inherited.mask)
        if told is not None and told.is_for_command:
            exec_command(inherited, options.command)  # the C program could not; if this cannot either, it says why
        log.level = options.verbosity
        if options.parent_death_signal:
            from ..base.syscalls import set_parent_death_signal

            set_parent_death_signal(options.parent_death_signal)
        if options.pid_namespace:
            try:
                from .namespace import run
            except ImportError as error:
                raise UsageError(f"--pid-namespace needs ctypes of this Python: {error}") from None
        else:
            from .init import run
        run(options, inherited, told if told is not None and told.child else None)
    except CommandError as error:
        log.error(str(error))
        posix._exit(error.status)
    except Exception as error:  # a traceback helps nobody who reads a container's log
        is_usage = isinstance(error, UsageError)
        log.error(f"{error} (see pyinit --help)" if is_usage else f"cannot start: {type(error).__name__}: {error}")
    posix._exit(OWN_ERROR)


def set_name() -> None:
    """Name this process pyinit in ps(1), not python. Without /proc it keeps the name that the kernel gave it."""
    try:
        comm = posix.open("/proc/self/comm", posix.O_WRONLY | posix.O_CLOEXEC)
    except OSError:
        return
    posix.write(comm, b"pyinit")
    close(comm)


def parse(words: list[str], environ: dict[bytes, bytes]) -> Options:
    """Return the options in the environment and in `words`, with the command.

    UsageError if they make no sense.
    """
    has_option = bool(words) and words[0].startswith("-") and words[0] != "--"
    if has_option or any(variable in environ for variable in VARIABLES):
        from .options import check_status_fd, read  # 60 kB and 0.4 ms, which `pyinit -- command` does not need to spend

        options = read(words, environ)
        check_status_fd(options)
    else:
        options = Options(command=words[1:] if words[:1] == ["--"] else words)
    if options.prints:
        return options
    if options.pause and options.command:
        raise UsageError(f"--pause runs no command, and {options.command[0]!r} is one")
    if not options.pause and not options.command:
        raise UsageError("no command given")
    return options
