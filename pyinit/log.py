"""Messages to stderr that can neither block pyinit nor end it.

Called from everywhere. The descriptors belong to whoever started pyinit and are shared with the command: nothing here
may change them (O_NONBLOCK on stderr would reach the command too), and a reader that has gone, a full pipe, a full disk
or a closed descriptor loses the message and nothing else.
"""

import posix
from _stat import S_ISCHR, S_ISFIFO, S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

LONGEST_LINE = 4096  # PIPE_BUF: what poll(2) promises a pipe to have room for
ERROR, WARNING, INFO, DEBUG = -1, 0, 1, 2

level = WARNING
stderr_open = True


def start(verbosity: int) -> None:
    """Take messages up to `verbosity` from now on.

    To be called before pyinit opens anything: where stderr is closed, the next descriptor opened may well be number 2.
    """
    global level, stderr_open
    level = verbosity
    stderr_open = is_open(2)


def is_open(fd: int) -> bool:
    """Whether `fd` is an open descriptor; see fstat(2)."""
    try:
        posix.fstat(fd)
    except OSError:
        return False
    return True


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


def _say(severity: int, message: str) -> None:
    if severity <= level and stderr_open:
        line = f"pyinit: {' '.join(message.splitlines())}".encode(errors="surrogateescape")
        write(2, line[: LONGEST_LINE - 1] + b"\n")


def write(fd: int, line: bytes) -> None:
    """Write `line`, no longer than LONGEST_LINE, to `fd` if that can be done at once; else it is lost. See write(2)."""
    try:
        mode = posix.fstat(fd).st_mode
        if S_ISREG(mode):
            posix.write(fd, line)
        elif not ((S_ISFIFO(mode) or S_ISCHR(mode)) and _write_to_own_description(fd, line)):
            _write_if_ready(fd, line)
    except OSError as error:  # EBADF, EIO, ENOSPC: nobody can read it
        from errno import EFBIG, EPIPE

        if error.errno in (EPIPE, EFBIG):  # these two bring a signal, which is pending now, and which nobody sent
            _signal.sigtimedwait((_signal.SIGPIPE, _signal.SIGXFSZ), 0)


def _write_to_own_description(fd: int, line: bytes) -> bool:
    """Write through an open file description of pyinit's own, where O_NONBLOCK is nobody else's; false: there is none.

    Never for a regular file, where a new description would start at offset 0.
    """
    flags = posix.O_WRONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC
    try:
        own = posix.open(f"/proc/self/fd/{fd}", flags)
    except OSError:
        return False  # no /proc, or the terminal is another user's
    try:
        posix.write(own, line)
    finally:
        posix.close(own)
    return True


def _write_if_ready(fd: int, line: bytes) -> None:
    """Write where poll(2) says that it won't block: a socket, or anything where /proc is missing."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if poll.poll(0):
        posix.write(fd, line)
