"""What the launcher of -n signals and reaps, if it stays Python: PID 1 of the namespace, and the command."""

from ..family import Targets
from ..family.reaper import Reaper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .namespace import Launcher


class ToPidOne(Targets):
    """The launcher's only receiver of signals: PID 1 of the namespace, which applies the options."""

    def __init__(self, launcher: "Launcher") -> None:
        super().__init__("child", launcher.child, share_group=launcher.inherited.is_job)
        self.launcher = launcher

    def signal_it_heeds(self, signum: int) -> int:
        """Return `signum` itself."""
        return signum

    def signal(self, signum: int) -> None:
        """Send `signum` to PID 1."""
        self.launcher.signal_pid_one(signum)

    def signal_descendants(self, *signums: int) -> None:
        """Send the signals to PID 1."""
        for signum in signums:
            self.signal(signum)


class BothChildren(Reaper):
    """The launcher's reaper of PID 1, of the command, and of children that the launcher was started with."""

    def __init__(self, launcher: "Launcher") -> None:
        super().__init__(launcher.child, launcher.child_changed, watches=launcher.inherited.terminal is not None)
        self.launcher = launcher
        self.tells = True

    def tell_of_orphan(self, pid: int, wait_status: int) -> None:
        """Note the end of PID 1, if `pid` is PID 1."""
        if pid == self.launcher.pid_one:
            self.launcher.pid_one_ended(wait_status)
