"""Waiting for a signal, and what pyinit lets go of before it waits.

Called by init and adviser. Signals are blocked before anything else and taken one at a time with sigwaitinfo(2): there
is no handler, so there is no race with one, and nothing wakes pyinit while nothing happens.
"""

import _signal
from time import monotonic

from ..run.command import close

ALL_SIGNALS = tuple(_signal.valid_signals())
SI_KERNEL, LOWEST_CODE = 0x80, -64  # the highest si_code; the lowest with a name is SI_ASYNCNL, -60
RETRY_AFTER = 0.1  # seconds until what has failed is tried again


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
    from ..native import inheritable, locked

    fds = [fd for fd in inheritable() if fd not in keep]
    kept = locked(fds)
    for fd in fds:
        if fd not in kept:
            close(fd)
