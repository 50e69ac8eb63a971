"""Waiting: takes one signal after the other, rests where none comes, and has let go of what is not needed for that.

Called by init and launcher, which say what to do with each signal. They are blocked before anything else and taken one
at a time with sigwaitinfo(2): there is no handler, so there is no race with one, and nothing wakes pyinit while nothing
happens.
"""

import _signal
import posix
from time import monotonic, sleep

from . import log
from .command import close, restore_locale

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reaper import Reaper

ALL_SIGNALS = tuple(_signal.valid_signals())
IDLE = 0.02  # seconds without a signal, after which it rests
SI_KERNEL = 0x80  # the highest si_code; the lowest is SI_ASYNCNL, -60
AGAIN = 0.1  # seconds until what has failed is tried again


class SignalTaker:
    """Takes one signal after the other, reaps after each, and rests where none comes: the init, and the launcher."""

    reaper: "Reaper"

    def __init__(self) -> None:
        self.early: list[_signal.struct_siginfo] = []  # signals that came before there was a main child
        self.has_settled = False  # whether it need not try to rest (any more)

    def take_signal(self, deadline: float | None = None) -> None:
        """Wait for a signal, but not beyond the `deadline`, a time of monotonic(); act on it, and reap.

        Reaping follows every signal, not only SIGCHLD: sigwaitinfo(2) takes the lowest number first, and a flood of
        SIGHUP would keep SIGCHLD waiting for ever.
        """
        if not log.survived(self.act_on_next, deadline):
            sleep(AGAIN)
        self.reap()

    def reap(self) -> None:
        """Reap; a second time where that fails, because what has ended is told of once."""
        if not log.survived(self.reaper.reap):
            sleep(AGAIN)
            log.survived(self.reaper.reap)

    def act_on_next(self, deadline: float | None) -> None:
        """Act on the next signal, or on the `deadline`. Where none comes soon, rest."""
        siginfo = None
        if self.early:
            siginfo = self.early.pop(0)
        elif deadline is None and not self.has_settled and self.is_ready():
            siginfo = wait_for_signal(monotonic() + IDLE)
            if siginfo is None:
                self.rest()
        self.act_on(siginfo or wait_for_signal(deadline))

    def rest(self) -> None:
        """Become the waiter, until there is something to think about. If that can't be, load what may be needed."""
        self.has_settled = True
        log.survived(restore_locale)
        log.survived(self.become_waiter)
        log.survived(self.load)

    def settle(self) -> None:
        """Once the command runs: let go of the directory and the descriptors, and be called pyinit."""
        log.survived(posix.chdir, "/")  # somebody may want to unmount what pyinit was started in
        log.survived(close_inherited, self.descriptors())
        log.survived(set_name)

    def is_ready(self) -> bool:
        """Whether the command runs, as far as it is known."""
        return True

    def descriptors(self) -> set[int | None]:
        """The descriptors above 2 that it needs as long as it runs."""
        raise NotImplementedError

    def become_waiter(self) -> None:
        """See rest.py; returns where that can't be."""
        raise NotImplementedError

    def load(self) -> None:
        """Import what may be needed later: the package may be removed or replaced meanwhile, or no descriptor free."""
        raise NotImplementedError

    def act_on(self, siginfo: "_signal.struct_siginfo | None") -> None:
        """Do what a signal, or None for the deadline, asks for."""
        raise NotImplementedError


def wait_for_signal(deadline: float | None) -> "_signal.struct_siginfo | None":
    """The next signal; None: the deadline (a time of monotonic()) came first. See sigwaitinfo(2)."""
    if deadline is None:
        return _signal.sigwaitinfo(ALL_SIGNALS)
    left = deadline - monotonic()
    # With no time left sigtimedwait(2) returns a pending signal all the same, and a flood of them ends no wait.
    siginfo = _signal.sigtimedwait(ALL_SIGNALS, left) if left > 0 else None
    if siginfo is not None and (siginfo.si_signo not in ALL_SIGNALS or not -64 <= siginfo.si_code <= SI_KERNEL):
        # CPython's, from memory that nobody has written to: the wait was interrupted without a signal, by SIGSTOP and
        # SIGCONT, by a freezer or a debugger, and when it was to go on, the time was over.
        return None
    return siginfo


def close_inherited(keep: set[int | None]) -> None:
    """Close what pyinit was started with and does not need, unless it is in `keep`.

    But for a file with a POSIX lock that pyinit has inherited: to close it would release the lock. See F_SETLK in
    fcntl(2).
    """
    from .rest import inheritable, is_locked

    for fd in inheritable():
        if fd not in keep and not is_locked(fd):
            close(fd)


def set_name() -> None:
    """Be called pyinit in ps, however the script was started; without /proc the kernel's name for it stays."""
    try:
        comm = posix.open("/proc/self/comm", posix.O_WRONLY | posix.O_CLOEXEC)
    except OSError:
        return
    posix.write(comm, b"pyinit")
    close(comm)
