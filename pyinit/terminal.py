"""The terminal: job control under an interactive shell.

Called by init where there is a controlling terminal, or where pyinit gets a stop signal of job control. SIGTTOU is
blocked in pyinit, so tcsetpgrp(3) works from the background. See "Orphaned process groups" in credentials(7) and
setpgid(2).
"""

import _signal
import posix

from .policy import SUSPEND_SIGNALS


def hand_over(terminal: int, pgid: int) -> bool:
    """Make `pgid` the foreground process group if pyinit's own group is; whether it was."""
    return move(terminal, posix.getpgrp(), pgid)


def take_back(terminal: int, pgid: int) -> None:
    """Make pyinit's own group the foreground group if `pgid` is, or if the one that is has no process left."""
    if move(terminal, pgid, posix.getpgrp()):
        return
    try:
        foreground = posix.tcgetpgrp(terminal)
        posix.killpg(foreground, 0)
    except ProcessLookupError:
        move(terminal, foreground, posix.getpgrp())
    except OSError:
        pass  # EPERM: it lives, as another user; EIO, ENOTTY: the terminal has hung up


def share(terminal: int, pgid: int) -> bool:
    """Give the terminal from `pgid` to pyinit's own group and continue that; false where `pgid` had it not.

    As in `pyinit command | less`: the terminal has stopped the job, because less wants it and the command's group has
    it. The command gets it again when it wants it itself.
    """
    if not move(terminal, pgid, posix.getpgrp()):
        return False
    posix.kill(0, _signal.SIGCONT)
    _signal.sigtimedwait((_signal.SIGCONT,), 0)  # ours
    return True


def move(terminal: int, origin: int, destination: int) -> bool:
    """Make `destination` the foreground process group if `origin` is; whether it was. See tcsetpgrp(3)."""
    try:
        if posix.tcgetpgrp(terminal) == origin:
            posix.tcsetpgrp(terminal, destination)
            return True
    except OSError:
        pass  # EIO, ENOTTY: the terminal has hung up; EPERM, ESRCH: the group has just ended
    return False


def can_suspend() -> bool:
    """Whether this process may stop itself: as session leader or PID 1 it has nobody who could continue it."""
    return posix.getpid() not in (1, posix.getsid(0))


def suspend(signum: int, *, job: bool) -> bool:
    """Stop pyinit until SIGCONT, which is pending then; false, at once, where nobody could continue it.

    `signum` is the stop signal to do it with, so that the shell tells what its user did; with `job`, pyinit's whole
    process group gets it, as it would have from the terminal. SIGSTOP is replaced by SIGTSTP, of which the kernel
    exempts orphaned process groups.
    """
    if not can_suspend():
        return False
    if signum not in SUSPEND_SIGNALS:
        signum, job = _signal.SIGTSTP, False
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {signum})
    if _signal.SIGCONT not in _signal.sigpending():  # else one that was pending has stopped us already
        posix.kill(0 if job else posix.getpid(), signum)  # stopped here, where the kernel allows it
    _signal.pthread_sigmask(_signal.SIG_BLOCK, {signum})
    return _signal.SIGCONT in _signal.sigpending()
