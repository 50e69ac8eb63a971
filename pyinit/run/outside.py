"""What the launcher of -n signals, if it stays Python: PID 1 of the namespace."""

import posix

from ..base import log
from ..family import Targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .namespace import Launcher


class ToPidOne(Targets):
    """The launcher's only receiver of signals: PID 1 of the namespace, which applies the options."""

    def __init__(self, launcher: "Launcher") -> None:
        super().__init__("child", launcher.child, share_group=launcher.inherited.is_job)
        self.launcher = launcher

    def signal(self, signum: int) -> None:
        """Send `signum` to PID 1."""
        if self.launcher.pid_one:
            try:
                posix.kill(self.launcher.pid_one, signum)
            except OSError as error:  # EPERM
                log.warning(f"cannot forward signal {signum} to PID {self.launcher.pid_one}: {error.strerror}")

    signal_descendants = signal
