"""Job control under a terminal: who has got the terminal's signals already, and how pyinit stops and ends as a job.

pyinit uses this module if there is a controlling terminal and another process leads its session, such as an interactive
shell. Then the main child starts in pyinit's own process group, and may leave it. pyinit never changes the terminal's
foreground process group. The table in tty.table says what pyinit does after each event. If pyinit itself leads the
session, see tty.leader.
"""

import _signal
import posix

from ..base import FROM_TERMINAL, KEYBOARD_STOPS, SUSPEND_SIGNALS
from . import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..run.command import MainChild


class Job:
    """pyinit and its main child, as the shell sees them.

    `terminal` is a descriptor of the controlling terminal.
    """

    def __init__(self, terminal: int, child: "MainChild") -> None:
        self.terminal, self.child = terminal, child
        self.group = posix.getpgrp()
        # PID 1 of a namespace under a shell that is outside: that shell sees to stops.
        self.is_outside = posix.getsid(0) == 0 and posix.getpid() == 1
        self.state = table.ALONE
        self.stops = 0  # how often pyinit has stopped itself
        self.has_asked = False  # whether pyinit has forwarded a suspend signal, and no stop or SIGCONT came since
        self.keys: set[int] = set()  # the signals of KEYBOARD_STOPS that have come from the terminal

    def group_got_it(self, siginfo: "_signal.struct_siginfo") -> bool:
        """Return whether the main child has got this signal too, because the sender signalled the process group.

        The terminal signals the group. A script of the job signals the group by `kill 0`. If pyinit is PID 1, only the
        main child is taken for such a script, because others may use `kill 1`.
        """
        signum = siginfo.si_signo
        self.note_key(siginfo)
        if siginfo.si_code > 0:
            return signum in FROM_TERMINAL and self.shares_group()
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
        """Remember Ctrl-C and Ctrl-\\: if the main child dies of one, pyinit dies of it too."""
        if siginfo.si_code > 0 and siginfo.si_signo in KEYBOARD_STOPS:
            self.keys.add(siginfo.si_signo)

    def is_out_here(self, pid: int) -> bool:
        """Return whether `pid` is a process of this PID namespace, and not one of the kernel's own.

        The kernel's own processes are in process group 0.
        """
        try:
            return pid == 0 or self.group == 0 or posix.getpgid(pid) != 0
        except OSError:  # ESRCH
            return False

    def sender_inside(self, pid: int) -> int:
        """Return the PID here of the descendant that has `pid` in a PID namespace below, or 0 if there is none.

        In si_pid the kernel gives the sender's PID in the sender's own namespace. In this namespace another process may
        have that PID. A program such as vim or sudo suspends itself by `kill 0`. If pyinit forwarded that signal, it
        would suspend the program again. For other signals it is better to deliver them twice than not at all.
        """
        if not pid:  # the sender is in a namespace above
            return 0
        from ..family.proc import NoProcError, with_inner_pid

        try:
            return with_inner_pid(pid)
        except NoProcError:
            return 0

    def shares_group(self) -> bool:
        """Return whether the main child is still in pyinit's process group, or there is none."""
        return not self.child.pid or self.is_in_group(self.child.pid)

    def is_in_group(self, pid: int) -> bool:
        """Return whether `pid` is in pyinit's process group."""
        try:
            return pid != 0 and posix.getpgid(pid) == self.group
        except OSError:  # ESRCH
            return False

    def started(self) -> None:
        """Note that the main child runs."""
        self.happened(table.STARTED)

    def got_suspend_signal(self, signum: int) -> None:
        """Act on SIGTSTP, SIGTTIN or SIGTTOU, which has come to pyinit."""
        if not self.is_outside:
            self.happened(table.SUSPEND_SIGNAL, signum)

    def got_sigcont(self) -> bool:
        """Act on SIGCONT, which has come to pyinit. Return whether to forward it.

        pyinit forwards it also if the main child is not stopped. If pyinit has just forwarded a suspend signal, the
        main child may stop because of that when this SIGCONT has continued it already, so it needs another one.
        """
        if self.has_asked:
            self.has_asked, self.state = False, table.RUNNING
            return True
        return self.happened(table.CONTINUED)

    def child_stopped(self, signum: int) -> None:
        """Act on a stop of the main child by `signum`."""
        self.has_asked = False
        self.happened(table.CHILD_LEFT_US if self.must_follow(signum) else table.CHILD_STOPPED, signum)

    def child_continued(self) -> None:
        """Note that the main child was continued."""
        self.happened(table.CHILD_CONTINUED)

    def child_ended(self) -> None:
        """Note that the main child has ended."""
        self.happened(table.ENDED)

    def happened(self, event: str, signum: int = 0) -> bool:
        """Do what the table says for an event. Return whether to forward SIGCONT."""
        self.state, actions = table.step(self.state, event)
        if table.CONTINUE_CHILD in actions:
            self.continue_child()
        if table.STOP_SELF in actions and not self.stop_self(signum):
            self.happened(table.SPARED)
        return table.FORWARD in actions

    def continue_child(self) -> None:
        """Continue the main child, which has not got SIGCONT."""
        try:
            posix.kill(self.child.pid, _signal.SIGCONT)
        except OSError:
            pass  # it runs as another user now

    def must_follow(self, signum: int) -> bool:
        """Return whether pyinit must act on the main child's stop by `signum`, although it has got no stop signal.

        A shell waits for pyinit to stop too. But if cpulimit(1), say, sends SIGSTOP to a background job, pyinit leaves
        the stop to that sender.
        """
        try:
            is_in_front = posix.tcgetpgrp(self.terminal) in (self.group, posix.getpgid(self.child.pid))
            parent = posix.getppid()
            return (
                parent != 0  # 0 is the parent of PID 1
                and posix.getsid(parent) == posix.getsid(0)
                and posix.getpgid(parent) != self.group
                and (signum != _signal.SIGSTOP or is_in_front)
            )
        except OSError:  # the terminal has hung up, or one of these processes has ended
            return False

    def stop_self(self, signum: int) -> bool:
        """Stop pyinit until SIGCONT, which is pending then. Return false if pyinit did not stop.

        pyinit does not stop if nobody could continue it. It stops by the signal that has stopped the main child, so the
        shell shows the stop that its user caused. It uses SIGTSTP instead of SIGSTOP: SIGSTOP would stop pyinit even in
        an orphaned process group.
        """
        if self.is_outside:
            return False
        # To send one of these discards the others that are pending; see signal(7). So look for them while all signals
        # are blocked.
        did_go_on = self.child_goes_on()
        if _signal.sigpending().isdisjoint({_signal.SIGCONT, *SUSPEND_SIGNALS}):
            posix.kill(posix.getpid(), signum if signum in SUSPEND_SIGNALS else _signal.SIGTSTP)
            # That has discarded a SIGCONT that came since. The kernel gives it to the newest of a group first.
            if self.child_goes_on() and not did_go_on:
                _signal.sigtimedwait(SUSPEND_SIGNALS, 0)
                return False
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, SUSPEND_SIGNALS)  # pyinit is stopped here
        _signal.pthread_sigmask(_signal.SIG_BLOCK, SUSPEND_SIGNALS)
        self.stops += 1
        return not _signal.sigpending().isdisjoint({_signal.SIGCONT, *SUSPEND_SIGNALS})

    def child_goes_on(self) -> bool:
        """Return whether SIGCONT has continued the main child, and pyinit has not taken that wait status yet."""
        try:
            flags = posix.WCONTINUED | posix.WNOHANG | posix.WNOWAIT
            return self.child.pid != 0 and posix.waitid(posix.P_PID, self.child.pid, flags) is not None
        except OSError:  # ECHILD: PID 1 of a namespace is not its parent
            return False

    def die_of(self, signum: int) -> None:
        """Die of `signum`, as the main child has, if it came from Ctrl-C or Ctrl-\\; otherwise return.

        The shell must see that the user has stopped its script.
        """
        while siginfo := _signal.sigtimedwait(KEYBOARD_STOPS, 0):  # the main child may have ended before the loop began
            self.note_key(siginfo)
        if signum not in self.keys or posix.getpid() == 1:
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
    """Return whether the process `pid` is stopped, or will be as soon as it takes `signum`."""
    from ..family.proc import status

    # Look twice. Between pending and stopped it shows neither, and the kernel writes the state before what is pending.
    for _ in range(2):
        fields = status(pid)
        pending = int(fields.get(b"ShdPnd", [b"0"])[0], 16)
        if fields.get(b"State", [b""])[0] == b"T" or pending >> (signum - 1) & 1:
            return True
    return False
