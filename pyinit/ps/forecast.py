"""What pyinit would do if a stop signal came now: whom it signals, in which order, and whom it kills in the end.

The order is not guessed: the drain itself, stop.order, runs here against a snapshot and a made clock. A process is
assumed to end at once if the signal ends it, if it has a handler for it, or if its input ends. Nothing here waits, and
nothing is signalled.
"""

from collections.abc import Iterable, Mapping
from signal import SIGCONT
from typing import NamedTuple

from ..base import STOPS
from ..family import Targets, pipes, proc
from ..run.command import MainChild
from ..stop import KILLING, Stop
from ..stop.drain import Look
from ..stop.order import LOOK_AGAIN, Drain
from .inits import Init, is_adviser
from .snapshot import BLOCKED, DROPPED, IGNORED, Member, below

MOST_STEPS = 100
NEVER = (1 << 62, 0)  # a birth later than every other


class Forecast(NamedTuple):
    """What happens after a stop signal.

    Each of the `rounds` is signalled when the round before has ended; the first gets the forwarded signal. If the main
    child ignores the signal, the `heirs` get it in its place, and heed it. The `killed` get SIGKILL after `seconds`,
    and the `unsignalled` are those of them that get nothing before it. pyinit waits for the `endless` without a limit.
    """

    rounds: list[list[Member]]
    heirs: list[Member]
    killed: list[Member]
    unsignalled: list[Member]
    endless: list[Member]
    seconds: float


def forecast(init: Init, group: Mapping[int, Member], signum: int) -> Forecast:
    """Return what happens if `signum` comes in now to a pyinit.

    If the main child ignores the signal, this is what happens to the processes below it, and then to the rest, provided
    that the main child ends after them.
    """
    return _Run(init, group, signum).go()


class _Run:
    """One run of the drain against the processes of a snapshot."""

    def __init__(self, init: Init, group: Mapping[int, Member], signum: int) -> None:
        assert init.own is not None
        self.init, self.now, self.busy_at = init, 0.0, 0.0
        inside = below([one.pid for one in (init.member, init.main) if one is not None], group)
        self.left = {
            pid: one for pid, one in inside.items() if one is not init.member and not (one.is_zombie or is_adviser(one))
        }
        self.pipes = _Pipes(init.member.pid, self.left)
        self.stop = Stop(grace=init.own.grace, kill_after=init.own.kill_after)
        if init.order & STOPS:
            self.stop.ask(init.outgoing, self.now, signum)
        child = MainChild()
        if init.main is not None:
            child.pid, child.group = init.main.pid, init.main.process.group
        self.drain = Drain(self.stop, Targets(init.own.scope, child, share_group=False))
        self.rounds: list[list[Member]] = []
        self.got: set[int] = set()

    def go(self) -> Forecast:
        """Run until nobody is left, or until nothing more would happen."""
        heirs = self.forward(self.init.main) if self.init.main else []
        self.drain.targets.child.pid = 0
        self.stop.main_child_ended(self.now)
        is_endless = False
        for _ in range(MOST_STEPS):  # as many as it takes to see the order; a deep tree may take more
            if not self.left or self.stop.phase == KILLING or is_endless:
                break
            is_endless = not (self.step() or self.drain.seems_over or self.wait())
        left = list(self.left.values())
        killed = left if self.stop.phase == KILLING else []
        unsignalled = [one for one in killed if one.pid not in self.got]
        return Forecast(self.rounds, heirs, killed, unsignalled, left if is_endless else [], self.now)

    def forward(self, main: Member) -> list[Member]:
        """Let the main child have the signal. If it is passed over, return the processes that get it in its place."""
        init, targets, heirs = self.init, self.drain.targets, []
        first = [main, *(one for one in self.left.values() if one is not main and init.reaches(one))]
        if len(first) > 1:
            targets.newest_signalled = NEVER
        if init.passes_over:
            targets.child_is_deaf = True
            while self.step():
                pass
            heirs = [one for some in self.rounds for one in some]
            heirs += [one for one in first if one is not main and _ends(one, init.outgoing)]
        self.rounds.insert(0, first)
        self.got.update(one.pid for one in first)
        for one in first:
            if one is main or _ends(one, init.outgoing):
                self.left.pop(one.pid, None)
        return heirs

    def step(self) -> bool:
        """Let the drain look once, and those end that got the signal. Return whether anything has happened."""
        before = len(self.left), len(self.got)
        for signum, pids in self.drain.step(_Look(self.left, self.pipes), self.now):
            if signum != SIGCONT and pids:
                some = [self.left[pid] for pid in pids]
                self.rounds.append(some)
                self.got.update(pids)
                for one in some:
                    if _ends(one, signum):
                        del self.left[one.pid]
        for pid in [pid for pid, one in self.left.items() if self.pipes.ends(one, self.left, self.drain.signum)]:
            del self.left[pid]
        is_busy = (len(self.left), len(self.got)) != before
        if is_busy:
            self.busy_at = self.now
        return is_busy

    def wait(self) -> bool:
        """Let the time go on to the next moment at which something may happen. Return false if there is none.

        The drain itself looks every second, and waits for a reader a second or two.
        """
        deadline, stop = self.stop.deadline(), self.stop
        moments = [deadline, stop.last_call(), stop.finish_by, stop.grace_over]
        moments += [self.busy_at + looks * LOOK_AGAIN for looks in (1, 2)]
        ahead = [moment for moment in moments if moment is not None and moment > self.now]
        if not ahead:
            return False
        self.now = min(ahead)
        if deadline is not None and self.now >= deadline:
            stop.expire()
        return True


def _ends(member: Member, signum: int) -> bool:
    """Return whether the signal is assumed to end a process."""
    return member.effect(signum) not in (IGNORED, BLOCKED, DROPPED)


class _Pipes:
    """The pipes between the processes `left` at the beginning."""

    def __init__(self, init: int, left: Mapping[int, Member]) -> None:
        processes = {pid: one.process for pid, one in left.items()}
        self.readers, self.written = pipes.pipes(processes, processes.values(), pipes.pipe_on_stdin(init))
        self.own = pipes.pipes_written_by(init) or set()
        self.at_first = list(left)
        self.inputs: dict[int, set[str]] = {}

    def of(self, pid: int) -> "set[str] | None":
        """Return the pipes that a process can write to; None if they may be any."""
        if pid not in self.written:
            self.written[pid] = pipes.pipes_written_by(pid)
        return self.written[pid]

    def ends(self, member: Member, left: Mapping[int, Member], signum: int) -> bool:
        """Return whether a process ends, because it only finishes its work, and its input has ended.

        It has a pipe on its stdin and no handler, or it ignores the signal and waits for a pipe, such as Python's
        resource tracker.
        """
        if member.acts_on(signum):
            return False
        if member.pid not in self.inputs:
            self.inputs[member.pid] = self._inputs(member, signum)
        inputs = self.inputs[member.pid]
        return bool(inputs) and not any(
            (written := self.of(pid)) is None or written & inputs for pid in left if pid != member.pid
        )

    def _inputs(self, member: Member, signum: int) -> set[str]:
        """Return the pipes that are the input of such a process, and that another process has written to."""
        found = {self.readers[member.pid]} if member.pid in self.readers else set()
        if member.effect(signum) == IGNORED and b"pipe_read" in proc.where_it_waits(member.pid):
            found |= pipes.pipes_read_by(member.pid)
        found -= self.own  # the input does not end before pyinit does
        return {pipe for pipe in found if any(pipe in (self.of(pid) or ()) for pid in self.at_first)}


class _Look(Look):
    """What the drain sees at one moment of the made time."""

    def __init__(self, left: Mapping[int, Member], pipes: _Pipes) -> None:
        self.members, self.all_pipes, self.own_pipes = left, pipes, pipes.own
        self.left = {pid: member.process for pid, member in left.items()}

    def pipes(self, unsignalled: Iterable[proc.Process]) -> tuple[dict[int, str], dict[int, set[str] | None]]:
        """Return the pipes that the `unsignalled` read and all write; see family.pipes."""
        readers = {one.pid: self.all_pipes.readers[one.pid] for one in unsignalled if one.pid in self.all_pipes.readers}
        return readers, {pid: self.all_pipes.of(pid) for pid in self.left} if readers else {}

    def is_out_of_reach(self, process: proc.Process, signum: int) -> bool:
        """Return whether `process` is PID 1 of a namespace and has no handler. Whom pyinit may signal is not known."""
        return self.members[process.pid].effect(signum) == DROPPED

    def waits_for_signals(self, process: proc.Process) -> bool:
        """Return whether a thread of `process` is in sigtimedwait(2)."""
        return bool(self.members[process.pid].waiting.awaited)

    def holds_off(self, process: proc.Process, signum: int) -> bool:
        """Return whether `process` blocks `signum`, which has come."""
        return self.members[process.pid].effect(signum) == BLOCKED
