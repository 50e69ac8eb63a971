"""The terminal: who has got its signals already, who looks on, and how pyinit stops and ends as a job does.

Called by init if there is a controlling terminal. The main child is in pyinit's own process group then,
unless it has left that, and nobody moves the terminal's foreground. What follows from what is in the module jobs.
"""

import _signal
import posix

from ..base import FROM_TERMINAL, KEYBOARD_STOPS, SUSPEND_SIGNALS
from .table import (
    ALONE,
    CHILD_CONTINUED,
    CHILD_LEFT_US,
    CHILD_STOPPED,
    CONTINUE_CHILD,
    CONTINUED,
    ENDED,
    FORWARD,
    SPARED,
    STARTED,
    STOP_SELF,
    STOP_SIGNAL,
    step,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..run.command import MainChild


class Job:
    """pyinit and its main child, as the shell sees them.

    `terminal` is a descriptor of the controlling terminal; `continue_child` sends SIGCONT to the main child.
    """

    def __init__(self, terminal: int, child: "MainChild", continue_child: "Callable[[], None]") -> None:
        self.terminal, self.child, self.continue_child = terminal, child, continue_child
        self.group = posix.getpgrp()
        session = posix.getsid(0)
        self.leads = session == posix.getpid()  # the session: nobody is there who could continue pyinit
        self.is_outside = session == 0 and posix.getpid() == 1  # what is stopped is the business of a shell out there
        self.state = ALONE
        self.stops = 0  # how often pyinit has stopped itself
        self.keys: set[int] = set()  # those of KEYBOARD_STOPS that have come from the terminal

    def group_got_it(self, siginfo: "_signal.struct_siginfo") -> bool:
        """Whether the main child has got a signal that has come to pyinit: it was sent to the process group.

        The terminal does so, but only a session leader gets its SIGHUP. And `kill 0` does, in a script of the job: of
        PID 1, where `kill 1` has its use, only if that is the main child.
        """
        signum = siginfo.si_signo
        self.note_key(siginfo)
        if siginfo.si_code > 0:
            return signum in FROM_TERMINAL and not (self.leads and signum == _signal.SIGHUP) and self.shares_group()
        if signum == _signal.SIGCONT or not self.shares_group():
            return False
        sender = siginfo.si_pid
        if signum in SUSPEND_SIGNALS:
            inside = self.sender_inside(sender)
            if not self.is_out_here(sender) or is_stopping(inside, signum):
                sender = inside
        if not self.is_in_group(sender):
            return False
        if posix.getpid() == 1 or sender == self.child.pid:
            return sender == self.child.pid
        from ..family.proc import descends

        return descends(sender)

    def note_key(self, siginfo: "_signal.struct_siginfo") -> None:
        """Remember Ctrl-C and Ctrl-\\: pyinit dies of them if the main child does."""
        if siginfo.si_code > 0 and siginfo.si_signo in KEYBOARD_STOPS:
            self.keys.add(siginfo.si_signo)

    def is_out_here(self, pid: int) -> bool:
        """Whether `pid` is a process of this PID namespace, and not one of the kernel's own, which are in group 0."""
        try:
            return pid == 0 or self.group == 0 or posix.getpgid(pid) != 0
        except OSError:  # ESRCH
            return False

    def sender_inside(self, pid: int) -> int:
        """The descendant that calls itself `pid` in a PID namespace below; 0 where there is none.

        In si_pid the kernel gives the sender's PID as its own namespace has it, and in a container somebody else may
        have that out here. What suspends itself by `kill 0`, as vim and sudo do, would be suspended again by what is
        forwarded. Other signals may rather come twice than not.
        """
        if not pid:  # from a namespace above
            return 0
        from ..family.proc import NoProcError, with_inner_pid

        try:
            return with_inner_pid(pid)
        except NoProcError:
            return 0

    def shares_group(self) -> bool:
        """Whether the main child is still in pyinit's process group."""
        return not self.child.pid or self.is_in_group(self.child.pid)

    def is_in_group(self, pid: int) -> bool:
        """Whether `pid` is in pyinit's process group."""
        try:
            return pid != 0 and posix.getpgid(pid) == self.group
        except OSError:  # ESRCH
            return False

    def started(self) -> None:
        """The main child runs."""
        self.happened(STARTED)

    def got_stop_signal(self, signum: int) -> None:
        """SIGTSTP, SIGTTIN or SIGTTOU has come to pyinit."""
        if not self.is_outside:
            self.happened(STOP_SIGNAL, signum)

    def got_sigcont(self) -> bool:
        """SIGCONT has come to pyinit; whether it is to be forwarded, if only because the main child is not stopped."""
        return self.happened(CONTINUED)

    def child_stopped(self, signum: int) -> None:
        """The main child was stopped by `signum`."""
        self.happened(CHILD_LEFT_US if self.must_follow(signum) else CHILD_STOPPED, signum)

    def child_continued(self) -> None:
        """The main child was continued."""
        self.happened(CHILD_CONTINUED)

    def child_ended(self) -> None:
        """The main child has ended."""
        self.happened(ENDED)

    def happened(self, event: str, signum: int = 0) -> bool:
        """Do what an event asks for; whether that is to forward SIGCONT."""
        self.state, actions = step(self.state, event)
        if CONTINUE_CHILD in actions:
            self.continue_child()
        if STOP_SELF in actions and not self.stop_self(signum):
            self.happened(SPARED)
        return FORWARD in actions

    def must_follow(self, signum: int) -> bool:
        """Whether pyinit has to do something about the main child's stop by `signum`, though nobody asked for it.

        A shell waits for pyinit to stop; but SIGSTOP in the background, as from cpulimit(1), is between others. A
        session leader has to undo what the kernel spares orphaned process groups, and what a shell behind it does to
        suspend itself.
        """
        try:
            is_in_front = posix.tcgetpgrp(self.terminal) in (self.group, posix.getpgid(self.child.pid))
            if self.leads:
                return signum != _signal.SIGSTOP or (is_in_front and not self.shares_group())
            parent = posix.getppid()
            return (
                parent != 0  # that of PID 1
                and posix.getsid(parent) == posix.getsid(0)
                and posix.getpgid(parent) != self.group
                and (signum != _signal.SIGSTOP or is_in_front)
            )
        except OSError:  # the terminal has hung up, or somebody has ended
            return False

    def stop_self(self, signum: int) -> bool:
        """Stop pyinit until SIGCONT, which is pending then; false: nothing came of it, for nobody could continue it.

        By the signal that has stopped the main child, so that the shell tells what its user did, but by SIGTSTP in
        place of SIGSTOP, of which the kernel does not spare an orphaned process group.
        """
        if self.leads or self.is_outside:
            return False
        # A pending signal of these takes the others away: see signal(7). So it is looked for while all are blocked.
        if _signal.sigpending().isdisjoint({_signal.SIGCONT, *SUSPEND_SIGNALS}):
            posix.kill(posix.getpid(), signum if signum in SUSPEND_SIGNALS else _signal.SIGTSTP)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, SUSPEND_SIGNALS)  # pyinit is stopped here
        _signal.pthread_sigmask(_signal.SIG_BLOCK, SUSPEND_SIGNALS)
        self.stops += 1
        return not _signal.sigpending().isdisjoint({_signal.SIGCONT, *SUSPEND_SIGNALS})

    def die_of(self, signum: int) -> None:
        """Die of `signum` as the main child has, if it is a key's: the shell must see who has stopped its script."""
        while siginfo := _signal.sigtimedwait(KEYBOARD_STOPS, 0):  # the main child may have ended before the loop began
            self.note_key(siginfo)
        if signum not in self.keys or self.leads or posix.getpid() == 1:
            return
        try:
            from ..base.syscalls import PR_SET_DUMPABLE, prctl

            prctl(PR_SET_DUMPABLE, 0)  # no core file
        except (ImportError, OSError):
            if signum == _signal.SIGQUIT:
                return
        _signal.signal(signum, _signal.SIG_DFL)
        posix.kill(posix.getpid(), signum)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {signum})


def is_stopping(pid: int, signum: int) -> bool:
    """Whether a process is stopped, or will be as soon as it takes `signum`."""
    from ..family.proc import status

    for _ in range(2):  # in between it is neither, or it was when the first line was read
        fields = status(pid)
        pending = int(fields.get(b"ShdPnd", [b"0"])[0], 16)
        if fields.get(b"State", [b""])[0] == b"T" or pending >> (signum - 1) & 1:
            return True
    return False
