"""Waiting for a signal.

pyinit blocks all signals before anything else. It takes them one at a time with sigwaitinfo(2). There is no handler, so
there is no race with a handler. While nothing happens, nothing wakes pyinit.
"""

import _signal
from time import monotonic

ALL_SIGNALS = tuple(_signal.valid_signals())
SI_KERNEL, LOWEST_CODE = 0x80, -64  # the highest si_code; the lowest with a name is SI_ASYNCNL, -60
RETRY_AFTER = 0.1  # seconds before pyinit tries again what has failed


def wait_for_signal(deadline: float | None) -> "_signal.struct_siginfo | None":
    """Return the next signal, or None if the deadline, a time of monotonic(), came first. See sigwaitinfo(2)."""
    if deadline is None:
        return _signal.sigwaitinfo(ALL_SIGNALS)
    left = deadline - monotonic()
    # If the deadline has passed, do not call sigtimedwait(2). Even without time it returns a pending signal, so a flood
    # of signals would hide the deadline.
    siginfo = _signal.sigtimedwait(ALL_SIGNALS, left) if left > 0 else None
    if siginfo is not None and monotonic() >= deadline and not _is_plausible(siginfo):
        # CPython made this siginfo from memory that nobody has written to. Something other than a signal interrupted
        # the wait: SIGSTOP and SIGCONT, a freezer or a debugger. When CPython tried to go on, the time was over.
        return None
    return siginfo


def _is_plausible(siginfo: "_signal.struct_siginfo") -> bool:
    """Return whether the kernel may have made this siginfo.

    With rt_sigqueueinfo(2) anybody may send a lower si_code.
    """
    return siginfo.si_signo in ALL_SIGNALS and LOWEST_CODE <= siginfo.si_code <= SI_KERNEL
