"""What the launcher of -n signals, if it stays Python."""

import _signal
import posix

from ..base import SUSPEND_SIGNALS, log
from ..family import Targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .namespace import Launcher

JOB_CONTROL = SUSPEND_SIGNALS | {_signal.SIGCONT}


class ToPidOne(Targets):
    """Whom the launcher signals: PID 1 of the namespace, which applies the options, and for job control the command."""

    def __init__(self, launcher: "Launcher") -> None:
        scope = launcher.inner_options.scope
        super().__init__(scope, launcher.child, share_group=launcher.inherited.is_job)
        self.launcher = launcher

    def signal(self, signum: int) -> None:
        """Send `signum` to PID 1. But send one of job control to whom the scope says, unless -r rewrites it.

        PID 1 might forward it late, when the next one has come already.
        """
        if signum in JOB_CONTROL and self.child.pid and self.launcher.inner_options.forwarded(signum) == signum:
            super().signal(signum)
        else:
            self.signal_descendants(signum)

    def signal_descendants(self, signum: int) -> None:
        """Send `signum` to PID 1."""
        if self.launcher.pid_one:
            try:
                posix.kill(self.launcher.pid_one, signum)
            except OSError as error:  # EPERM
                log.warning(f"cannot forward signal {signum} to PID {self.launcher.pid_one}: {error.strerror}")
