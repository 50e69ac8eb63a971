"""The processes that get a signal: the main child, its process group, or every descendant.

In a job of a shell the group is pyinit's own, and strangers may be in it. pyinit then signals only its descendants in
the group.
"""

import _signal
import posix

from ..base import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..run.command import MainChild


class Targets:
    """The processes below pyinit that `scope` asks for: child, group or all. "" is child, and group for SIGINT.

    `child` is the main child. `share_group` says whether its process group is pyinit's own, as in a job.
    `child_is_deaf` says whether the main child ignores the last stop signal, and SIGTERM too.
    """

    def __init__(self, scope: str, child: "MainChild", *, share_group: bool) -> None:
        self.scope, self.child, self.share_group = scope, child, share_group
        self.newest_signalled: tuple[int, int] | None = None  # when group or all got a stop signal; see proc.newest()
        self.child_is_deaf = False
        self.ignored_first: dict[int, bool] = {}  # by stop signal: whether the main child ignored the first of them
        self.warned_of_proc = False

    def scope_of(self, signum: int) -> str:
        """Return the scope of `signum`: child, group or all."""
        return self.scope or ("group" if signum == _signal.SIGINT else "child")

    def stop_comes(self, signum: int) -> None:
        """Remember which process is the newest, because the stop signal `signum` is about to be sent.

        This is needed only if there is a main child, and if the scope is group or all.
        """
        self.newest_signalled = None
        if self.child.pid and self.scope_of(signum) != "child":
            from .proc import newest

            self.newest_signalled = newest()

    def signal_it_heeds(self, signum: int) -> int:
        """Return SIGTERM if the main child ignores the stop signal `signum`, as bash ignores SIGQUIT; else `signum`.

        Note whether the main child is deaf to that too. If it has begun to ignore a signal because that came before, it
        is not deaf. With --scope group or all other processes get `signum` too, so nothing replaces it.
        """
        try:
            from .proc import process
        except Exception:  # the package has been removed meanwhile
            return signum
        child = process(self.child.pid)
        if signum not in self.ignored_first:
            self.ignored_first[signum] = child.ignores(signum)
            self.ignored_first.setdefault(_signal.SIGTERM, child.ignores(_signal.SIGTERM))
        self.child_is_deaf = self.ignored_first[signum] and self.ignored_first[_signal.SIGTERM]
        return _signal.SIGTERM if self.ignored_first[signum] and self.scope_of(signum) == "child" else signum

    def signal(self, signum: int) -> None:
        """Send `signum` to the processes that the scope says. There must be a main child."""
        scope = self.scope_of(signum)
        try:
            if scope == "all":
                self.signal_descendants(signum)
            elif scope == "child":
                posix.kill(self.child.pid, signum)
            else:
                self.signal_group(signum)
        except ProcessLookupError:
            pass  # with -n: the launcher has reaped the main child, and pyinit is about to take SIGCHLD
        except OSError as error:  # EPERM: the main child runs as another user
            from ..base.signals import signal_name

            log.warning(f"cannot forward {signal_name(signum)} to PID {self.child.pid}: {error.strerror}")

    def signal_group(self, signum: int) -> None:
        """Send `signum` to the main child, and to the process group that it was started in.

        The main child may be in another group by now. Raises OSError if the main child cannot be signalled.
        """
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

        pyinit lists them first. If the main child died of the signal during the walk, its children could be missed.
        """
        from . import proc, send

        group, family = [], []
        try:
            family = proc.descendants()
            group = [pid for pid in family if pid != self.child.pid and proc.process(pid).group == self.child.group]
        except proc.NoProcError as error:
            self.warn_of_proc(error)
        posix.kill(self.child.pid, signum)
        send.send(signum, group, family)

    def signal_descendants(self, signum: int) -> None:
        """Send `signum` to every descendant."""
        from . import proc, send

        try:
            send.signal_descendants(signum)
        except proc.NoProcError as error:
            self.signal_without_proc(signum, error)

    def kill_descendants(self) -> None:
        """Send one round of SIGKILL to every descendant.

        Only processes that are forked meanwhile survive the round.
        """
        from . import proc, send

        try:
            send.kill_descendants()
        except proc.NoProcError as error:
            self.signal_without_proc(_signal.SIGKILL, error)

    def signal_without_proc(self, signum: int, error: Exception) -> None:
        """Send `signum` to those that are known without /proc: the main child and, except in a job, its group."""
        self.warn_of_proc(error)
        if self.child.pid:
            self.signal_group(signum)
        else:
            self.child.signal_orphaned_group(signum)

    def warn_of_proc(self, error: Exception) -> None:
        """Warn that /proc cannot be read, once."""
        if not self.warned_of_proc:
            self.warned_of_proc = True
            log.warning(f"descendants cannot be found, because /proc cannot be read: {error}")
