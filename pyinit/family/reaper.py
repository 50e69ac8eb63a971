"""Reaping: what has ended below pyinit, and what has become of the main child.

Called by init after every signal. See waitpid(2).
"""

import posix

from ..base import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..run.command import MainChild


class Reaper:
    """Reaps pyinit's children.

    `changed` is called with each wait status of the main child: its end and, where somebody `watches` them as under a
    terminal, its stops and continuations. `warns` is --warn-on-reap.
    """

    def __init__(
        self, child: "MainChild", changed: "Callable[[int], None]", *, watches: bool = False, warns: bool = False
    ) -> None:
        self.child, self.changed, self.warns = child, changed, warns
        self.flags = posix.WNOHANG | (posix.WUNTRACED | posix.WCONTINUED if watches else 0)
        self.tells = warns or log.level >= log.DEBUG
        self.names: dict[int, str] = {}  # of what was left when the drain began, with -v
        self.reaped = 0
        self.childless = False

    def nobody_is_left(self) -> None:
        """As far as /proc shows, where a zombie is nobody."""
        self.reap()

    def reap(self) -> None:
        """Reap whatever has ended: one SIGCHLD may stand for many deaths.

        A container may lose thousands of orphans a second, hence the local names.
        """
        self.childless = False
        waitpid, flags = posix.waitpid, self.flags
        tells = self.tells or self.names
        try:
            while (ended := waitpid(-1, flags))[0]:
                pid, wait_status = ended
                if pid == self.child.pid:
                    self.changed(wait_status)
                elif not (posix.WIFSTOPPED(wait_status) or posix.WIFCONTINUED(wait_status)):
                    self.reaped += 1
                    if tells:
                        self.tell_of_orphan(pid, wait_status)
        except ChildProcessError:
            self.childless = True

    def tell_of_orphan(self, pid: int, wait_status: int) -> None:
        """With -w, -vv or, in a drain, -v."""
        from ..base.signals import describe

        if self.warns:
            log.warning(f"reaped orphan PID {pid}: {describe(wait_status)}")
        elif pid in self.names:
            log.info(f"PID {pid} ({self.names[pid]}) went: {describe(wait_status)}")
        else:
            log.debug(f"reaped orphan PID {pid}: {describe(wait_status)}")
