"""The drain: it ends the processes that the command leaves behind.

The module stop.order decides the order of the signals. The class Stop decides how long the drain may take. See the
numbered sentences in pyinit/stop/__init__.py.
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

    Deaths: TypeAlias = Reaper | Adviser  # what knows which processes have ended

LOOK_AGAIN = 1.0  # seconds between two looks at /proc; also what a reader gets after its last writer has ended
LOOKS_APART = 5  # after a death the next look comes early, but not before this many times what a look takes
CANNOT_DIE = 2.0  # seconds without a death after SIGKILL; then the rest cannot be killed (state D, another user's)
LONGEST_KILLING = 30.0  # seconds in all
KILL_AGAIN = 0.05  # seconds between two rounds of SIGKILL
MOST_NAMES = 10  # in one message


def drain(stop: "Stop", targets: "Targets", reaper: "Deaths", take_signal: "Callable[[float | None], None]") -> None:
    """Let the leftover processes end, and kill those that remain when the time is over.

    With --wait-all, first wait until a stop signal comes. Then send the stop signal to each process that has not got
    it. When the time is over, send SIGKILL until no process is left. If a process forks just before it dies, the next
    round kills the new process.

    `take_signal` waits for a signal and acts on it. Its argument is a deadline, a time of monotonic(3) in seconds, or
    None. It also reaps, if this process is the parent. Raises NoProcError if the leftover processes cannot be seen.
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
    """Send the stop signal in its order, and look again, until no process is left or the time is over."""
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
            if reaper.reaped > reaped:  # it may have left processes behind; if many die, not each death gets a look
                look_at = min(look_at, looked + LOOKS_APART * cost)


class Drain:
    """The leftover processes, and which of them pyinit has signalled: it signals each process once.

    The sets name a process by its birth; see Process.birth.
    """

    def __init__(self, stop: "Stop", targets: "Targets") -> None:
        self.stop, self.targets = stop, targets
        self.signum = stop.drain_signal()
        self.own_stdin = proc.pipe_on_stdin(posix.getpid())
        self.called = False  # whether the last call has been made
        self.seen: set[Birth] = set()
        self.signalled: set[Birth] = set()
        self.ignored: set[Birth] = set()  # those that were deaf to it when first seen, or in their turn
        self.blocked: set[Birth] = set()  # those that ignored and blocked it when they got it
        self.ended_input: dict[int, float] = {}  # PIDs of readers whose pipe has no writer, and since when

    def look(self, now: float, *, last: bool) -> bool:
        """Send the stop signal to the processes whose turn it is, and return whether a descendant is left.

        `now` is a time of monotonic(3), in seconds. At the `last` call every process gets the signal that has not got
        it. If the sender of the stop signal sets the deadline, the drain goes on after the grace. If every process that
        is left is deaf or stopped by then, the time is over. Raises NoProcError if /proc cannot be read.
        """
        self.called = self.called or last
        late = now >= self.stop.grace_over
        left = {process.pid: process for process in proc.left()}
        fresh = self.meet(left.values())
        aloof = self.deaf(left, late=late)
        if late:  # unshare(1) is such a process: it blocks SIGTERM as long as its child lives
            aloof |= {process.birth for process in left.values() if self.holds_off(process)}
        self.signal(left, left.values() if last else self.next_to_signal(left, aloof, now))
        send.send((_signal.SIGCONT,), fresh, left)
        # One walk through /proc can miss a process that loses its parent meanwhile. A second walk finds it.
        if late and self.is_over(left) and self.is_over({process.pid: process for process in proc.left()}):
            log.info("nothing that is left heeds the signal")
            self.stop.expire()
        return bool(order.descendants(proc.init(), left)) or somebody_is_left()

    def meet(self, left: "Iterable[Process]") -> list[int]:
        """Return the PIDs of the processes that are new.

        Remember which of them ignore the signal, and which have got the stop signal that pyinit forwarded. A look can
        miss a process, so some are new at a later look.
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
        """Return the births of the processes that do not heed the signal, as far as this can be known.

        If it is `late`, processes that got the signal in vain are among them.
        """
        return {
            process.birth
            for process in left.values()
            if (process.birth in self.ignored and process.ignores(self.signum_for(process)))
            or (late and self.is_out_of_reach(process))
        }

    def signal(self, left: "dict[int, Process]", due: "Iterable[Process]") -> None:
        """Send the stop signal to the `due` processes, except to those that are deaf to it or have got it."""
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
        """Return the stop signal for `process`: SIGTERM if it ignores the drain's own.

        A shell's background jobs, for example, ignore SIGQUIT, but may heed SIGTERM.
        """
        return _signal.SIGTERM if process.ignores(self.signum) else self.signum

    def next_to_signal(self, left: "dict[int, Process]", deaf: "set[Birth]", now: float) -> "list[Process]":
        """Return the processes whose turn it is `now`, a time of monotonic(3) in seconds.

        pyinit has not signalled such a process. Its ancestors, if any are left, are all `deaf`. It does not wait for an
        end of file.
        """
        unsignalled = [process for process in left.values() if process.birth not in self.signalled]
        readers, written = proc.pipes(left, unsignalled, self.own_stdin)
        heads, readers, writers = order.next_to_signal(left, unsignalled, deaf, readers, written)
        alone = order.without_writer(readers, writers)
        self.ended_input = {pid: self.ended_input.get(pid, now) for pid in alone}
        ending = {pid for pid, since in self.ended_input.items() if now < since + LOOK_AGAIN}
        return order.without_waiting(heads, left, deaf, readers, writers, ending)

    def is_out_of_reach(self, process: "Process") -> bool:
        """Return whether `process` has got the stop signal in vain: it is deaf, or cannot be reached."""
        signum = self.signum_for(process)
        was_deaf = process.birth in self.blocked and process.is_deaf_to(signum)
        return process.birth in self.signalled and (was_deaf or proc.is_out_of_reach(process, signum))

    def holds_off(self, process: "Process") -> bool:
        """Return whether `process` has got the stop signal, but still blocks it."""
        return process.birth in self.signalled and proc.holds_off(process, self.signum_for(process))

    def is_over(self, left: "dict[int, Process]") -> bool:
        """Return whether more time would end no descendant: each is deaf, or stopped by job control."""
        deaf = self.deaf(left, late=True)
        family = order.descendants(proc.init(), left)
        return all(process.state == "T" or process.birth in deaf for process in family)


def _kill_all(reaper: "Deaths", take_signal: "Callable[[float | None], None]") -> None:
    """Send SIGKILL again and again, until no child is left or the rest cannot be killed.

    The rest cannot be killed if, for CANNOT_DIE seconds, no process has ended that was there at the beginning. Newer
    processes do not count, because they may come and go for ever.
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
    """Return what keeps SIGKILL from ending `pid`: the error of kill(2), or the state of the process."""
    try:
        posix.kill(pid, 0)
    except OSError as error:  # EPERM
        return error.strerror or ""
    return f"state {state}"


def somebody_is_left() -> bool:
    """Return whether a descendant lives.

    One walk through /proc can miss a process that loses its parent meanwhile. A second walk finds it.
    """
    return bool(_births() or _births())


def _births() -> "set[Birth]":
    """Return the births of the living descendants."""
    left = {process.pid: process for process in proc.left()}
    return {process.birth for process in order.descendants(proc.init(), left)}


def _tell_who_is_left() -> dict[int, str]:
    """Log the living descendants, for -v, and return their names by PID."""
    names = {pid: name for pid, name, _ in _who_is_left()}
    few = ", ".join(f"{pid} ({name})" for pid, name in list(names.items())[:MOST_NAMES])
    log.info(f"still there: {len(names)}: PID {few}{', ...' if len(names) > MOST_NAMES else ''}")
    return names


def _who_is_left() -> list[tuple[int, str, str]]:
    """Return PID, name and state of each living descendant."""
    everyone = [(pid, proc.name(pid), proc.state(pid)) for pid in proc.descendants()]
    return [(pid, name, state) for pid, name, state in everyone if state not in "ZX"]
