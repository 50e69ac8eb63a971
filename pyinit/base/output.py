"""Lines for stderr and --json-status-fd, written in a way that can neither block pyinit nor end it.

The descriptors belong to the process that started pyinit, and the command shares them. So this module must not change
them: O_NONBLOCK on stderr would affect the command too. If the reader has gone, the pipe or the disk is full, or the
descriptor is closed, the line is lost, and nothing else happens.
"""

import _signal
import posix
from _stat import S_ISCHR, S_ISFIFO, S_ISREG

LONGEST_LINE = 4096  # PIPE_BUF: poll(2) reports POLLOUT if a pipe has room for this many bytes


def say(message: str) -> None:
    """Write `message` to stderr on one line.

    Control characters become "?", because a terminal would obey them, and anybody may choose a name in the message.
    """
    shown = "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else "?" for c in " ".join(message.splitlines()))
    line = f"pyinit: {shown}".encode(errors="surrogateescape")
    write(2, line[: LONGEST_LINE - 1] + b"\n")


def write(fd: int, line: bytes) -> None:
    """Write `line` to `fd` if that is possible at once. Otherwise the line is lost.

    It is no longer than LONGEST_LINE. See write(2).
    """
    try:
        mode = posix.fstat(fd).st_mode
        if S_ISREG(mode):
            posix.write(fd, line)
        elif not ((S_ISFIFO(mode) or S_ISCHR(mode)) and _write_to_own_description(fd, line)):
            _write_if_ready(fd, line)
    except OSError as error:  # EBADF, EIO, ENOSPC: nobody can read it
        from errno import EFBIG, EPIPE

        if error.errno in (EPIPE, EFBIG):  # with these the kernel sends a signal too; it is pending now: drop it
            _signal.sigtimedwait((_signal.SIGPIPE, _signal.SIGXFSZ), 0)


def _write_to_own_description(fd: int, line: bytes) -> bool:
    """Write by an open file description of pyinit's own, and return true; return false if it cannot have one.

    O_NONBLOCK on that description affects nobody else. Never call it for a regular file: a new description would start
    at offset 0. OSError if the write fails.
    """
    posix.write(fd, b"")  # EBADF if `fd` is open for reading only; its pipe's other end would be the command's stdin
    flags = posix.O_WRONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC
    try:
        own = posix.open(f"/proc/self/fd/{fd}", flags)
    except OSError:
        return False  # there is no /proc, or the terminal belongs to another user
    try:
        posix.write(own, line)
    finally:
        posix.close(own)
    return True


def _write_if_ready(fd: int, line: bytes) -> None:
    """Write if poll(2) says that write(2) will not block.

    This is for a socket, and for any descriptor if /proc is missing.
    """
    import select

    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if poll.poll(0):
        posix.write(fd, line)
