"""The phases of a stop: whether somebody has asked for it, and how long the end may take.

This is how pyinit stops, in the words of pyinit(1):

 1. When the command has ended, pyinit sends the leftover processes the last stop signal that has come in, as -r
    rewrites it, or SIGTERM if there was none; a process that ignores it, or that does not catch SIGINT, gets SIGTERM.
 2. pyinit sends it to each process once, except to one that ignores it and does not block it.
 3. If a leftover process descends from another one that does not ignore the signal, pyinit signals the ancestor first,
    and the descendant when the ancestor has ended, or still blocks the signal after the grace.
 4. If a process reads its stdin from a pipe that was made inside, the kernel gives it end of file when the pipe's
    writers have ended, so pyinit signals the writers first; if its own children write to the pipe, pyinit signals
    these at once.
 5. When the writers have ended, pyinit signals such a reader after a second or two if it has a handler, or if pyinit
    itself has the pipe open for writing, and at once if it runs a process that has a handler; otherwise the reader is
    finishing its work, and it and its children have the time of the grace, counted from the end of its input.
 6. If pyinit cannot see the descriptors of another user's process (without CAP_SYS_PTRACE), it takes that process for a
    writer to each pipe, and not for a reader.
 7. pyinit does not signal a process that has got the forwarded signal already: by -g, by --scope all, or because it was
    in the command's process group when SIGINT came.
 8. pyinit sends SIGCONT to every leftover process.
 9. If another stop signal comes in, pyinit sends it to the same processes in the same order; but if a SIGINT follows a
    SIGINT, pyinit sends SIGKILL at once.
10. If the drain has a deadline, pyinit signals, one second before it, every process that it has not signalled yet and
    that is not finishing; if the drain has less than two seconds until its deadline, half-way.
11. At the deadline pyinit sends SIGKILL until no process is left.
12. If processes cannot be killed (state D, another user's), pyinit waits 2 s for them, and 30 s in all, names them in a
    warning and exits.

If the command lives but ignores the stop signal, pyinit passes it over, and does the same with its descendants.

stop.drain does this, and stop.order decides the order. This module knows only the phases. It looks at no process and
reads no clock: its caller reports each event with its time, in seconds of monotonic(3), and does what the phase asks
for.

    phase      the main child   a stop signal      its end               the deadline passes   the rest is deaf (d)
    running    lives            -> stopping        -> draining (a)(b)    -                     -
    stopping   lives            (forwarded)        -> draining (b)       -> killing            -
    waiting    has ended        -> draining (b)    -                     -                     -
    draining   has ended        (c)                -                     -> killing            -> killing
    killing    whatever         -                  (stays)               -                     -

(a) With --wait-all, waiting. (b) With --grace 0, killing. (c) It is sent to the leftover processes
again, and only --kill-after or an explicit --grace limits the drain from then on. A SIGINT that follows a SIGINT:
-> killing. (d) The grace is over, and every process that is left ignores the signal,
may not be signalled or is stopped.
"""

import _signal

from ..base import GRACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RUNNING, STOPPING, WAITING, DRAINING, KILLING = "running", "stopping", "waiting", "draining", "killing"
LAST_CALL = 1.0  # seconds before the deadline
FINISH = 0.2  # seconds before the end of the grace


class Stop:
    """The phase of a stop, and its times.

    `grace` and `kill_after` are what the options say, in seconds, or None. `signum` is the last stop signal, as the
    command gets it, or 0 if none has come. `came` is the same signal as it came in, and `count` is the number of
    those that have come. `announce` is called with each new phase.
    """

    def __init__(self, *, grace: float | None = None, kill_after: float | None = None, wait_all: bool = False) -> None:
        self.phase = RUNNING
        self.announce: Callable[[str], None] = lambda _: None
        self.signum = self.came = self.count = 0
        self.grace = GRACE if grace is None else grace
        self.finish_time = self.grace - min(FINISH, self.grace / 10)
        self.bounded = grace is not None  # whether the grace also limits a drain that was asked for
        self.grace_over = self.finish_by = self.asked_at = 0.0
        self.kill_after = kill_after
        self.kill_at: float | None = None
        self.wait_all = wait_all

    def ask(self, signum: int, now: float, came: int = 0) -> None:
        """Note that a stop signal has come at the time `now`, and that the command gets it as `signum`.

        It came in as `came`, which is the same as `signum` unless it is given.
        """
        came = came or signum
        if self.phase == DRAINING and came == self.came == _signal.SIGINT:
            self._go_to(KILLING)
        elif self.phase == WAITING:
            self._drain(now)
        elif self.phase == RUNNING:
            self._go_to(STOPPING)
        if self.kill_after is not None and not self.signum:
            self.kill_at = now + self.kill_after
        self.signum, self.came, self.asked_at = signum, came, now
        self.count += 1

    def main_child_ended(self, now: float) -> None:
        """Note that the main child, or --pause, has ended at the time `now`, and that other processes are left.

        If the main child has survived a SIGQUIT for the time of the grace, such as a JVM that dumped its threads, that
        is no reason for its end, and nobody has asked for the drain.
        """
        if self.signum == _signal.SIGQUIT and now >= self.asked_at + self.grace and self.kill_after is None:
            self.signum = self.came = self.count = 0
            self.phase = RUNNING
        if self.phase == RUNNING and self.wait_all:
            self._go_to(WAITING)
        elif self.phase in (RUNNING, STOPPING):
            self._drain(now)

    def _go_to(self, phase: str) -> None:
        self.phase = phase
        self.announce(phase)

    def _drain(self, now: float) -> None:
        self._go_to(DRAINING if self.grace else KILLING)
        self.grace_over = now + self.grace
        self.finish_by = now + self.finish_time

    def deadline(self) -> float | None:
        """Return the time at which the caller has to call expire(), or None if no time is known now."""
        if self.phase == DRAINING and (self.bounded or not self.signum):
            return self.grace_over if self.kill_at is None else min(self.grace_over, self.kill_at)
        return self.kill_at if self.phase in (STOPPING, DRAINING) else None

    def drain_signal(self) -> int:
        """Return the signal for the leftover processes: the last stop signal, or SIGTERM if there was none."""
        return self.signum or _signal.SIGTERM

    def last_call(self) -> float | None:
        """Return the time at which every process gets the stop signal that has not got it yet.

        Return None if there is no deadline. The processes that pyinit waited for have had their time by then.
        """
        deadline = self.deadline()
        began = self.grace_over - self.grace
        return None if deadline is None else deadline - min(LAST_CALL, (deadline - began) / 2)

    def expire(self) -> None:
        """Go to the phase killing: the deadline has passed, or the grace is over and the rest is deaf."""
        self._go_to(KILLING)
