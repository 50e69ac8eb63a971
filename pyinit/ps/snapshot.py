"""A snapshot of /proc: the processes in a PID namespace, and what each does with signals. This module only reads."""

import posix
from collections.abc import Iterable
from time import CLOCK_BOOTTIME, clock_gettime
from typing import NamedTuple

from ..base import Options, UsageError
from ..family import pipes, proc
from ..native import WORD, Told
from ..run import options
from ..stop import order

KERNEL_THREAD = 0x00200000  # PF_KTHREAD of <linux/sched.h>, in the flags of proc_pid_stat(5)
MOST_ROUNDS = 20


class UnseenError(Exception):
    """An error: what was asked for is not there, or this user may not see it."""


class Member(NamedTuple):
    """A process. `pids` are its PIDs, from this namespace's to its own. `age` is in seconds.

    Bit 0 of a mask is signal 1. `blocked` are the signals that all of its threads block. `taken` are those that it
    takes by signalfd(2). `waits` says whether a thread is in sigtimedwait(2). The kernel does not show which signals
    such a thread takes, and does not show them as blocked meanwhile. `is_seen` says whether `taken` and `waits` are
    known.
    """

    process: proc.Process  # as the drain sees the process
    pids: tuple[int, ...]
    namespace: str
    uid: int
    age: float
    name: str
    words: list[str]
    blocked: int
    ignored: int
    caught: int
    taken: int
    waits: bool
    is_seen: bool

    @property
    def pid(self) -> int:
        """Return its PID as pyinit-ps sees it."""
        return self.process.pid

    @property
    def parent(self) -> int:
        """Return the PID of its parent."""
        return self.process.parent

    @property
    def state(self) -> str:
        """Return its state as one letter."""
        return self.process.state

    @property
    def threads(self) -> int:
        """Return the number of its threads."""
        return self.process.threads

    @property
    def is_zombie(self) -> bool:
        """Return whether it has ended, and its parent has not reaped it yet."""
        return not self.process.alive()

    @property
    def is_stopped(self) -> bool:
        """Return whether it is stopped, and takes no signal before it is continued."""
        return self.state == "T"

    @property
    def is_init(self) -> bool:
        """Return whether it is PID 1 of its own namespace.

        The kernel protects PID 1 from signals that it has no handler for.
        """
        return self.pids[-1] == 1

    @property
    def is_adviser(self) -> bool:
        """Return whether it is the adviser of its parent, a pyinit.

        A stop is not about an adviser.
        """
        told = told_to(self)
        return told is not None and told.pid != self.pids[-1]

    def title(self) -> str:
        """Return its command in one line, or its name in brackets if it has none."""
        return printable(" ".join(self.words)) or f"[{self.name}]"


def printable(text: str) -> str:
    """Return what a process calls itself, without characters that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def oldest_last(member: Member) -> tuple[float, int]:
    """Return a key to sort by: the oldest member comes last."""
    return member.age, -member.pid


def everyone() -> dict[int, Member]:
    """Return all processes that can be seen, by PID, except kernel threads. Raises UnseenError if there is no /proc."""
    try:
        pids = [int(name) for name in posix.listdir("/proc") if name.isdigit()]
    except OSError as error:
        raise UnseenError(f"/proc: {error.strerror}") from None
    found = look(pids)
    if not found:
        raise UnseenError("/proc: nobody is there")
    return found


def look(pids: Iterable[int]) -> dict[int, Member]:
    """Return those of the processes that are there, by PID, as they are now."""
    now, tick = clock_gettime(CLOCK_BOOTTIME), posix.sysconf("SC_CLK_TCK")
    return {pid: seen for pid in sorted(pids) if (seen := member(pid, now, tick)) is not None}


def member(pid: int, now: float, tick: int) -> Member | None:
    """Return the process `pid`; None if it has gone, or is a kernel thread.

    `now` is in seconds since boot. `tick` is the number of clock ticks in a second.
    """
    shown = proc.process(pid)
    status = proc.status(pid)
    if not status or shown.flags & KERNEL_THREAD:
        return None
    numbers = status.get(b"NSpid", [b"%d" % pid])
    if b"0" in numbers:  # it has just been reaped
        return None
    blocked, ignored, caught = (int(status[name][0], 16) for name in (b"SigBlk", b"SigIgn", b"SigCgt"))
    has_ended = not shown.alive()
    waits = False
    namespace = proc.namespace(pid)
    is_seen = bool(namespace)
    if not has_ended and shown.threads > 1:
        waits, blocked = _of_threads(pid)
    elif not has_ended:
        where = proc.where_it_waits(pid)
        waits = b"sigtimedwait" in where
        is_seen = is_seen and (shown.state != "S" or where not in (b"", b"0"))
    return Member(
        process=shown,
        pids=tuple(map(int, numbers)),
        namespace=namespace,
        uid=int(status[b"Uid"][1]),
        age=max(0.0, now - shown.started / tick),
        name=printable(b" ".join(status[b"Name"]).decode(errors="replace")),
        words=[] if has_ended else proc.words(pid),
        blocked=blocked,
        ignored=ignored,
        caught=caught,
        taken=proc.signalfd_mask(pid) if blocked and not has_ended else 0,
        waits=waits,
        is_seen=is_seen,
    )


def _of_threads(pid: int) -> tuple[bool, int]:
    """Return whether a thread of `pid` waits for signals, and the signals that all of its living threads block."""
    blocked, waits = -1, False
    for task, status in proc.threads(pid).items():
        if status and status[b"State"][0] not in (b"Z", b"X"):
            blocked &= int(status[b"SigBlk"][0], 16)
            waits = waits or proc.waits_for_signals(pid, task)
    return waits, max(blocked, 0)


def by_namespace(everyone: dict[int, Member]) -> dict[str, dict[int, Member]]:
    """Return the members of each namespace that can be seen. Raises UnseenError if none can."""
    found: dict[str, dict[int, Member]] = {}
    for pid, member in everyone.items():
        if member.namespace:
            found.setdefault(member.namespace, {})[pid] = member
    if not found:
        raise UnseenError("no namespace can be seen: it takes the same user, or root")
    return found


def around(pid: int | None, everyone: dict[int, Member]) -> tuple[str, dict[int, Member]]:
    """Return the namespace of `pid`, and the members of it and of the namespaces below it.

    None means the namespace of pyinit-ps itself. Raises UnseenError if `pid` or its namespace cannot be seen.
    """
    if pid is None:
        return proc.namespace(posix.getpid()) or "one's own", everyone
    if pid not in everyone:
        raise UnseenError(f"there is no process {pid}")
    namespace = everyone[pid].namespace
    if not namespace:
        raise UnseenError(f"the namespace of process {pid} cannot be seen: it takes the same user, or root")
    group = {other: member for other, member in everyone.items() if member.namespace == namespace}
    fresh = group
    while fresh:
        fresh = {other: member for other, member in everyone.items() if member.parent in fresh and other not in group}
        group |= fresh
    return namespace, group


def init_of(group: dict[int, Member]) -> Member | None:
    """Return PID 1 of the namespace that `group` is in; None if it cannot be seen."""
    level = min((len(member.pids) for member in group.values()), default=0)
    return next((member for member in group.values() if len(member.pids) == level and member.is_init), None)


class Init(NamedTuple):
    """A pyinit: its `options`, and the word that it has `told` its adviser, or None if it has none."""

    options: Options
    told: Told | None


def told_to(member: Member) -> Told | None:
    """Return the word that the C program has given this process, a pyinit in Python; None if there is none."""
    word = next((word for word in member.words[:4] if word.startswith(WORD)), None)
    try:
        return Told(word) if word else None
    except ValueError:  # another program's word that looks the same
        return None


def pyinit(init: Member, group: dict[int, Member]) -> Init:
    """Return what the words and the environment of this pyinit say, as far as they may be seen."""
    words = list(init.words)
    while words and words.pop(0).rpartition("/")[2] not in ("pyinit", "pyinit-python"):
        pass
    if words[:1] and words[0].startswith(WORD):
        del words[0]
    adviser = next((member for member in group.values() if member.parent == init.pid and member.is_adviser), None)
    try:
        return Init(options.read(words, proc.environment(init.pid)), told_to(adviser) if adviser else None)
    except UsageError:  # another program that is called pyinit
        return Init(Options(), None)


def rounds(init: Member, main: Member | None, group: dict[int, Member], signum: int) -> list[list[Member]]:
    """Return the processes that pyinit signals if a stop signal `signum` comes, in rounds, the main child first.

    pyinit signals a round when the processes of the round before have ended. This is the order of the drain with
    --scope child, the default.
    """
    left = {
        pid: member.process
        for pid, member in group.items()
        if member is not init and member is not main and not member.is_zombie
    }
    told = [] if main is None else [[main]]
    deaf = {process.birth for process in left.values() if process.is_deaf_to(signum)}
    unsignalled = list(left.values())
    readers, written = pipes.pipes(left, unsignalled, pipes.pipe_on_stdin(init.pid))
    while unsignalled and len(told) < MOST_ROUNDS:
        due = order.Turn(left, unsignalled, deaf, readers, written).due()
        if not due:
            break
        gone = {process.pid for process in due}
        told.append([group[pid] for pid in sorted(gone)])
        unsignalled = [process for process in unsignalled if process.pid not in gone]
        left = {pid: process for pid, process in left.items() if pid not in gone or process.birth in deaf}
        readers = {pid: pipe for pid, pipe in readers.items() if pid in left and pid not in gone}
        written = {pid: mine for pid, mine in written.items() if pid in left} if readers else {}
    return told
