"""The drain: it ends the processes that the command leaves behind.

The module stop.order decides the order of the signals. The class Stop decides how long the drain may take. See the
numbered sentences in pyinit/stop/__init__.py.
"""

import posix
from time import monotonic

from ..base import log
from ..family import proc, send
from . import DRAINING, WAITING, order
from .order import LOOK_AGAIN, Drain

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
    leftovers, own_stdin = Drain(stop, targets), proc.pipe_on_stdin(posix.getpid())
    look_at = looked = monotonic()
    cost = 0.0
    while stop.phase == DRAINING and not reaper.childless:
        now, deadline, last_call = monotonic(), stop.deadline(), stop.last_call()
        if deadline is not None and now >= deadline:
            stop.expire()
        elif now >= look_at or leftovers.is_last_call(now):
            look = Look(own_stdin)
            for signum, pids in leftovers.step(look, now):
                send.send((signum,), pids, look.left)
            if not look.descendants() and not somebody_is_left():
                reaper.nobody_is_left()
            looked = monotonic()
            look_at, cost = looked if leftovers.seems_over else looked + LOOK_AGAIN, looked - now
            if stop.phase != DRAINING:
                log.info("no leftover process heeds the signal")
        else:
            reaped = reaper.reaped
            bounds = [bound for bound in (deadline, last_call) if bound is not None and bound > now]
            take_signal(min([look_at, *bounds]))
            if reaper.reaped > reaped:  # it may have left processes behind; if many die, not each death gets a look
                look_at = min(look_at, looked + LOOKS_APART * cost)


class Look:
    """The leftover processes at one moment: `left` by PID, and what else Drain.step() asks. NoProcError without /proc.

    `own_stdin` is the pipe on pyinit's stdin, of which other processes may be readers too.
    """

    def __init__(self, own_stdin: str) -> None:
        self.own_stdin = own_stdin
        self.left = {process.pid: process for process in proc.left()}

    def descendants(self) -> "list[Process]":
        """Return those that descend from pyinit."""
        return order.descendants(proc.init(), self.left)

    def pipes(self, unsignalled: "Iterable[Process]") -> "tuple[dict[int, str], dict[int, set[str] | None]]":
        """Return the pipes that the `unsignalled` read and all write; see proc.pipes()."""
        return proc.pipes(self.left, unsignalled, self.own_stdin)

    def is_out_of_reach(self, process: "Process", signum: int) -> bool:
        """Return whether `signum` cannot get to `process`."""
        return proc.is_out_of_reach(process, signum)

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
    return {process.birth for process in Look("").descendants()}


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
