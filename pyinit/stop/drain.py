"""The drain: it ends the processes that the command leaves behind.

The module stop.order decides the order of the signals. The class Stop decides how long the drain may take. See the
numbered sentences in pyinit/stop/__init__.py.
"""

import posix
from time import monotonic

from ..base import log
from ..family import proc, send
from ..family.pipes import pipe_on_stdin, pipes, pipes_written_by
from . import DRAINING, KILLING, STOPPING, WAITING
from .order import LOOK_AGAIN, Drain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import TypeAlias

    from ..family import Targets
    from ..family.proc import Process
    from ..family.reaper import Reaper
    from . import Stop
    from .adviser import Adviser
    from .order import Birth

    Deaths: TypeAlias = Reaper | Adviser  # what knows which processes have ended

LOOKS_APART = 5  # after a death the next look comes early, but not before this many times what a look takes
CANNOT_DIE = 2.0  # seconds without a death after SIGKILL; then the rest cannot be killed (state D, another user's)
LONGEST_KILLING = 30.0  # seconds in all
KILL_AGAIN = 0.05  # seconds between two rounds of SIGKILL
MOST_NAMES = 10  # in one message


class Signalling:
    """The sending of the stop signal, in its order, by looks at /proc.

    While the main child lives, a look is needed only if it is deaf to the signal. `reaper` knows which processes have
    ended.
    """

    def __init__(self, stop: "Stop", targets: "Targets", reaper: "Deaths") -> None:
        self.stop, self.targets, self.reaper = stop, targets, reaper
        self.order = Drain(stop, targets)
        self.look_at = self.looked = self.cost = 0.0  # the times of the next and the last look, and what a look takes
        self.reaped = 0
        self.own_stdin = ""  # the pipe on pyinit's stdin, of which other processes may be readers too

    def act(self) -> float | None:
        """Do what is due now. Return the time of monotonic(3), in seconds, at which to call this again, or None.

        Call it after each signal too. Raises NoProcError in a drain.
        """
        if self.stop.phase not in (STOPPING, DRAINING):
            return None
        now, deadline, last_call = monotonic(), self.stop.deadline(), self.stop.last_call()
        if deadline is not None and now >= deadline:
            self.stop.expire()
            if self.targets.child.pid:
                log.info(f"{self.stop.kill_after:g} s after a stop signal: SIGKILL")
                self.targets.kill_descendants()
            return None
        if self.stop.phase == STOPPING and not self.targets.child_is_deaf:
            return deadline
        if self.reaper.reaped > self.reaped:  # it may have left processes behind; if many die, not each gets a look
            self.look_at = min(self.look_at, self.looked + LOOKS_APART * self.cost)
        if now >= self.look_at or self.order.has_news() or self.order.is_last_call(now):
            try:
                self.look(now, deadline)
            except proc.NoProcError as error:
                if self.stop.phase == DRAINING:
                    raise
                self.targets.warn_of_proc(error)
                self.targets.child_is_deaf = False
        return min([self.look_at, *(bound for bound in (deadline, last_call) if bound is not None and bound > now)])

    def look(self, now: float, deadline: float | None) -> None:
        """Look at the processes, and send the signals that are due `now`.

        If the `deadline` passes meanwhile, the look has been in vain.
        """
        self.reaped = self.reaper.reaped
        self.own_stdin = self.own_stdin or pipe_on_stdin(posix.getpid())
        try:
            look = Look(self.own_stdin, self.targets.child.pid, deadline)
            for signum, pids in self.order.step(look, now):
                send.send(signum, pids, look.left)
        except proc.LateError:
            return
        if self.stop.phase == DRAINING and not look.left and not somebody_is_left():
            self.reaper.nobody_is_left()
        self.looked = monotonic()
        self.look_at = self.looked if self.order.seems_over else self.looked + LOOK_AGAIN
        for moment in (self.stop.finish_by, self.stop.grace_over):
            if self.looked < moment:
                self.look_at = min(self.look_at, moment)
        self.cost = self.looked - now
        if self.stop.phase == KILLING:
            log.info("no leftover process heeds the signal")


def drain(signalling: Signalling, take_signal: "Callable[[float | None], None]") -> None:
    """Let the leftover processes end, and kill those that remain when the time is over.

    With --wait-all, first wait until a stop signal comes. Then send the stop signal to each process that has not got
    it. When the time is over, send SIGKILL until no process is left. If a process forks just before it dies, the next
    round kills the new process.

    `take_signal` waits for a signal and acts on it. Its argument is a deadline, a time of monotonic(3) in seconds, or
    None. It also reaps, if this process is the parent. Raises NoProcError if the leftover processes cannot be seen.
    """
    stop, reaper, began = signalling.stop, signalling.reaper, monotonic()
    if log.level >= log.INFO:
        reaper.names = _tell_who_is_left()
    stop.main_child_ended(began)
    while stop.phase == WAITING and not reaper.childless:
        take_signal(None)
    signalling.look_at = 0.0
    while stop.phase == DRAINING and not reaper.childless:
        until = signalling.act()
        if stop.phase == DRAINING and not reaper.childless:
            take_signal(until)
    if not reaper.childless:
        _kill_all(reaper, take_signal)
    log.info(f"drained in {monotonic() - began:.2f} s")


class Look:
    """The leftover processes at one moment: `left` by PID, and what else Drain.step() asks. NoProcError without /proc.

    `own_stdin` is the pipe on pyinit's stdin, of which other processes may be readers too. If `child` is not 0, it is
    the main child, and the look is only at the main child and its descendants. LateError if the `deadline`, a time of
    monotonic(3) in seconds, passes before the look is complete.
    """

    own_pipes: "Collection[str]" = ()  # those that pyinit itself can write to

    def __init__(self, own_stdin: str = "", child: int = 0, deadline: float | None = None) -> None:
        self.own_stdin, self.deadline = own_stdin, deadline
        self.left = proc.left(deadline)
        if child:
            family = proc.below([child], self.left)
            self.left = {pid: process for pid, process in self.left.items() if pid in family}

    def pipes(self, unsignalled: "Iterable[Process]") -> "tuple[dict[int, str], dict[int, set[str] | None]]":
        """Return the pipes that the `unsignalled` read and all write; see family.pipes."""
        readers, written = pipes(self.left, unsignalled, self.own_stdin, self.deadline)
        if readers:
            self.own_pipes = pipes_written_by(proc.init()) or ()
        return readers, written

    def is_out_of_reach(self, process: "Process", signum: int) -> bool:
        """Return whether `signum` cannot get to `process`."""
        return proc.is_out_of_reach(process, signum)

    def waits_for_signals(self, process: "Process") -> bool:
        """Return whether a thread of `process` is in sigtimedwait(2), as far as that may be seen."""
        return any(proc.waits_for_signals(process.pid, thread) for thread in proc.threads(process.pid))

    def holds_off(self, process: "Process", signum: int) -> bool:
        """Return whether `process` blocks `signum`, which has come."""
        return proc.holds_off(process, signum)


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
    return {process.birth for process in proc.left().values()}


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
