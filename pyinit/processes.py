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
    """/proc is missing or shows other PIDs than pyinit's, so descendants cannot be found."""


def descendants() -> list[int]:
    """The PIDs of all descendants of the calling process, parents first, zombies too.

    One walk is no snapshot: the child of a process that ended meanwhile may be missing, and is found by the next walk.
    NoProcError where there is no /proc, or that of another PID namespace: its numbers mean other processes here.
    """
    own = posix.getpid()
    try:
        if posix.readlink("/proc/self") != str(own):
            raise NoProcError("it shows another PID namespace")
        if _read(f"/proc/self/task/{own}/children") is not None:
            return _walk_children(own)
        return _walk_parents(own)
    except OSError as error:
        raise NoProcError(error.strerror) from None


def _walk_children(own: int) -> list[int]:
    """By the children files, where the kernel has them (CONFIG_PROC_CHILDREN): as long as there are descendants."""
    family = [own]
    for pid in family:  # grows while it is walked
        try:
            tasks = posix.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            family += map(int, (_read(f"/proc/{pid}/task/{task}/children", long=True) or b"").split())
    return family[1:]


def _walk_parents(own: int) -> list[int]:
    """By every process's parent: as long as there are processes."""
    pids = [int(name) for name in posix.listdir("/proc") if name.isdigit()]
    children: dict[int, list[int]] = {}
    for pid in pids:
        children.setdefault(_state_and_parent(pid)[1], []).append(pid)
    family = [own]
    for pid in family:  # grows while it is walked
        family += children.get(pid, ())
    return family[1:]


def signal_descendants(signums: "Iterable[int]") -> None:
    """Send the signals to every descendant: as PID 1, at once, to every process of the namespace. See kill(2).

    NoProcError as in descendants(), but not as PID 1.
    """
    if posix.getpid() != 1:
        send(signums, descendants())
        return
    for signum in signums:
        try:
            posix.kill(-1, signum)
        except ProcessLookupError:
            pass  # the last one has just ended


def kill_descendants() -> None:
    """SIGKILL for every descendant, those included that a fork bomb adds during the walk; NoProcError as above.

    Whoever is found is stopped first, until a walk finds nobody new: a stopped process forks no more, while one that is
    killed makes room for the next where the number of processes is bounded.
    """
    if posix.getpid() == 1:
        signal_descendants((_signal.SIGKILL,))
        return
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
    since the walk, so that process is pinned by a pidfd and its parent looked at again before it gets a signal. See
    pidfd_send_signal(2).
    """
    own = posix.getpid()
    parents = {own, *pids, *family}
    for pid in pids:
        parent = _state_and_parent(pid)[1]
        try:
            if parent == own:
                for signum in signums:
                    posix.kill(pid, signum)
            elif parent in parents:
                _send_pinned(signums, pid, parents)
        except OSError:
            pass  # ESRCH: it has just ended; EPERM: it runs as another user


def _send_pinned(signums: "Iterable[int]", pid: int, parents: "Collection[int]") -> None:
    """Send the signals to `pid`, or to nobody if its parent is none of `parents`."""
    try:
        pidfd = posix.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:  # ENOSYS before Linux 5.3, EPERM by a seccomp filter: what is left is a short race
        for signum in signums:
            posix.kill(pid, signum)
        return
    try:
        if _state_and_parent(pid)[1] in parents:
            for signum in signums:
                _signal.pidfd_send_signal(pidfd, signum)
    finally:
        posix.close(pidfd)


def name(pid: int) -> str:
    """What `ps -o comm` shows for `pid`; `?` where that cannot be read."""
    return (_read(f"/proc/{pid}/comm") or b"?").decode(errors="replace").rstrip("\n")


def state(pid: int) -> str:
    """The state of `pid` as one letter, such as D or Z; X where it has gone."""
    return _state_and_parent(pid)[0]


def _state_and_parent(pid: int) -> tuple[str, int]:
    """Fields 3 and 4 of /proc/PID/stat; X and 0 where it has gone; ? for a child that hidepid= hides, see proc(5)."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return ("?", posix.getpid()) if _is_own_child(pid) else ("X", 0)
    fields = stat[stat.rindex(b")") + 2 :].split(None, 2)  # field 2, in parentheses, may hold anything
    return fields[0].decode(), int(fields[1])


def _is_own_child(pid: int) -> bool:
    """Whether `pid` is a child of the calling process that has not been reaped, by waitid(2)."""
    try:
        posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _read(path: str, *, long: bool = False) -> bytes | None:
    """A file of /proc, `long` or such that one read(2) is enough; None where it is not there (any more)."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = chunk = posix.read(fd, 65536)
        while long and chunk:
            chunk = posix.read(fd, 65536)
            content += chunk
        return content
    except OSError:  # ESRCH: it ended between open and read
        return None
    finally:
        posix.close(fd)
