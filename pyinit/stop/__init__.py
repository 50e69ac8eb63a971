"""The life of a stop, as states: who has asked for it, and how long the end may take. No process, no clock in it.

Called by init while the main child lives, and by drain afterwards. They say what happens and when, in seconds of
monotonic(3), and do what the phase asks for.

    phase      the main child   a stop signal    its end             deadline passes   all that is left is deaf
    running    lives            -> asked         -> draining (1)     -                 -
    asked      lives            (forwarded)      -> draining (2)     -> killing        -
    waiting    has ended        -> draining      -                   -                 -
    draining   has ended        first: (3)       -                   -> killing        -> killing
                                second: killing
    killing    whatever         -                (stays)             -                 -

(1) with --wait-all to waiting. (2) Both: with --grace 0 to killing. (3) The drain has been asked for from now on.
"""

import _signal

from ..base import GRACE

RUNNING, ASKED, WAITING, DRAINING, KILLING = "running", "asked", "waiting", "draining", "killing"
LAST_CALL = 1.0  # seconds before the deadline


class Stop:
    """Where a stop stands.

    `grace` and `kill_after` are what the options say, in seconds, or None. `signum` is the stop signal that came last,
    as the command gets it, 0 where none has.
    """

    __slots__ = ("bounded", "grace", "grace_over", "kill_after", "kill_at", "phase", "signum", "wait_all")

    def __init__(self, *, grace: float | None = None, kill_after: float | None = None, wait_all: bool = False) -> None:
        self.phase = RUNNING
        self.signum = 0
        self.grace = GRACE if grace is None else grace
        self.bounded = grace is not None  # whether the grace bounds a drain that was asked for, too
        self.grace_over = 0.0
        self.kill_after = kill_after
        self.kill_at: float | None = None
        self.wait_all = wait_all

    def ask(self, signum: int, now: float) -> None:
        """A stop signal has come, which is `signum` to the command."""
        if self.phase == DRAINING and self.signum:
            self.phase = KILLING
        elif self.phase == WAITING:
            self._drain(now)
        elif self.phase == RUNNING:
            self.phase = ASKED
        if self.kill_after is not None and not self.signum:
            self.kill_at = now + self.kill_after
        self.signum = signum

    def main_child_ended(self, now: float) -> None:
        """The main child has ended, or --pause; others are left."""
        if self.phase == RUNNING and self.wait_all:
            self.phase = WAITING
        elif self.phase in (RUNNING, ASKED):
            self._drain(now)

    def _drain(self, now: float) -> None:
        self.phase = DRAINING if self.grace else KILLING
        self.grace_over = now + self.grace

    def deadline(self) -> float | None:
        """When the time is over, and expire() to be called; None: never, as far as this can be known now."""
        if self.phase == DRAINING and (self.bounded or not self.signum):
            return self.grace_over if self.kill_at is None else min(self.grace_over, self.kill_at)
        return self.kill_at if self.phase in (ASKED, DRAINING) else None

    def drain_signal(self) -> int:
        """The signal that tells what is left: the command's own, but SIGTERM where nobody has asked.

        SIGINT becomes SIGTERM too, because a shell has its background jobs ignore it.
        """
        return self.signum if self.signum not in (0, _signal.SIGINT) else _signal.SIGTERM

    def last_call(self) -> float | None:
        """When everybody who has not been told yet is to be told, because of the deadline; None: there is none.

        Whoever was waited for has had its time by then.
        """
        deadline = self.deadline()
        began = self.grace_over - self.grace
        return None if deadline is None else deadline - min(LAST_CALL, (deadline - began) / 2)

    def expire(self) -> None:
        """The deadline has passed, or what is left is deaf and the grace is over."""
        self.phase = KILLING
