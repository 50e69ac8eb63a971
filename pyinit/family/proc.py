"""/proc: which processes are below pyinit, and what each of them is. See proc(5).

The module changes no process. It reads files of /proc. To learn whether a process is there, it also calls kill(2) with
signal 0, which sends nothing, and waitid(2) with WNOWAIT, which reaps nothing. Everything in /proc may be gone between
two reads. The module leaves out what has gone.
"""

import _signal
import posix
from time import CLOCK_BOOTTIME, clock_gettime, monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

IGNORED_BY_DEFAULT = (_signal.SIGCHLD, _signal.SIGCONT, _signal.SIGURG, _signal.SIGWINCH)
CHUNK = 65536  # bytes that are read at once
# The fields of /proc/PID/status that pyinit and pyinit-ps use.
FIELDS = frozenset({b"Name", b"State", b"Uid", b"NSpid", b"ShdPnd", b"SigBlk", b"SigIgn", b"SigCgt"})


_init = 0  # the PID of the init that this process advises, or 0
_roots: list[int] = []  # PIDs that count as descendants, and so do the processes below them


def advise(init: int) -> None:
    """Look, from now on, at the processes below the PID `init`, the parent of this process.

    This process itself is not among them.
    """
    global _init
    _init = init


def set_root(pid: int) -> None:
    """Count `pid` and the processes below it as descendants too; 0: none.

    With -n PID 1 is not the command's parent.
    """
    _roots[:] = [pid] if pid else []


def init() -> int:
    """Return the PID of the init whose descendants are meant: this process, if it advises none."""
    return _init or posix.getpid()


class NoProcError(Exception):
    """An error: /proc is missing or shows other PIDs than pyinit's, so descendants cannot be found."""


class LateError(Exception):
    """An error: a deadline has passed while /proc was read."""


class Process:
    """A process as /proc/PID/stat shows it; see proc(5).

    `started` is in ticks since boot. Together with the PID it distinguishes the process from every other. The masks
    hold the signals up to 31; bit 0 is signal 1.
    """

    __slots__ = (
        "blocked",
        "caught",
        "flags",
        "group",
        "ignored",
        "parent",
        "pid",
        "session",
        "started",
        "state",
        "threads",
    )

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        self.pid = pid
        self.state, self.parent = _state_and_parent(pid, fields)
        self.group = self.session = self.flags = self.threads = self.started = 0
        self.blocked = self.ignored = self.caught = 0
        if len(fields) > 31:
            self.group, self.session, self.flags = int(fields[2]), int(fields[3]), int(fields[6])
            self.threads, self.started = int(fields[17]), int(fields[19])
            self.blocked, self.ignored, self.caught = int(fields[29]), int(fields[30]), int(fields[31])

    @property
    def birth(self) -> tuple[int, int]:
        """Return when it was forked, in ticks since boot, and its PID: no other process has both, now or later."""
        return self.started, self.pid

    def ignores(self, signum: int) -> bool:
        """Return whether it ignores `signum`, by SIG_IGN or because that is the default; see signal(7)."""
        if signum in IGNORED_BY_DEFAULT and not self.catches(signum):
            return True
        return bool(self.ignored >> (signum - 1) & 1)

    def is_deaf_to(self, signum: int) -> bool:
        """Return whether it ignores `signum` and does not block it.

        A process that blocks the signal may take it by sigwaitinfo(2).
        """
        return self.ignores(signum) and not self.blocks(signum)

    def blocks(self, signum: int) -> bool:
        """Return whether it blocks `signum`."""
        return bool(self.blocked >> (signum - 1) & 1)

    def catches(self, signum: int) -> bool:
        """Return whether it has a handler for `signum`."""
        return bool(self.caught >> (signum - 1) & 1)

    def alive(self) -> bool:
        """Return whether it has not ended.

        If only the first thread of a process has ended, /proc says Z too.
        """
        return self.state not in "ZX" or self.threads > 1


def left(deadline: float | None = None) -> dict[int, Process]:
    """Return the leftover processes by PID, without zombies, and without the calling process.

    These are the descendants. If init() is PID 1, they are all processes of the namespace, except those that came from
    outside, such as by `docker exec`, and those below them. The parent of such a process is 0. Raises NoProcError as
    descendants() does. LateError if the `deadline`, a time of monotonic(3) in seconds, passes meanwhile.
    """
    check(deadline)
    is_pid_1 = init() == 1
    pids = [pid for pid in _all_pids() if pid not in (1, posix.getpid())] if is_pid_1 else descendants()
    found = {}
    for pid in pids:
        check(deadline)
        found[pid] = process(pid)
    if is_pid_1:
        for pid in below([pid for pid, one in found.items() if one.parent == 0 and pid not in _roots], found):
            del found[pid]
    return {pid: one for pid, one in found.items() if one.alive()}


def below(roots: "Iterable[int]", everyone: "Mapping[int, Process]") -> set[int]:
    """Return the PIDs `roots`, and those of `everyone` that descend from one of them."""
    children: dict[int, list[int]] = {}
    for pid, process in everyone.items():
        children.setdefault(process.parent, []).append(pid)
    family, found = list(roots), set(roots)
    for pid in family:  # grows while it is walked
        fresh = [child for child in children.get(pid, ()) if child not in found]
        found.update(fresh)
        family += fresh
    return found


def check(deadline: float | None) -> None:
    """Raise LateError if the `deadline`, a time of monotonic(3) in seconds, has passed."""
    if deadline is not None and monotonic() >= deadline:
        raise LateError


def process(pid: int) -> Process:
    """Return what /proc/PID/stat says of `pid`, or a Process that has ended if `pid` is not there."""
    return Process(pid, _stat_fields(pid, 32))


def newest() -> tuple[int, int]:
    """Return the start, in ticks since boot, and the PID of the newest process so far, to compare Process.birth with.

    No process so far has a later birth. The PID is 0 if /proc/loadavg cannot be read; see proc(5).
    """
    newest = int((_read("/proc/loadavg") or b"0").split()[-1])
    return int(clock_gettime(CLOCK_BOOTTIME) * posix.sysconf("SC_CLK_TCK")), newest


def descendants() -> list[int]:
    """Return the PIDs of all descendants of init(), parents first, zombies too, without the calling process.

    One walk is no snapshot. It may miss the child of a process that ended meanwhile, and the next walk finds it. Raises
    NoProcError if there is no /proc, or if it is that of another PID namespace: its numbers mean other processes here.
    """
    ancestor = init()
    if _read(f"/proc/{ancestor}/task/{ancestor}/children") is None:
        found = _walk_parents(ancestor)
    else:
        _check_proc()
        found = _walk_children(ancestor)
    return found if _init == 0 else [pid for pid in found if pid != posix.getpid()]


def descends(pid: int) -> bool:
    """Return whether `pid` is a descendant of init(); false if that cannot be seen (any more)."""
    while pid > 1:
        pid = parent(pid)
        if pid == init():
            return True
    return False


def with_inner_pid(pid: int) -> int:
    """Return the PID of the descendant that is `pid` in a PID namespace below this one; 0 if there is none."""
    for descendant in descendants():
        if status(descendant).get(b"NSpid", [])[1:][-1:] == [b"%d" % pid]:
            return descendant
    return 0


def _all_pids() -> list[int]:
    """Return the PIDs of all processes. Raises NoProcError if /proc cannot tell."""
    _check_proc()
    try:
        return [int(name) for name in posix.listdir("/proc") if name.isdigit()]
    except OSError as error:
        raise NoProcError(error.strerror) from None


def _check_proc() -> None:
    """Raise NoProcError if /proc is not that of this process."""
    try:
        if posix.readlink("/proc/self") != str(posix.getpid()):
            raise NoProcError("it shows another PID namespace")
    except OSError as error:
        raise NoProcError(error.strerror) from None


def _walk_children(own: int) -> list[int]:
    """Return the PIDs of the descendants of `own`, by the children files; see CONFIG_PROC_CHILDREN of the kernel.

    The time for this grows with the number of descendants.
    """
    family = [own, *_roots]
    for pid in family:  # grows while it is walked
        try:
            tasks = posix.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            family += map(int, (_read(f"/proc/{pid}/task/{task}/children", long=True) or b"").split())
    return family[1:]


def _walk_parents(own: int) -> list[int]:
    """Return the PIDs of the descendants of `own`, by the parent of every process.

    The time for this grows with the number of all processes. Raises NoProcError.
    """
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        children.setdefault(parent(pid), []).append(pid)
    family = [own, *_roots]
    for pid in family:  # grows while it is walked
        family += children.get(pid, ())
    return family[1:]


def is_out_of_reach(target: Process, signum: int) -> bool:
    """Return whether `signum` cannot reach `target`.

    `target` may run as another user, or be PID 1 of a namespace without a handler. See kill(2), pid_namespaces(7).
    """
    try:
        posix.kill(target.pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    pids = status(target.pid).get(b"NSpid", [])
    return len(pids) > 1 and pids[-1] == b"1" and not (target.catches(signum) or target.blocks(signum))


def holds_off(target: Process, signum: int) -> bool:
    """Return whether `signum` is pending for `target`, because `target` blocks it."""
    pending = status(target.pid).get(b"ShdPnd", [b"0"])[0]
    return target.blocks(signum) and bool(int(pending, 16) >> (signum - 1) & 1)


def status(pid: int) -> dict[bytes, list[bytes]]:
    """Return the FIELDS of /proc/PID/status; none if it cannot be read."""
    return _fields(f"/proc/{pid}/status")


def _fields(path: str) -> dict[bytes, list[bytes]]:
    """Return the FIELDS of a file such as /proc/PID/status, each as its words."""
    found, content = {}, b"\n" + (_read(path) or b"")
    for name in FIELDS:  # a walk through all of its sixty lines would take five times as long
        at = content.find(b"\n" + name + b":")
        if at >= 0:
            begin = at + len(name) + 2
            found[name] = content[begin : content.find(b"\n", begin)].split()
    return found


def namespace(pid: int) -> str:
    """Return the PID namespace of `pid`, such as `pid:[4026531836]`; "" if it may not be seen.

    See pid_namespaces(7).
    """
    try:
        return posix.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def words(pid: int) -> list[str]:
    """Return the words of the command of `pid`; none if it has none, such as a zombie."""
    line = _read(f"/proc/{pid}/cmdline") or b""
    if len(line) == CHUNK:
        line = _read(f"/proc/{pid}/cmdline", long=True) or b""
    return line.rstrip(b"\0").decode(errors="replace").split("\0") if line else []


def environment(pid: int) -> dict[bytes, bytes]:
    """Return the environment that `pid` was started with; none if that may not be seen."""
    block = _read(f"/proc/{pid}/environ", long=True) or b""
    return {name: value for name, _, value in (entry.partition(b"=") for entry in block.split(b"\0"))}


def signalfd_mask(pid: int) -> int:
    """Return the mask of the signals that `pid` takes by signalfd(2); 0 if its descriptors may not be seen."""
    mask = 0
    try:
        for fd in posix.listdir(f"/proc/{pid}/fd"):
            if posix.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[signalfd]":
                info = _read(f"/proc/{pid}/fdinfo/{fd}") or b""
                mask |= int(info.rpartition(b"sigmask:")[2] or b"0", 16)
    except OSError:
        pass
    return mask


def waits_for_signals(pid: int, task: int | None = None) -> bool:
    """Return whether `pid`, or its thread `task`, is in sigtimedwait(2), as far as that may be seen."""
    return b"sigtimedwait" in where_it_waits(pid, task)


def where_it_waits(pid: int, task: int | None = None) -> bytes:
    """Return the function of the kernel that `pid`, or its thread `task`, waits in; see proc_pid_wchan(5).

    Return `0` or nothing if that may not be seen.
    """
    return _read(f"/proc/{pid}/wchan" if task is None else f"/proc/{pid}/task/{task}/wchan") or b""


def threads(pid: int) -> "dict[int, dict[bytes, list[bytes]]]":
    """Return the FIELDS of the status of each thread of `pid`, by TID."""
    try:
        tasks = [int(name) for name in posix.listdir(f"/proc/{pid}/task")]
    except OSError:
        return {}
    return {task: _fields(f"/proc/{pid}/task/{task}/status") for task in tasks}


def name(pid: int) -> str:
    """Return what `ps -o comm` shows for `pid`; `?` if that cannot be read."""
    return (_read(f"/proc/{pid}/comm") or b"?").decode(errors="replace").rstrip("\n")


def state(pid: int) -> str:
    """Return the state of `pid` as one letter, such as D or Z; X if it has gone."""
    return _state_and_parent(pid, _stat_fields(pid, 2))[0]


def parent(pid: int) -> int:
    """Return the PID of the parent of `pid`; 0 if it has gone."""
    return _state_and_parent(pid, _stat_fields(pid, 2))[1]


def _state_and_parent(pid: int, fields: list[bytes]) -> tuple[str, int]:
    """Return fields 3 and 4 of /proc/PID/stat, the state and the parent; X and 0 if `pid` has gone.

    If hidepid= hides `pid`, the state is `?`, and init() counts as the parent. See proc(5).
    """
    if not fields:
        return ("?", init()) if _is_child(pid) else ("X", 0)
    return fields[0].decode(), int(fields[1])


def _stat_fields(pid: int, count: int) -> list[bytes]:
    """Return `count` fields of /proc/PID/stat from the third on, and the rest in one; none if it cannot be read."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return []
    return stat[stat.rindex(b")") + 2 :].split(None, count)  # field 2, in parentheses, may hold anything


def _is_child(pid: int) -> bool:
    """Return whether `pid` is a child of this process that has not been reaped; in an adviser, whether it is there.

    An adviser is not the parent, so it uses kill(2) instead of waitid(2).
    """
    if _init:
        try:
            posix.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True
    try:
        posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _read(path: str, *, long: bool = False) -> bytes | None:
    """Return the content of a file of /proc; None if it is not there (any more).

    If the file is not `long`, one read(2) is enough.
    """
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = chunk = posix.read(fd, CHUNK)
        while long and chunk:
            chunk = posix.read(fd, CHUNK)
            content += chunk
        return content
    except OSError:  # ESRCH: the process has ended between open and read
        return None
    finally:
        posix.close(fd)
