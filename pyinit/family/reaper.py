"""Reaping: which processes have ended below pyinit, and what has become of the main child.

See waitpid(2).
"""

import posix

from ..base import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..run.command import MainChild


class Reaper:
    """Reaps pyinit's children.

    The reaper calls `changed` with each wait status of the main child. That is its end and, if the reaper `watches`
    them, as under a terminal, its stops and continuations. If it watches, it also calls `orphan_stopped` when another
    child has stopped, with its PID and the signal. It calls `tell` with the PID and the wait status of an orphan that
    it has reaped, if it `tells`. `warns` is --warn-on-reap.

    `reaped` counts the orphans so far. `childless` says whether pyinit had no child left at the last reap().
    """

    def __init__(
        self, child: "MainChild", changed: "Callable[[int], None]", *, watches: bool = False, warns: bool = False
    ) -> None:
        self.child, self.changed, self.warns = child, changed, warns
        self.flags = posix.WNOHANG | (posix.WUNTRACED | posix.WCONTINUED if watches else 0)
        self.tells = warns or log.level >= log.DEBUG
        self.names: dict[int, str] = {}  # with -v: of the processes that were left when the drain began, by PID
        self.orphan_stopped: Callable[[int, int], None] = lambda _pid, _signum: None
        self.tell = self.tell_of_orphan
        self.reaped = 0
        self.childless = False

    def reap(self) -> None:
        """Reap every child that has ended, because one SIGCHLD may stand for many deaths.

        A container may lose thousands of orphans a second. For that reason the names are local.
        """
        self.childless = False
        waitpid, flags = posix.waitpid, self.flags
        tells = self.tells or self.names
        try:
            while (ended := waitpid(-1, flags))[0]:
                pid, wait_status = ended
                if pid == self.child.pid:
                    self.changed(wait_status)
                elif posix.WIFSTOPPED(wait_status):
                    self.orphan_stopped(pid, posix.WSTOPSIG(wait_status))
                elif not posix.WIFCONTINUED(wait_status):
                    self.reaped += 1
                    if tells:
                        self.tell(pid, wait_status)
        except ChildProcessError:
            self.childless = True

    nobody_is_left = reap  # /proc shows no leftover process; a zombie does not count as one

    def tell_of_orphan(self, pid: int, wait_status: int) -> None:
        """Log that an orphan was reaped, with -w, -vv or, in a drain, -v."""
        from ..base.signals import describe

        if self.warns:
            log.warning(f"reaped orphan PID {pid}: {describe(wait_status)}")
        elif pid in self.names:
            log.info(f"PID {pid} ({self.names[pid]}) went: {describe(wait_status)}")
        else:
            log.debug(f"reaped orphan PID {pid}: {describe(wait_status)}")
