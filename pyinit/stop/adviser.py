"""The adviser: a child of the C program that decides which processes a stop reaches, in which order, and until when.

The C program starts the adviser if the command has left processes behind, or has not ended 50 ms after a stop signal.
The C program reaps, and then sends the adviser SIGCHLD. It also passes on the signals that come in: the stop signals
while the command lives, and all signals afterwards. It kills the adviser as soon as no other process is left. If the
adviser fails, the C program ends the leftover processes itself; see finish() in pyinit.c.
"""

import _signal
import posix
from time import monotonic

from ..base import OR_TERM, SIGNAL, STOPS, log, orders
from ..base.wait import wait_for_signal
from ..family import Targets, proc, send
from ..run.command import MainChild
from . import Stop
from .drain import Signalling, drain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..base import Options
    from ..native import Told

DONE, HAS_SAID_WHY = 0, 124  # exit statuses; HAS_SAID_WHY: the adviser has printed why it failed


def run(options: "Options", told: "Told") -> "NoReturn":
    """Advise the parent, the C program, and exit: with DONE, or with HAS_SAID_WHY if the parent has to do it alone."""
    log.level = options.verbosity
    proc.advise(told.pid)
    try:
        proc.descendants()
    except proc.NoProcError as error:  # the C program can end processes without /proc
        log.warning(f"descendants cannot be found, because /proc cannot be read: {error}")
        posix._exit(HAS_SAID_WHY)
    is_done = log.attempt(lambda: Adviser(options, told).run())
    posix._exit(DONE if is_done else HAS_SAID_WHY)


class Adviser:
    """The adviser's work: to wait for the command's end, and to drain.

    drain() uses `reaped`, `names` and `childless`, as it uses those of a Reaper.
    """

    def __init__(self, options: "Options", told: "Told") -> None:
        self.orders = orders(options)
        self.childless = False
        self.reaped = 0
        self.names: dict[int, str] = {}
        self.child = MainChild()
        self.child.pid, self.child.group = told.child, told.group
        self.birth = proc.process(told.child).birth if told.child else None
        if told.child and proc.parent(told.child) == 0:  # with -n it is a child of the launcher, which is outside
            proc.set_root(told.child)
        self.targets = Targets(options.scope, self.child, share_group=False)
        self.stop = Stop(grace=options.grace, kill_after=options.kill_after)
        if told.stop:
            signum = self.orders[told.stop] & SIGNAL
            self.stop.ask(signum, monotonic(), told.stop)
            self.targets.ignored_first[signum] = self.targets.ignored_first[_signal.SIGTERM] = told.is_deaf
            self.targets.child_is_deaf = told.is_deaf
            self.targets.newest_signalled = told.newest
            if told.kill_at is not None:  # the C program sets no deadline if the command had ended before
                self.stop.kill_at = told.kill_at
        self.signalling = Signalling(self.stop, self.targets, self)
        self.stop.announce = lambda phase: log.report(options.status_fd, f'{{"phase": "{phase}"}}')

    def run(self) -> None:
        """Wait for the command's end, then drain."""
        self.look_at_command()
        while self.child.pid:
            self.take_signal(self.signalling.act())
        drain(self.signalling, self.take_signal)

    def nobody_is_left(self) -> None:
        """Note that /proc shows no leftover process.

        Most often the C program knows this first, and kills the adviser.
        """
        self.childless = True

    def look_at_command(self) -> None:
        """Set `child.pid` to 0 if the command has ended."""
        if self.child.pid:
            process = proc.process(self.child.pid)
            if not process.alive() or process.birth != self.birth:
                self.child.pid = 0
                proc.set_root(0)

    def take_signal(self, deadline: float | None) -> None:
        """Wait for the next signal until the `deadline`, a time of monotonic(3) in seconds or None, and act on it."""
        siginfo = wait_for_signal(deadline)
        if siginfo is None or siginfo.si_pid != proc.init():
            return  # a leftover process may have called kill(-1), which spares PID 1 but not its adviser
        if siginfo.si_signo == _signal.SIGCHLD:
            self.reaped += 1
            self.look_at_command()
        elif (order := self.orders[siginfo.si_signo]) & STOPS:
            signum = order & SIGNAL
            self.targets.stop_comes(signum)
            self.stop.ask(signum, monotonic(), siginfo.si_signo)
            if self.child.pid and order & OR_TERM:
                self.targets.signal_it_heeds(signum)
        else:  # the C program sends it only after the command's end, and the SIGCHLD for that may still be pending
            self.look_at_command()
            if order & SIGNAL and not self.child.pid:
                send.signal_descendants(order & SIGNAL)
