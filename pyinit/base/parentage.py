"""Parents: who adopts orphans, and what happens when pyinit's own parent dies. By prctl(2).

Called by init where pyinit is not PID 1, which adopts orphans by itself, and for --parent-death-signal.
"""

import posix

from . import OWN_ERROR, log
from .syscalls import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl


def adopt_orphans() -> None:
    """Become a subreaper; see PR_SET_CHILD_SUBREAPER in prctl(2). A warning where that can't be done."""
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except ImportError as error:
        log.warning(f"orphans will not be adopted, because neither python-prctl nor ctypes can be imported: {error}")
    except OSError as error:
        log.warning(f"orphans will not be adopted: PR_SET_CHILD_SUBREAPER: {error.strerror}")


def set_parent_death_signal(signum: int) -> None:
    """Have the kernel send `signum` when the parent dies; see PR_SET_PDEATHSIG in prctl(2). Ends pyinit if it can't."""
    parent = posix.getppid()
    try:
        prctl(PR_SET_PDEATHSIG, signum)
    except (ImportError, OSError) as error:
        log.error(f"--parent-death-signal: {error}")
        posix._exit(OWN_ERROR)
    if posix.getppid() != parent:  # it died just before: the kernel has nothing to tell any more
        posix.kill(posix.getpid(), signum)
