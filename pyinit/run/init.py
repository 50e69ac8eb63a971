"""The life of one main child: start it, forward signals and reap until it ends, then drain.

To drain is to end the processes that the main child leaves behind; see stop.drain. With -n there are two such lives,
one outside the PID namespace and one as its PID 1; see run.namespace.
"""

import _signal
import posix
from time import monotonic, sleep

from ..base import GRACE, IF_SENT, OR_TERM, SIGNAL, STOPS, SUSPEND_SIGNALS, log, orders
from ..base.wait import RETRY_AFTER, wait_for_signal
from .command import Inherited, MainChild, close, close_inherited, exec_command, restore_locale, start, start_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ..base import Options
    from ..family.reaper import Reaper
    from ..native import Told
    from ..tty import Job
    from ..tty.leader import Leader

SIGCONT = _signal.SIGCONT


def run(options: "Options", inherited: Inherited, launched: "Told | None" = None) -> "NoReturn":
    """Run the command that `options` name as this process's child, and exit with its status.

    If the command is a program that has launched itself, `launched` says which child it is.
    """
    if posix.getpid() != 1 and launched is None:
        from ..base.syscalls import adopt_orphans

        adopt_orphans()
    Init(options, inherited).run(launched)


class Init:
    """The life of one main child. Its methods stand in the order in which pyinit needs them."""

    reaper: "Reaper"
    pid_one = 0  # PID 1 of the main child's PID namespace, with -n; see Waiter

    def __init__(self, options: "Options", inherited: Inherited) -> None:
        self.early: list[_signal.struct_siginfo] = []  # signals that came before there was a main child
        self.options, self.inherited = options, inherited
        self.orders = orders(options)
        self.child = MainChild()
        self.pauses = options.pause
        self.status_fd = options.status_fd
        self.status = 0  # pyinit's exit status, once there is no main child
        self.end_signal = 0  # the signal that the main child has died of, if pyinit's exit status is not 0
        self.job: Job | None = None
        self.leader: Leader | None = None

    def run(self, launched: "Told | None" = None) -> "NoReturn":
        """Start the command, wait until it ends, drain, exit. After the fork no error ends pyinit."""
        if launched is None and not self.pauses:
            self.start()
        else:
            self.let_go(0)
        if launched is not None:
            self.child.pid, self.child.group = launched.child, launched.group
            log.attempt(self.started)
        log.attempt(self.become_waiter)
        is_prepared = log.attempt(self.prepare)
        if is_prepared:
            self.loop()
        else:
            self.simple_loop()
        if not (is_prepared and log.attempt(self.drain)):
            self.simple_drain()
        self.exit()

    def start(self) -> None:
        """Start the main child; CommandError."""
        own_group = posix.getpgrp()
        self.child.pid, self.early = start(self.inherited, self.be_command, self.let_go)
        self.child.group = own_group if self.inherited.is_job else self.child.pid
        log.attempt(self.started)

    def be_command(self, _: int, wait: "Callable[[], None]") -> "NoReturn":
        """Execute the command, in the child, after a call of `wait`; CommandError."""
        if self.status_fd > 2:  # only pyinit writes to it
            close(self.status_fd)
        self.enter()
        exec_command(self.inherited, self.options.command, wait)

    def enter(self) -> None:
        """Do what -n needs in the child before the exec; without -n, nothing."""

    def started(self) -> None:
        """Report that the command's exec has happened."""
        log.info(f"{self.options.command[0]} runs as PID {self.child.pid}")
        log.report(self.status_fd, f'{{"child-pid": {self.child.pid}}}')

    def let_go(self, child: int) -> None:
        """Leave the current directory, and close the descriptors that pyinit does not need once the command runs.

        If there is a `child` that waits to become the command, put it into a process group of its own, except in a job.

        The command may want to unmount the directory that pyinit was started in. A program that has launched itself
        waits for the end of one of these descriptors; see native.launch.
        """
        if child:
            log.attempt(start_group, self.inherited, child)
        log.attempt(posix.chdir, "/")
        log.attempt(close_inherited, {self.status_fd, self.inherited.terminal})

    def become_waiter(self) -> None:
        """Become the C program, which waits from here on. Return if that fails.

        Return also if an option needs Python, or if pyinit is a job of a shell.
        """
        if not self.inherited.is_job:
            from .. import native

            if native.serves(self.options):
                restore_locale()
                words, script, leads = self.inherited.words, self.inherited.script, self.inherited.leads
                waiter = native.Waiter(self.options, words, script, self.pid_one, leads=leads)
                waiter.become(self.child.pid)

    def prepare(self) -> None:
        """Import and make what the rest of this life needs.

        Somebody may remove or replace the package later, so import it now. The command already runs, so this does not
        delay it.
        """
        from ..base import output, signals  # noqa: F401
        from ..family import Targets
        from ..family.reaper import Reaper
        from ..stop import Stop
        from ..stop.drain import Signalling

        options, inherited = self.options, self.inherited
        self.stop = Stop(grace=options.grace, kill_after=options.kill_after, wait_all=options.wait_all)
        self.stop.announce = lambda phase: log.report(self.status_fd, f'{{"phase": "{phase}"}}')
        self.targets = Targets(options.scope, self.child, share_group=inherited.is_job)
        watches = inherited.terminal is not None
        self.reaper = Reaper(self.child, self.child_changed, watches=watches, warns=options.warn_on_reap)
        self.signalling = Signalling(self.stop, self.targets, self.reaper)
        self.start_job()

    def start_job(self) -> None:
        """Begin job control, if there is a terminal."""
        if self.inherited.terminal is None:
            return
        if self.inherited.leads:
            from ..tty.leader import Leader

            self.leader = Leader(self.inherited.terminal, self.child)
            self.reaper.orphan_stopped = self.leader.child_stopped
        else:
            from ..tty import Job

            self.job = Job(self.inherited.terminal, self.child)
            for siginfo in self.early:  # if the main child has ended, the loop does not act on these
                self.job.note_key(siginfo)
            if self.child.pid:
                self.job.started()

    def loop(self) -> None:
        """Forward signals and reap until the main child has ended; with --pause until SIGTERM or SIGINT."""
        self.reap()  # a child that pyinit was started with may have ended before pyinit blocked SIGCHLD
        while self.lives():
            self.take_signal(self.next_deadline())

    def next_deadline(self) -> float | None:
        """Do what is due in a stop while the main child lives. Return the time at which to do so again, or None."""
        return self.signalling.act()

    def lives(self) -> bool:
        """Return whether pyinit must wait before the drain, for the main child or for the end of --pause."""
        return self.child.pid != 0 or self.pauses

    def take_signal(self, deadline: float | None = None) -> None:
        """Wait for a signal until the `deadline`, a time of monotonic(); act on the signal, and reap.

        pyinit reaps after every signal, not only after SIGCHLD. sigwaitinfo(2) takes the lowest number first, so a
        flood of SIGHUP would keep SIGCHLD waiting forever.
        """
        if not log.attempt(lambda: self.act_on(self.next_signal(deadline))):
            sleep(RETRY_AFTER)
        self.reap()

    def next_signal(self, deadline: float | None) -> "_signal.struct_siginfo | None":
        """Return the next signal, or None if the `deadline` came first."""
        return self.early.pop(0) if self.early else wait_for_signal(deadline)

    def reap(self) -> None:
        """Reap the processes that have ended. If that fails, try once more: SIGCHLD does not come a second time."""
        reaped = self.reaper.reaped
        if not log.attempt(self.reaper.reap):
            sleep(RETRY_AFTER)
            log.attempt(self.reaper.reap)
        if self.leader is not None and not self.child.pid and self.reaper.reaped > reaped:
            self.leader.take_foreground()  # the process that has ended may have been in the foreground

    def act_on(self, siginfo: "_signal.struct_siginfo | None") -> None:
        """Do what a signal, or None if none came in time, asks for.

        A SIGCHLD from the kernel is for pyinit itself. pyinit forwards a SIGCHLD that a process sent by kill(2).
        """
        if siginfo is None:
            return
        signum = siginfo.si_signo
        order = self.orders[signum]
        if order & IF_SENT and siginfo.si_code > 0:
            return
        if self.leader is not None and signum == _signal.SIGTSTP and siginfo.si_code > 0 and not self.child.pid:
            return  # Ctrl-Z in a drain: nobody could continue it
        group_got_it = self.job is not None and self.job.group_got_it(siginfo)
        if self.child.pid:
            self.forward(siginfo, order, group_got_it=group_got_it)
        elif order & STOPS:
            self.pauses = False
            self.ask_to_stop(order & SIGNAL, signum)
        elif order & SIGNAL and not group_got_it:
            self.targets.signal_descendants(order & SIGNAL)
        if self.job is not None and signum in SUSPEND_SIGNALS:
            self.job.got_suspend_signal(signum)

    def forward(self, siginfo: "_signal.struct_siginfo", order: int, *, group_got_it: bool) -> None:
        """Forward a signal as its order says, unless the main child has already got it."""
        signum = siginfo.si_signo
        outgoing = 0 if group_got_it else order & SIGNAL
        if signum == SIGCONT and self.job is not None:
            stops = self.job.stops
            if not self.job.has_asked:
                self.reaper.reap()  # to know whether the main child is stopped
            if self.job.stops > stops:  # pyinit has stopped after the main child, and another SIGCONT has come since
                return
            if not self.job.got_sigcont():
                outgoing = 0
        if log.level >= log.DEBUG:
            from ..base.signals import signal_name

            log.debug(f"{signal_name(signum)} came in; forwarded: {signal_name(outgoing) if outgoing else 'nothing'}")
        if outgoing and self.child.pid:
            if order & STOPS:
                self.ask_to_stop(outgoing, signum)
                if order & OR_TERM and siginfo.si_code <= 0:
                    outgoing = self.targets.signal_it_heeds(outgoing)
            self.targets.signal(outgoing)
            if self.job is not None and outgoing in SUSPEND_SIGNALS:
                self.job.has_asked = True

    def ask_to_stop(self, signum: int, came: int) -> None:
        """Note that the stop signal `came` has come in, which is `signum` for the command. The caller forwards it."""
        self.targets.stop_comes(signum)
        self.stop.ask(signum, monotonic(), came)

    def child_changed(self, wait_status: int) -> None:
        """Act on a wait status of the main child: its end, a stop or a continuation."""
        if posix.WIFSTOPPED(wait_status):  # also without a terminal, if the child has called PTRACE_TRACEME
            if self.job is not None:
                self.job.child_stopped(posix.WSTOPSIG(wait_status))
            elif self.leader is not None:
                self.leader.child_stopped(self.child.pid, posix.WSTOPSIG(wait_status))
        elif posix.WIFCONTINUED(wait_status):
            if self.job is not None:
                self.job.child_continued()
        else:
            self.ended(wait_status)

    def ended(self, wait_status: int) -> None:
        """Note how the main child, which pyinit has reaped, has ended. From here on another process may get its PID."""
        status = self.options.exit_status(wait_status)
        pid, self.child.pid, self.status = self.child.pid, 0, status
        if posix.WIFSIGNALED(wait_status) and status:
            self.end_signal = posix.WTERMSIG(wait_status)
        if self.job is not None:
            self.job.child_ended()
        if self.leader is not None:
            self.leader.take_foreground()
        if log.level >= log.INFO:
            from ..base.signals import describe

            log.info(f"the command, PID {pid}, ended: {describe(wait_status)}")
        log.report(self.status_fd, f'{{"exit-code": {status}}}')

    def drain(self) -> None:
        """End the leftover processes."""
        if not self.reaper.childless:
            from ..family.proc import NoProcError
            from ..stop.drain import drain

            try:
                drain(self.signalling, self.take_signal)
            except NoProcError as error:
                self.targets.warn_of_proc(error)
                has_got_it = self.options.scope == "all" and self.targets.newest_signalled is not None
                signum = self.stop.drain_signal()
                self.simple_drain(SIGCONT if has_got_it else _signal.SIGTERM if signum == _signal.SIGINT else signum)

    def exit(self) -> "NoReturn":
        """Exit with the main child's status, or die of the same signal under a terminal; see Job.die_of()."""
        if self.job is not None and self.end_signal:
            log.attempt(self.job.die_of, self.end_signal)
        posix._exit(self.status)

    # The rest is a last resort: pyinit could load little more of the package than this module and run.command, or the
    # drain has failed. Each step that may need an import or a descriptor is allowed to fail.

    def simple_loop(self) -> None:
        """Do what loop() does, without job control, --scope and --kill-after."""
        while self.lives():
            if not log.attempt(self.forward_next):
                sleep(RETRY_AFTER)
            self.simple_reap()

    def forward_next(self) -> None:
        """Wait up to 1 second for a signal, and forward it to the main child."""
        siginfo = self.next_signal(monotonic() + 1)
        order = 0 if siginfo is None else self.orders[siginfo.si_signo]
        if siginfo is None or (order & IF_SENT and siginfo.si_code > 0):
            return
        if self.child.pid and order & SIGNAL:
            posix.kill(self.child.pid, order & SIGNAL)
        elif order & STOPS:
            self.pauses = False

    def simple_reap(self) -> bool:
        """Reap the processes that have ended. Return whether no child is left."""
        try:
            while (ended := posix.waitpid(-1, posix.WNOHANG))[0]:
                if ended[0] == self.child.pid:
                    log.attempt(self.child_changed, ended[1])
            return False
        except ChildProcessError:
            return True
        except OSError as error:
            log.error(f"cannot reap: {error.strerror}")
            return False

    def simple_drain(self, signum: int = _signal.SIGTERM) -> None:
        """Send `signum` to the leftover processes, and after the grace SIGKILL, until all that can be killed are gone.

        Two seconds after the end of the grace, return in any case.
        """
        grace = self.options.grace
        kill_at = monotonic() + (GRACE if grace is None else grace)
        for each in (signum, SIGCONT):
            log.attempt(self.signal_rest, each)
        while not self.simple_reap() and (now := monotonic()) < kill_at + 2.0:
            if not self.signal_rest(_signal.SIGKILL if now >= kill_at else 0):
                break
            if not log.attempt(wait_for_signal, now + RETRY_AFTER):
                sleep(RETRY_AFTER)

    def signal_rest(self, signum: int) -> bool:
        """Send `signum` to the leftover processes. Return false if pyinit cannot know them.

        As PID 1, pyinit sends it to all processes. Otherwise it sends it to its own children. If it cannot list these,
        it sends it to the command's process group.
        """
        own = posix.getpid()
        try:
            if own == 1:
                posix.kill(-1, signum)
                return True
            fd = posix.open(f"/proc/self/task/{own}/children", posix.O_RDONLY | posix.O_CLOEXEC)
            children = posix.read(fd, 65536).split()
            posix.close(fd)
        except OSError:
            return own == 1 or self.child.signal_orphaned_group(signum)
        for pid in children:
            try:
                posix.kill(int(pid), signum)
            except OSError:
                pass  # EPERM
        return True
