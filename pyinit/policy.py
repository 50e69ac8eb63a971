"""What to do with each signal and each exit status: plain data and pure functions.

Called by cli (to read options) and by init (to decide). No system call is made here, so all of it is tested without a
process.
"""

import _signal
import posix

from .request import AS_IT_IS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STOP_SIGNALS = frozenset({_signal.SIGTERM, _signal.SIGINT, _signal.SIGQUIT})
NEVER_REPLACED = (_signal.SIGTERM, _signal.SIGINT)  # where the main child ignores a stop signal
ENDS_PAUSE = frozenset({_signal.SIGTERM, _signal.SIGINT})
SUSPEND_SIGNALS = frozenset({_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU})
KEYS = frozenset({_signal.SIGINT, _signal.SIGQUIT})  # Ctrl-C and Ctrl-\, which end a job
# What a terminal sends to a whole process group. SIGCONT is not among them: the wait status tells whether it came.
FROM_TERMINAL = SUSPEND_SIGNALS | KEYS | {_signal.SIGHUP, _signal.SIGWINCH}


class Policy:
    """What the options say about signals and exit statuses."""

    __slots__ = ("remapped", "rewrites")

    def __init__(self, rewrites: "Mapping[int, int]" = AS_IT_IS, remapped: frozenset[int] = frozenset()) -> None:
        self.rewrites, self.remapped = rewrites, remapped

    def forwarded(self, signum: int) -> int | None:
        """The signal to forward where `signum` came in; None: none at all."""
        return self.rewrites.get(signum, signum) or None

    def stops(self, signum: int) -> bool:
        """Whether `signum`, coming in, asks the command to end; what is dropped does not."""
        outgoing = self.forwarded(signum)
        return outgoing in STOP_SIGNALS or (outgoing is not None and signum in STOP_SIGNALS)

    def exit_status(self, wait_status: int) -> int:
        """pyinit's own exit status, for the main child's wait status; see waitpid(2)."""
        code = posix.waitstatus_to_exitcode(wait_status)
        status = code if code >= 0 else 128 - code
        return 0 if status in self.remapped else status
