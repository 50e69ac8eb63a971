"""Waiting: takes one signal after the other, and has let go of what is not needed for that.

Called by init and launcher, which say what to do with each signal. They are blocked before anything else and taken one
at a time with sigwaitinfo(2): there is no handler, so there is no race with one, and nothing wakes pyinit while nothing
happens.
"""

import _signal
import posix
from time import monotonic, sleep

from . import log
from .command import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reaper import Reaper

ALL_SIGNALS = tuple(_signal.valid_signals())
SI_KERNEL, LOWEST_CODE = 0x80, -64  # the highest si_code; the lowest with a name is SI_ASYNCNL, -60
AGAIN = 0.1  # seconds until what has failed is tried again


class SignalTaker:
    """Takes one signal after the other, and reaps after each: the init, and the launcher."""

    reaper: "Reaper"

    def __init__(self) -> None:
        self.early: list[_signal.struct_siginfo] = []  # signals that came before there was a main child

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
        """Act on the next signal, or on the `deadline`."""
        self.act_on(self.early.pop(0) if self.early else wait_for_signal(deadline))

    def settle(self) -> None:
        """Once the command runs: let go of the directory and the descriptors."""
        log.survived(posix.chdir, "/")  # somebody may want to unmount what pyinit was started in
        log.survived(close_inherited, self.descriptors())

    def descriptors(self) -> set[int | None]:
        """The descriptors above 2 that it needs as long as it runs."""
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
    if siginfo is not None and monotonic() >= deadline and not _is_plausible(siginfo):
        # CPython's, from memory that nobody has written to: the wait was interrupted without a signal, by SIGSTOP and
        # SIGCONT, by a freezer or a debugger, and when it was to go on, the time was over.
        return None
    return siginfo


def _is_plausible(siginfo: "_signal.struct_siginfo") -> bool:
    """Whether the kernel may have made it. With rt_sigqueueinfo(2) anybody may send a lower si_code."""
    return siginfo.si_signo in ALL_SIGNALS and LOWEST_CODE <= siginfo.si_code <= SI_KERNEL


def close_inherited(keep: set[int | None]) -> None:
    """Close what pyinit was started with and does not need, unless it is in `keep`.

    It keeps those of a file that this process holds a POSIX lock of: to close one would release the lock. See F_SETLK
    in fcntl(2).
    """
    from .native import inheritable, locked

    fds = [fd for fd in inheritable() if fd not in keep]
    kept = locked(fds)
    for fd in fds:
        if fd not in kept:
            close(fd)
