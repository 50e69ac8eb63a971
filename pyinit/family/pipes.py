"""Pipes: which processes read one on their stdin, and which can write to it.

This module only reads /proc/PID/fd, see proc_pid_fd(5), and asks sock_diag(7). A pipe has a name here: `pipe:[4242]`,
or the device and the inode of a FIFO that has a path, or `socket:[4242]`. ksh93 and node use pairs of Unix sockets as
pipes. The name is then that of the socket at the writers' end.
"""

import posix
from _stat import S_IRUSR, S_ISFIFO, S_IWUSR

from .proc import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .proc import Process


# <linux/netlink.h>, <linux/sock_diag.h>, <linux/unix_diag.h>
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, DUMP, ALL, PEER, UNIX_DIAG_PEER = 4, 20, 0x301, 0xFFFFFFFF, 4, 2
CLOSED = "closed"  # the other end of a socket that nobody has open any more


def pipe_on_stdin(pid: int) -> str:
    """Return the pipe that `pid` has as its stdin, or the socket; "" if it is neither, or cannot be read."""
    try:
        return _pipe(f"/proc/{pid}/fd/0")
    except OSError:
        return ""


def pipes(
    left: "Mapping[int, Process]", unsignalled: "Iterable[Process]", own_stdin: str, deadline: float | None = None
) -> "tuple[dict[int, str], dict[int, set[str] | None]]":
    """Return the readers with the pipe on their stdin, and the pipes that each process can write to, by PID.

    The readers are those of the `unsignalled` whose stdin is a pipe other than `own_stdin`. If there is one, the pipes
    are those of all processes in `left`; see pipes_written_by(). Otherwise there are none. LateError if the `deadline`
    passes meanwhile; see check().
    """
    readers, written = {}, {}
    for process in unsignalled:
        check(deadline)
        pipe = pipe_on_stdin(process.pid)
        if pipe not in ("", own_stdin):
            readers[process.pid] = pipe
    for pid in left if readers else ():
        check(deadline)
        written[pid] = pipes_written_by(pid)
    if any(pipe.startswith("socket:") for pipe in readers.values()):
        _follow_sockets(readers, set().union(*(mine or () for mine in written.values())))
    return readers, written


def _follow_sockets(readers: "dict[int, str]", written: set[str]) -> None:
    """Replace each socket among the `readers` by its other end, or leave it out if that is not among the `written`."""
    other_ends = peers()
    for pid, pipe in list(readers.items()):
        if pipe.startswith("socket:"):
            readers[pid] = other_ends.get(pipe, "")
            if readers[pid] not in (CLOSED, *written):
                del readers[pid]


def peers() -> dict[str, str]:
    """Return the other end of each connected Unix socket, CLOSED if there is none any more; see sock_diag(7)."""
    import _socket
    import _struct as struct

    found: dict[str, str] = {}
    try:
        netlink = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    except OSError:  # the kernel was built without it, or a filter forbids it
        return found
    try:
        request = struct.pack("=IHHII", 40, SOCK_DIAG_BY_FAMILY, DUMP, 0, 0)
        netlink.send(request + struct.pack("=B3xIII8x", _socket.AF_UNIX, ALL, 0, PEER))
        while True:
            answer = netlink.recv(65536)
            while answer:
                length, kind = struct.unpack_from("=IH", answer)
                if kind != SOCK_DIAG_BY_FAMILY:  # NLMSG_DONE, NLMSG_ERROR
                    return found
                (own,), rest = struct.unpack_from("=20xI", answer), answer[32:length]
                while rest:
                    size, name, peer = struct.unpack_from("=HHI", rest)
                    if name == UNIX_DIAG_PEER:
                        found[f"socket:[{own}]"] = f"socket:[{peer}]" if peer else CLOSED
                    rest = rest[size + 3 & ~3 :]
                answer = answer[length + 3 & ~3 :]
    except OSError:
        return found
    finally:
        netlink.close()


def pipes_written_by(pid: int) -> "set[str] | None":
    """Return the pipes that `pid` has open for writing; None if another user's process hides its descriptors."""
    return _pipes_of(pid, S_IWUSR)


def pipes_read_by(pid: int) -> set[str]:
    """Return the pipes that `pid` has open for reading, as far as that may be seen."""
    return _pipes_of(pid, S_IRUSR) or set()


def _pipes_of(pid: int, mode: int) -> "set[str] | None":
    """Return the pipes that `pid` has open as the `mode` of the links says; None if that is hidden."""
    try:
        links = [f"/proc/{pid}/fd/{fd}" for fd in posix.listdir(f"/proc/{pid}/fd")]
    except PermissionError:
        return None
    except OSError:
        return set()  # it has ended
    pipes = set()
    for link in links:
        try:
            pipe = _pipe(link)
            if pipe and posix.lstat(link).st_mode & mode:
                pipes.add(pipe)
        except PermissionError:  # with CAP_DAC_OVERRIDE, but without CAP_SYS_PTRACE, only the list can be read
            return None
        except OSError:
            pass  # it has closed it
    return pipes


def _pipe(link: str) -> str:
    """Return the name of the pipe that `link`, a link in /proc/PID/fd, leads to; "" if it is none. OSError."""
    target = posix.readlink(link)
    if target.startswith(("pipe:", "socket:")):
        return target
    if target.startswith("/") and not target.startswith("/dev/"):
        found = posix.stat(link)
        if S_ISFIFO(found.st_mode):
            return f"{found.st_dev}:{found.st_ino}"
    return ""
