"""Writes a line in a way that can neither block pyinit nor end it.

Called by log, for messages, and by init, for --json-status-fd. The descriptors belong to whoever started pyinit and are
shared with the command: nothing here may change them (O_NONBLOCK on stderr would reach the command too), and a reader
that has gone, a full pipe, a full disk or a closed descriptor loses the line and nothing else.
"""

import _signal
import posix
from _stat import S_ISCHR, S_ISFIFO, S_ISREG

LONGEST_LINE = 4096  # PIPE_BUF: what poll(2) promises a pipe to have room for


def say(message: str) -> None:
    """Write `message` to stderr, on one line, and without what a terminal would obey: it may hold anybody's name."""
    shown = "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else "?" for c in " ".join(message.splitlines()))
    line = f"pyinit: {shown}".encode(errors="surrogateescape")
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
    posix.write(fd, b"")  # EBADF where `fd` is open for reading only; its pipe's other end would be the command's stdin
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
