"""Pipes: which processes read one on their stdin, and which can write to it.

This module only reads /proc/PID/fd; see proc_pid_fd(5). A pipe has a name here: `pipe:[4242]`, or the device and the
inode of a FIFO that has a path.
"""

import posix
from _stat import S_ISFIFO, S_IWUSR

from .proc import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .proc import Process


def pipe_on_stdin(pid: int) -> str:
    """Return the pipe that `pid` has as its stdin; "" if it is none, or cannot be read."""
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
    return readers, written


def pipes_written_by(pid: int) -> "set[str] | None":
    """Return the pipes that `pid` has open for writing; None if another user's process hides its descriptors."""
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
            if pipe and posix.lstat(link).st_mode & S_IWUSR:
                pipes.add(pipe)
        except PermissionError:  # with CAP_DAC_OVERRIDE, but without CAP_SYS_PTRACE, only the list can be read
            return None
        except OSError:
            pass  # it has closed it
    return pipes


def _pipe(link: str) -> str:
    """Return the name of the pipe that `link`, a link in /proc/PID/fd, leads to; "" if it is none. OSError."""
    target = posix.readlink(link)
    if target.startswith("pipe:"):
        return target
    if target.startswith("/") and not target.startswith("/dev/"):
        found = posix.stat(link)
        if S_ISFIFO(found.st_mode):
            return f"{found.st_dev}:{found.st_ino}"
    return ""
