"""A snapshot of /proc: the processes in a PID namespace, and what each does with signals. This module only reads."""

import posix
import signal
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime
from typing import NamedTuple

from ..family import proc
from ..family.proc import IGNORED_BY_DEFAULT

KERNEL_THREAD = 0x00200000  # PF_KTHREAD of <linux/sched.h>, in the flags of proc_pid_stat(5)
CAP_SYS_PTRACE = 19  # <linux/capability.h>
LOOKS = 5  # at a process that may have begun to run, or to wait, between two reads
UNCATCHABLE = (signal.SIGKILL, signal.SIGSTOP)
STOPPING = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGSTOP)
CAUGHT, IGNORED, BLOCKED, TAKEN, DROPPED = "caught", "ignored", "blocked", "taken", "dropped"
ENDS, STOPS, ENDED, UNKNOWN = "ends it", "stops it", "-", "?"
WHAT_IT_TAKES = "it takes the same user and group, or root with CAP_SYS_PTRACE"


class UnseenError(Exception):
    """An error: what was asked for is not there, or this user may not see it."""


class Waiting(NamedTuple):
    """How the threads of a process wait for signals. Bit 0 of a mask is signal 1.

    `awaited` are the signals that a thread in sigtimedwait(2) may take: those that it does not block, if all other
    threads block them. The kernel does not show which signals such a thread waits for. `blocked` are the signals that
    all threads block, and `taken` those that the process takes by signalfd(2). `is_seen` says whether this could be
    read.
    """

    awaited: int = 0
    blocked: int = 0
    taken: int = 0
    is_seen: bool = True


@dataclass(eq=False)
class Member:
    """A process. `pids` are its PIDs, from this namespace's to its own. `age` is in seconds.

    `blocked`, `ignored` and `caught` are masks; bit 0 is signal 1. `blocked` is the first thread's.
    """

    process: proc.Process  # as the drain sees it
    pids: tuple[int, ...]
    namespace: str
    uid: int
    age: float
    name: str
    words: list[str]
    blocked: int
    ignored: int
    caught: int

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
        """Return whether it is stopped, perhaps by a debugger, and takes no signal before it is continued."""
        return self.state in ("T", "t")

    @property
    def is_init(self) -> bool:
        """Return whether it is PID 1 of its own namespace.

        The kernel protects PID 1 from signals that it has no handler for.
        """
        return self.pids[-1] == 1

    @cached_property
    def waiting(self) -> Waiting:
        """Return how it waits for signals, as it does now."""
        return _waiting(self)

    def effect(self, signum: int) -> str:
        """Return what the signal does to it, as far as /proc tells; see signal(7), pid_namespaces(7)."""
        bit = 1 << (signum - 1)
        if self.is_zombie:
            return ENDED
        if signum not in UNCATCHABLE:
            # The kernel gives a signal to the first thread, unless that blocks it.
            if self.caught & bit and not self.blocked & bit:
                return CAUGHT
            waiting = self.waiting
            if waiting.taken & waiting.blocked & bit or waiting.awaited & bit:
                return TAKEN
            if not waiting.is_seen:  # the process may take the signal by sigwait(3) or signalfd(2)
                return UNKNOWN
            if waiting.blocked & bit:
                return BLOCKED
            if self.caught & bit:
                return CAUGHT
            if self.ignored & bit or signum in IGNORED_BY_DEFAULT:
                return IGNORED
            if self.is_init:
                return DROPPED
        return STOPS if signum in STOPPING else ENDS

    def acts_on(self, signum: int) -> bool:
        """Return whether it does something of its own when the signal comes, such as to save its data."""
        return self.effect(signum) in (CAUGHT, TAKEN)

    def as_a_child(self) -> "Member":
        """Return it as it would be if it were not PID 1 of its namespace."""
        child = copy(self)
        child.pids = (*self.pids[:-1], 2)
        return child

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
    found = look(all_pids())
    if not found:
        raise UnseenError("/proc: nobody is there")
    return found


def all_pids() -> list[int]:
    """Return the PIDs of all processes that can be seen. Raises UnseenError if there is no /proc."""
    try:
        return [int(name) for name in posix.listdir("/proc") if name.isdigit()]
    except OSError as error:
        raise UnseenError(f"/proc: {error.strerror}") from None


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
    return Member(
        process=shown,
        pids=tuple(map(int, numbers)),
        namespace=proc.namespace(pid),
        uid=int(status[b"Uid"][1]),
        age=max(0.0, now - shown.started / tick),
        name=printable(b" ".join(status[b"Name"]).decode(errors="replace")),
        words=proc.words(pid) if shown.alive() else [],
        blocked=int(status[b"SigBlk"][0], 16),
        ignored=int(status[b"SigIgn"][0], 16),
        caught=int(status[b"SigCgt"][0], 16),
    )


def _waiting(member: Member) -> Waiting:
    """Return how the threads of `member` wait for signals.

    The kernel gives a signal to the first thread, unless that blocks the signal. So the other threads matter only if
    the first blocks something, or has ended.
    """
    pid, blocked = member.pid, member.blocked
    for _ in range(LOOKS):
        where = proc.where_it_waits(pid)
        is_hidden = where in (b"", b"0") and proc.state(pid) == "S"
        if not is_hidden:  # it waits somewhere, or it runs now
            break
    is_seen = bool(member.namespace) and not is_hidden
    awaited = ~blocked if b"sigtimedwait" in where else 0
    if member.threads > 1 and (blocked or member.state in "ZX"):
        blocked = others = -1
        for task, status in proc.threads(pid).items():
            if status and status[b"State"][0] not in (b"Z", b"X"):
                mask = int(status[b"SigBlk"][0], 16)
                blocked &= mask
                if proc.waits_for_signals(pid, task):
                    awaited |= ~mask
                else:
                    others &= mask
        awaited &= others
        blocked = max(blocked, 0)
    return Waiting(awaited, blocked, proc.signalfd_mask(pid) if blocked else 0, is_seen)


def is_restricted() -> bool:
    """Return whether /proc hides other users' processes, by hidepid= in proc(5), and this process may not see them."""
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    if not any(fields[1] == "/proc" and "hidepid=" in fields[3] for fields in lines):
        return False
    status = Path("/proc/self/status").read_text()
    return not int(status.partition("CapEff:")[2].split()[0], 16) >> CAP_SYS_PTRACE & 1


def by_namespace(everyone: Mapping[int, Member]) -> dict[str, dict[int, Member]]:
    """Return the members of each namespace that can be seen. Raises UnseenError if none can."""
    found: dict[str, dict[int, Member]] = {}
    for pid, member in everyone.items():
        if member.namespace:
            found.setdefault(member.namespace, {})[pid] = member
    if not found:
        raise UnseenError(f"no namespace can be seen: {WHAT_IT_TAKES}")
    return found


def around(pid: int | None, everyone: Mapping[int, Member]) -> tuple[str, dict[int, Member]]:
    """Return the namespace of `pid`, and the members of it and of the namespaces below it.

    None means the namespace of pyinit-ps itself. Raises UnseenError if `pid` or its namespace cannot be seen.
    """
    if pid is None:
        if posix.readlink("/proc/self") != str(posix.getpid()):
            raise UnseenError("/proc: it shows another PID namespace than one's own")
        return proc.namespace(posix.getpid()) or "one's own", dict(everyone)
    if pid not in everyone:
        raise UnseenError(f"there is no process {pid}")
    namespace = everyone[pid].namespace
    if not namespace:
        raise UnseenError(f"the namespace of process {pid} cannot be seen: {WHAT_IT_TAKES}")
    return namespace, below([other for other, member in everyone.items() if member.namespace == namespace], everyone)


def below(pids: Iterable[int], everyone: Mapping[int, Member]) -> dict[int, Member]:
    """Return the members with these `pids`, and those that descend from one of them."""
    processes = {pid: member.process for pid, member in everyone.items()}
    found = proc.below(pids, processes)
    return {pid: member for pid, member in everyone.items() if pid in found}


def init_of(group: Mapping[int, Member]) -> Member | None:
    """Return PID 1 of the namespace that `group` is in; None if it cannot be seen."""
    level = min((len(member.pids) for member in group.values()), default=0)
    return next((member for member in group.values() if len(member.pids) == level and member.is_init), None)


def children(parent: Member, group: Mapping[int, Member]) -> list[Member]:
    """Return the children of `parent`, zombies too."""
    return [member for member in group.values() if member.parent == parent.pid]
