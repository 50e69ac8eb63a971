"""/proc: who is below pyinit and what a process is called; and signals to processes that are not its children.

Called by init when something is left to drain, or for --scope all. Everything in /proc may be gone between two reads:
what has gone is left out. See proc(5).
"""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Collection, Iterable
else:
    import _signal


MOST_WALKS = 100  # where what forks runs as another user and cannot be stopped


class NoProcError(Exception):
    """/proc cannot be read, so descendants cannot be found."""


def descendants() -> list[int]:
    """The PIDs of all live descendants of the calling process, parents first; zombies are left out.

    One walk is no snapshot: the child of a process that ended meanwhile may be missing, and is found by the next walk.
    NoProcError where there is no /proc.
    """
    own = posix.getpid()
    if _read(f"/proc/self/task/{own}/children") is not None:
        return _walk_children(own)
    return _walk_parents(own)


def _walk_children(own: int) -> list[int]:
    """By the children files, where the kernel has them (CONFIG_PROC_CHILDREN): as long as there are descendants."""
    family = [own]
    for pid in family:  # grows while it is walked
        try:
            tasks = posix.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            family += map(int, (_read(f"/proc/{pid}/task/{task}/children") or b"").split())
    return [pid for pid in family[1:] if (state := _state_and_parent(pid)) and state[0] not in b"ZX"]


def _walk_parents(own: int) -> list[int]:
    """By every process's parent: as long as there are processes."""
    try:
        pids = [int(name) for name in posix.listdir("/proc") if name.isdigit()]
    except OSError as error:
        raise NoProcError(error.strerror) from None
    children: dict[int, list[int]] = {}
    zombies = set()
    for pid in pids:
        if found := _state_and_parent(pid):
            state, parent = found
            children.setdefault(parent, []).append(pid)
            if state in b"ZX":
                zombies.add(pid)
    if not pids:
        raise NoProcError("nothing is mounted there")
    family = [own]
    for pid in family:  # grows while it is walked
        family += children.get(pid, ())
    return [pid for pid in family[1:] if pid not in zombies]


def kill_descendants() -> None:
    """SIGKILL for every descendant, those included that a fork bomb adds during the walk.

    Whoever is found is stopped first, until a walk finds nobody new: a stopped process forks no more, while one that is
    killed makes room for the next where the number of processes is bounded. NoProcError as in descendants().
    """
    stopped: set[int] = set()
    for _ in range(MOST_WALKS):
        fresh = [pid for pid in descendants() if pid not in stopped]
        if not fresh:
            break
        send([_signal.SIGSTOP], fresh, stopped)
        stopped.update(fresh)
    send([_signal.SIGKILL], stopped, stopped)


def send(signums: "Iterable[int]", pids: "Collection[int]", family: "Collection[int]" = ()) -> None:
    """Send the signals to each of `pids` whose parent is still one of them, of `family`, or pyinit.

    Only pyinit's own children keep their PIDs until pyinit reaps them. Any other PID may have been given to a stranger
    since the walk, so the process is pinned by a pidfd and its parent looked at again before it gets a signal. See
    pidfd_send_signal(2).
    """
    parents = {posix.getpid(), *pids, *family}
    for pid in pids:
        try:
            pidfd = posix.pidfd_open(pid)
        except ProcessLookupError:
            continue
        except OSError:  # ENOSYS before Linux 5.3, EPERM by a seccomp filter: what is left is the shorter race
            pidfd = None
        try:
            found = _state_and_parent(pid)
            for signum in signums if found and found[1] in parents else ():
                if pidfd is None:
                    posix.kill(pid, signum)
                else:
                    _signal.pidfd_send_signal(pidfd, signum)
        except OSError:
            pass  # ESRCH: it has just ended; EPERM: it runs as another user
        finally:
            if pidfd is not None:
                posix.close(pidfd)


def name(pid: int) -> str:
    """What `ps -o comm` shows for `pid`; `?` where that cannot be read."""
    return (_read(f"/proc/{pid}/comm") or b"?").decode(errors="replace").rstrip("\n")


def state(pid: int) -> str:
    """The state of `pid` as one letter, such as D; `?` where that cannot be read."""
    found = _state_and_parent(pid)
    return found[0].decode() if found else "?"


def _state_and_parent(pid: int) -> tuple[bytes, int] | None:
    """Fields 3 and 4 of /proc/PID/stat. Field 2, in parentheses, may hold anything, parentheses too."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split(None, 2)
    return fields[0], int(fields[1])


def _read(path: str) -> bytes | None:
    """The whole of a file of /proc; None where it is not there (any more)."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = b""
        while chunk := posix.read(fd, 65536):
            content += chunk
        return content
    except OSError:  # ESRCH: it ended between open and read
        return None
    finally:
        posix.close(fd)
