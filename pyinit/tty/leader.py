"""The leader of a terminal's session, as with `docker run -t`: it continues what stops, and takes the foreground back.

If pyinit leads the session, the command has a process group of its own in the foreground, and pyinit is in the
background. So the keyboard's signals come to the command alone. Nobody else could continue a stopped command, so pyinit
does. When the command has ended, pyinit takes the foreground, so Ctrl-C comes to pyinit in a drain. reap() in pyinit.c
does the same, by child_stopped().
"""

import _signal
import posix

from ..base import SUSPEND_SIGNALS
from ..run.command import MainChild, set_foreground

STOPS = SUSPEND_SIGNALS | {_signal.SIGSTOP}
WANTS_TERMINAL = (_signal.SIGTTIN, _signal.SIGTTOU)


class Leader:
    """What pyinit does as the leader of the session of `terminal`, a descriptor."""

    def __init__(self, terminal: int, child: MainChild) -> None:
        self.terminal, self.child = terminal, child

    def child_stopped(self, pid: int, signum: int) -> None:
        """Continue the process group of a child that `signum` has stopped, if nobody else could.

        The child is the main child or, in a drain, a leftover process that wants the terminal. If the child wants to
        read the terminal or to set its mode, its group gets the foreground first: otherwise it would stop again.
        Some programs stop themselves by SIGSTOP for Ctrl-Z, such as su(1) and nano(1), so the main child is continued
        then too.
        """
        wants_terminal = signum in WANTS_TERMINAL
        if pid != self.child.pid and (self.child.pid or not wants_terminal):
            return
        if signum not in STOPS:  # the child is traced
            return
        try:
            group = posix.getpgid(pid)
            if not wants_terminal or set_foreground(self.terminal, group):
                posix.killpg(group, _signal.SIGCONT)
        except OSError:  # ESRCH; EPERM: it runs as another user now
            pass

    def take_foreground(self) -> None:
        """Put pyinit itself into the foreground, because the command has ended."""
        set_foreground(self.terminal, posix.getpgrp())
