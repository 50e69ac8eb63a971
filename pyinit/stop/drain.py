"""The drain: what happens to the processes that the command left behind.

Called by init, or by adviser, when the command has ended and has left processes behind. The module telling decides the
order of the signals, the module stop how long it may take.
"""

import _signal
import posix
from time import monotonic

from ..base import log
from ..family import proc, send
from . import DRAINING, WAITING, order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from ..family import Targets
    from ..family.proc import Process
    from ..family.reaper import Reaper
    from . import Stop
    from .adviser import Adviser
    from .order import Birth

    Deaths: TypeAlias = Reaper | Adviser  # who knows of them

LOOK_AGAIN = 1.0  # seconds between two looks at who is left, and for a reader whose input has ended
LOOKS_APART = 5  # times what a look takes: after a death there is one as soon as that
CANNOT_DIE = 2.0  # seconds without a death after SIGKILL: what is left is in the kernel's hands, state D
LONGEST_KILLING = 30.0  # seconds
KILL_AGAIN = 0.05  # seconds between two rounds of SIGKILL
MOST_NAMES = 10  # in one message


def drain(stop: "Stop", targets: "Targets", reaper: "Deaths", take_signal: "Callable[[float | None], None]") -> None:
    """Let the leftover processes end, then make them; NoProcError if they cannot be seen.

    `take_signal` waits for a signal until a deadline, acts on it, and reaps, if this process is the parent.

    With --wait-all, wait until a stop signal comes. Then tell everybody who has not been told; when the time is over,
    SIGKILL until nothing is left. A process forked by one that was about to die is met by the next round.
    """
    began = monotonic()
    if log.level >= log.INFO:
        reaper.names = _tell_who_is_left()
    stop.main_child_ended(began)
    while stop.phase == WAITING and not reaper.childless:
        take_signal(None)
    if not reaper.childless:
        _let_end(stop, targets, reaper, take_signal)
    if not reaper.childless:
        _kill_all(reaper, take_signal)
    log.info(f"drained in {monotonic() - began:.2f} s")


def _let_end(stop: "Stop", targets: "Targets", reaper: "Deaths", take_signal: "Callable[[float | None], None]") -> None:
    """Tell what is left, and look again, until nobody is left or the time is over."""
    leftovers = Drain(stop, targets)
    look_at = looked = monotonic()
    cost = 0.0
    while stop.phase == DRAINING and not reaper.childless:
        now, deadline, last_call = monotonic(), stop.deadline(), stop.last_call()
        last = last_call is not None and now >= last_call and not leftovers.called
        if deadline is not None and now >= deadline:
            stop.expire()
        elif now >= look_at or last:
            if not leftovers.look(now, last=last):
                reaper.nobody_is_left()
            looked = monotonic()
            look_at, cost = looked + LOOK_AGAIN, looked - now
        else:
            reaped = reaper.reaped
            bounds = [bound for bound in (deadline, last_call) if bound is not None and bound > now]
            take_signal(min([look_at, *bounds]))
            if reaper.reaped > reaped:  # it may have left somebody behind; in a crowd not each death is worth a look
                look_at = min(look_at, looked + LOOKS_APART * cost)


class Drain:
    """Those who are left, and who of them has been told: each process once. Processes are named by their birth."""

    def __init__(self, stop: "Stop", targets: "Targets") -> None:
        self.stop, self.targets = stop, targets
        self.signum = stop.drain_signal()
        self.own_stdin = proc.pipe_on_stdin(posix.getpid())
        self.called = False  # for the last time
        self.seen: set[Birth] = set()
        self.signalled: set[Birth] = set()
        self.ignored: set[Birth] = set()  # who was deaf to it when seen first, or when it was to be signalled
        self.blocked: set[Birth] = set()  # who ignored and blocked it when it was signalled
        self.ended_input: dict[int, float] = {}  # readers whose pipe has no writer, and since when

    def look(self, now: float, *, last: bool) -> bool:
        """Tell those who are to be told `now`, in seconds; at the `last` call everybody who has not been.

        Where the grace is over without an end of the drain, because somebody else sets the bound, and all who are left
        are deaf, the time is over. Whether somebody is left. NoProcError where nobody can be seen.
        """
        self.called = self.called or last
        late = now >= self.stop.grace_over
        left = {process.pid: process for process in proc.left()}
        fresh = self.meet(left.values())
        aloof = self.deaf(left, late=late)
        if late:  # such as unshare(1), which blocks SIGTERM for as long as its child lives
            aloof |= {process.birth for process in left.values() if self.holds_off(process)}
        self.signal(left, left.values() if last else self.next_to_signal(left, aloof, now))
        send.send((_signal.SIGCONT,), fresh, left)
        # Who loses its parent while /proc is walked may be missing, but not twice.
        if late and self.is_over(left) and self.is_over({process.pid: process for process in proc.left()}):
            log.info("nothing that is left heeds the signal")
            self.stop.expire()
        return bool(order.descendants(proc.init(), left)) or somebody_is_left()

    def meet(self, left: "Iterable[Process]") -> list[int]:
        """Remember which processes ignore the signal, and which have got the stop signal that pyinit forwarded.

        Return the PIDs that are new. A look can miss a process, so some are new at a later look.
        """
        fresh = [process for process in left if process.birth not in self.seen]
        when = self.targets.newest_signalled
        for process in fresh:
            self.seen.add(process.birth)
            if process.is_deaf_to(self.signum_for(process)):
                self.ignored.add(process.birth)
            if when is not None and order.was_signalled(
                process, self.targets.scope, self.targets.child.group, self.stop.signum, when
            ):
                self.signalled.add(process.birth)
        return [process.pid for process in fresh]

    def deaf(self, left: "dict[int, Process]", *, late: bool) -> "set[Birth]":
        """Who does not heed the signal, as far as this can be known; when it is `late`, that is known of more."""
        return {
            process.birth
            for process in left.values()
            if (process.birth in self.ignored and process.ignores(self.signum_for(process)))
            or (late and self.is_out_of_reach(process))
        }

    def signal(self, left: "dict[int, Process]", due: "Iterable[Process]") -> None:
        """Send the stop signal to the `due`, except to the deaf, and to nobody twice."""
        targets: dict[int, list[int]] = {}
        for process in due:
            signum = self.signum_for(process)
            if process.is_deaf_to(signum):
                self.ignored.add(process.birth)
            elif process.birth not in self.signalled:
                self.signalled.add(process.birth)
                if process.ignores(signum):
                    self.blocked.add(process.birth)
                targets.setdefault(signum, []).append(process.pid)
        for signum, pids in targets.items():
            send.send((signum,), pids, left)

    def signum_for(self, process: "Process") -> int:
        """What tells `process`: who ignores SIGQUIT, as a shell's background jobs do, may heed SIGTERM."""
        return _signal.SIGTERM if process.ignores(self.signum) else self.signum

    def next_to_signal(self, left: "dict[int, Process]", deaf: "set[Birth]", now: float) -> "list[Process]":
        """Who is to be told: who has not been, is left to nobody but the `deaf`, and waits for no end of file."""
        unsignalled = [process for process in left.values() if process.birth not in self.signalled]
        readers, written = proc.pipes(left, unsignalled, self.own_stdin)
        heads, readers, writers = order.next_to_signal(left, unsignalled, deaf, readers, written)
        alone = order.without_writer(readers, writers)
        self.ended_input = {pid: self.ended_input.get(pid, now) for pid in alone}
        ending = {pid for pid, since in self.ended_input.items() if now < since + LOOK_AGAIN}
        return order.without_waiting(heads, left, deaf, readers, writers, ending)

    def is_out_of_reach(self, process: "Process") -> bool:
        """Whether it got the stop signal in vain."""
        signum = self.signum_for(process)
        was_deaf = process.birth in self.blocked and process.is_deaf_to(signum)
        return process.birth in self.signalled and (was_deaf or proc.is_out_of_reach(process, signum))

    def holds_off(self, process: "Process") -> bool:
        """Whether it was told, and has not taken that yet."""
        return process.birth in self.signalled and proc.holds_off(process, self.signum_for(process))

    def is_over(self, left: "dict[int, Process]") -> bool:
        """Whether no time will end those who are left: they are deaf, or the terminal has stopped them."""
        deaf = self.deaf(left, late=True)
        family = order.descendants(proc.init(), left)
        return all(process.state == "T" or process.birth in deaf for process in family)


def _kill_all(reaper: "Deaths", take_signal: "Callable[[float | None], None]") -> None:
    """SIGKILL, again and again, until no child is left or what is left cannot be killed.

    That is known when, for CANNOT_DIE, nobody has gone who was there in the beginning: others may come and go for ever.
    """
    began = monotonic()
    give_up = began + CANNOT_DIE
    there = _births()
    while monotonic() < give_up and not reaper.childless:
        send.kill_descendants()
        again = monotonic() + KILL_AGAIN
        while monotonic() < again:
            take_signal(again)
            if reaper.childless:
                return
        if not somebody_is_left():
            reaper.nobody_is_left()
        if monotonic() >= give_up and there - (still_there := _births()):
            there &= still_there
            give_up = min(monotonic() + CANNOT_DIE, began + LONGEST_KILLING)
    if reaper.childless:
        return
    left = [(pid, name, _why(pid, state)) for pid, name, state in _who_is_left()]
    named = ", ".join(f"{pid} ({name}, {why})" for pid, name, why in left[:MOST_NAMES])
    log.warning(f"left behind, because it cannot be killed: PID {named or 'unknown'}")


def _why(pid: int, state: str) -> str:
    """What keeps SIGKILL from ending `pid`."""
    try:
        posix.kill(pid, 0)
    except OSError as error:  # EPERM
        return error.strerror or ""
    return f"state {state}"


def somebody_is_left() -> bool:
    """Whether a descendant lives. Who loses its parent while /proc is walked may be missing, but not twice."""
    return bool(_births() or _births())


def _births() -> "set[Birth]":
    """The living descendants."""
    left = {process.pid: process for process in proc.left()}
    return {process.birth for process in order.descendants(proc.init(), left)}


def _tell_who_is_left() -> dict[int, str]:
    """With -v; the names by PID."""
    names = {pid: name for pid, name, _ in _who_is_left()}
    few = ", ".join(f"{pid} ({name})" for pid, name in list(names.items())[:MOST_NAMES])
    log.info(f"still there: {len(names)}: PID {few}{', ...' if len(names) > MOST_NAMES else ''}")
    return names


def _who_is_left() -> list[tuple[int, str, str]]:
    """PID, name and state of the living descendants."""
    everyone = [(pid, proc.name(pid), proc.state(pid)) for pid in proc.descendants()]
    return [(pid, name, state) for pid, name, state in everyone if state not in "ZX"]
