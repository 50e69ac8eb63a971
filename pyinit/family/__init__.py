"""Who gets a signal: the main child, its process group, or every descendant.

Called by init to forward, and by drain. Under a terminal the group is pyinit's own, and others may be in it: only the
descendants among them are meant.
"""

import _signal
import posix

from ..base import NEVER_REPLACED, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..run.command import MainChild


class Targets:
    """Those below pyinit, as far as `scope`, one of child, group and all, asks for them."""

    def __init__(self, scope: str, child: "MainChild", *, share_group: bool) -> None:
        self.scope, self.child, self.share_group = scope, child, share_group
        self.newest_signalled: tuple[int, int] | None = None  # when group or all were told to stop; see proc.newest()
        self.warned_of_proc = False

    def stop_comes(self) -> None:
        """They are about to be sent a stop signal, if there is still a main child."""
        if self.child.pid and self.scope != "child":
            from .proc import newest

            self.newest_signalled = newest()

    def signal_it_heeds(self, signum: int) -> int:
        """SIGTERM where the main child ignores the stop signal `signum`, as bash does SIGQUIT, and nobody else gets it.

        What it leaves behind is told `signum`. Not for SIGINT, which background jobs have reason to ignore.
        """
        if self.scope == "child" and signum not in NEVER_REPLACED:
            try:
                from .proc import process
            except Exception:  # the package has been removed meanwhile
                return signum
            if process(self.child.pid).ignores(signum):
                return _signal.SIGTERM
        return signum

    def signal(self, signum: int) -> None:
        """Send `signum` to whom the scope says, while there is a main child."""
        try:
            if self.scope == "all":
                self.signal_descendants(signum)
            elif self.scope == "child":
                posix.kill(self.child.pid, signum)
            else:
                self.signal_group(signum)
        except ProcessLookupError:
            pass  # with -n: the launcher has reaped it, and SIGCHLD is about to be taken
        except OSError as error:  # EPERM: it runs as another user
            from ..base.signals import signal_name

            log.warning(f"cannot forward {signal_name(signum)} to PID {self.child.pid}: {error.strerror}")

    def signal_group(self, signum: int) -> None:
        """Send `signum` to the main child, wherever it is now, and to the group that it was started in."""
        if self.share_group:
            self.signal_family_in_group(signum)
            return
        refused = None
        try:
            posix.killpg(self.child.group, signum)
        except ProcessLookupError:
            pass  # the main child has moved to another group, and nobody is left in its first one
        except PermissionError as error:  # nobody in it may be signalled
            refused = error
        if posix.getpgid(self.child.pid) != self.child.group:
            posix.kill(self.child.pid, signum)
        elif refused:
            raise refused

    def signal_family_in_group(self, signum: int) -> None:
        """Send `signum` to the main child, and to those of pyinit's own group that descend from pyinit.

        They are listed first. If the main child died of the signal during the walk, its children could be missed.
        """
        from . import proc, send

        group, family = [], []
        try:
            family = proc.descendants()
            group = [pid for pid in family if pid != self.child.pid and proc.process(pid).group == self.child.group]
        except proc.NoProcError as error:
            self.warn_of_proc(error)
        posix.kill(self.child.pid, signum)
        send.send((signum,), group, family)

    def signal_descendants(self, *signums: int) -> None:
        """Send the signals to every descendant."""
        from . import proc, send

        try:
            send.signal_descendants(signums)
        except proc.NoProcError as error:
            self.signal_without_proc(signums, error)

    def kill_descendants(self) -> bool:
        """One round of SIGKILL for every descendant, which leaves only what was forked meanwhile.

        Whether they could be found.
        """
        from . import proc, send

        try:
            send.kill_descendants()
            return True
        except proc.NoProcError as error:
            return self.signal_without_proc((_signal.SIGKILL,), error)

    def signal_without_proc(self, signums: tuple[int, ...], error: Exception) -> bool:
        """Send the signals to those who are known without /proc: the main child and, but for a terminal, its group.

        Whether somebody was there.
        """
        self.warn_of_proc(error)
        if self.child.pid:
            for signum in signums:
                self.signal_group(signum)
            return True
        return all(self.child.signal_orphaned_group(signum) for signum in signums)

    def warn_of_proc(self, error: Exception) -> None:
        """Once."""
        if not self.warned_of_proc:
            self.warned_of_proc = True
            log.warning(f"descendants cannot be found, because /proc cannot be read: {error}")
