"""The loop: wait for a signal, forward, reap, drain.

Called by cli, and by launcher for both of its processes. Signals are blocked before anything else and taken one at a
time with sigwaitinfo(2): there is no handler, so there is no race with one, and nothing wakes pyinit while nothing
happens.
"""

import _signal
import posix
from time import monotonic

from . import log
from .command import Caller, CommandError, exec_command, start, take_terminal
from .policy import SUSPEND_SIGNALS, Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .request import Options
    from .stop import Stop

SIGCHLD, SIGCONT = _signal.SIGCHLD, _signal.SIGCONT
ENDS_PAUSE = (_signal.SIGTERM, _signal.SIGINT)


def run(options: "Options", inherited_mask: set[int]) -> "NoReturn":
    """Run the command that `options` name as this process's child, and exit with its status."""
    caller = Caller(inherited_mask)
    if posix.getpid() != 1:
        from .parentage import adopt_orphans

        adopt_orphans()
    if options.parent_death_signal:
        from .parentage import set_parent_death_signal

        set_parent_death_signal(options.parent_death_signal)
    Init(options, caller).run()


class Init:
    """The life of one main child. Its methods stand in the order in which they are needed."""

    role_of_child = "the command"

    def __init__(self, options: "Options", caller: Caller) -> None:
        self.options = options
        self.policy = Policy(options.scope, options.rewrites, options.remapped)
        self.status_fd = options.status_fd
        self.caller = caller
        self.terminal = caller.terminal
        self.pauses = options.pause
        self.child = 0  # PID and process group of the main child; 0: there is none (any more)
        self.group = 0  # the group that the main child was given, once it has ended: to compare with, not to signal
        self.told_when: tuple[int, int] | None = None  # when --scope group or all forwarded a stop signal
        self.status = 0  # pyinit's exit status, once there is no main child
        self.stopped = False  # the main child, as far as job control goes
        self.told_to_stop = False  # pyinit has been, with kill(2), and SIGCONT has not come since
        self.reaped = 0
        self.childless = False
        self.names: dict[int, str] = {}  # of what was left when the drain began, with -v
        self.warned_of_proc = False
        # Without a terminal nobody asks whether the main child has stopped.
        self.wait_flags = posix.WNOHANG if caller.terminal is None else posix.WNOHANG | posix.WUNTRACED
        self.signals = tuple(_signal.valid_signals())
        self.tells_of_orphans = options.warn_on_reap or log.level >= log.DEBUG
        self.import_for_options()

    def run(self) -> "NoReturn":
        """Start the command, see it through, drain, exit."""
        if not self.pauses:
            try:
                self.child = start(self.caller, self.be_command, self.stopped_before_exec)
            except CommandError as error:
                log.error(str(error))
                posix._exit(error.status)
            self.started()
        self.stop = self.make_stop()
        posix.chdir("/")  # somebody may want to unmount what pyinit was started in
        close_inherited(self.descriptors())
        set_name()
        self.loop()
        try:
            self.drain()
        except Exception as error:  # such as a package that was replaced meanwhile: the status must not be lost
            log.error(f"drain: {type(error).__name__}: {error}")
        posix._exit(self.status)

    def make_stop(self) -> "Stop":
        """Where a stop stands, from the beginning. Made when the command runs, so that the import delays nothing."""
        from .stop import Stop

        options = self.options
        return Stop(grace=options.grace, kill_after=options.kill_after, wait_all=options.wait_all)

    def import_for_options(self) -> None:
        """What the options use while the command runs, now: the package may be removed or replaced meanwhile."""
        if self.tells_of_orphans or log.level >= log.INFO:
            from . import output, signals  # noqa: F401
        if self.policy.scope != "child" or self.options.kill_after is not None:
            from . import processes  # noqa: F401

    def descriptors(self) -> set[int | None]:
        """The descriptors above 2 that pyinit needs as long as it runs."""
        return {self.status_fd, self.terminal}

    def be_command(self, pyinit_group: int, _: int) -> "NoReturn":
        """In the child: exec the command."""
        take_terminal(self.caller, pyinit_group)
        exec_command(self.caller, self.options.command)

    def stopped_before_exec(self, pid: int, signum: int) -> None:
        """Ctrl-Z has come too early for loop() to see it: stop the job, and wait for SIGCONT here."""
        self.child = pid
        if self.suspend(signum):
            _signal.sigwaitinfo((SIGCONT,))
        if self.terminal is not None:
            from .terminal import hand_over

            hand_over(self.terminal, pid)
        self.continue_child()

    def started(self) -> None:
        """The command's exec has happened."""
        log.info(f"{self.options.command[0]} runs as PID {self.child}")
        self.report(f'{{"child-pid": {self.child}}}')

    def ended(self, wait_status: int) -> None:
        """The main child has been reaped: from here on its PID and group may be somebody else's."""
        status = self.policy.exit_status(wait_status)
        child = self.group = self.child
        self.child, self.status = 0, status
        if log.level >= log.INFO:
            from .signals import describe

            log.info(f"{self.role_of_child}, PID {child}, ended: {describe(wait_status)}")
        self.report(f'{{"exit-code": {self.status}}}')
        if self.terminal is not None:
            from .terminal import take_back

            take_back(self.terminal, child)

    def report(self, document: str) -> None:
        """Write a line to --json-status-fd."""
        if self.status_fd >= 0:
            from .output import write

            write(self.status_fd, f"{document}\n".encode())

    def loop(self) -> None:
        """Forward and reap until the main child has ended; with --pause until SIGTERM or SIGINT.

        Reaping follows every signal, not only SIGCHLD: sigwaitinfo(2) takes the lowest number first, and a flood of
        SIGHUP would keep SIGCHLD waiting for ever.
        """
        self.reap()  # a child that pyinit was started with may have ended before SIGCHLD was blocked
        while self.child or self.pauses:
            siginfo = self.next_signal(self.stop.deadline())
            try:
                self.act_on(siginfo)
                self.reap()
            except Exception as error:  # such as a package that was removed meanwhile: PID 1 must not end for that
                log.error(f"{type(error).__name__}: {error}")

    def act_on(self, siginfo: "_signal.struct_siginfo | None") -> None:
        """Do what a signal, or None for the deadline of --kill-after, asks for."""
        if siginfo is None:
            self.stop.expire()
            log.info(f"{self.stop.kill_after:g} s after a stop signal: SIGKILL")
            self.kill_descendants()
        elif self.pauses and siginfo.si_signo in ENDS_PAUSE and self.policy.stops(siginfo.si_signo):
            self.pauses = False
            self.asked_to_stop(siginfo.si_signo)
        elif not self.is_own(siginfo) and self.child:
            self.forward(siginfo)

    def next_signal(self, deadline: float | None) -> "_signal.struct_siginfo | None":
        """The next signal; None: the deadline (a time of monotonic()) came first. See sigwaitinfo(2)."""
        if deadline is None:
            return _signal.sigwaitinfo(self.signals)
        left = deadline - monotonic()
        # With no time left sigtimedwait(2) returns a pending signal all the same, and a flood of them ends no wait.
        return _signal.sigtimedwait(self.signals, left) if left > 0 else None

    def is_own(self, siginfo: "_signal.struct_siginfo") -> bool:
        """Whether a signal is pyinit's own: SIGCHLD, but not one that was sent by kill(2). See sigaction(2).

        The terminal's SIGTTIN and SIGTTOU are too: they mean that another process of pyinit's job needs the terminal.
        """
        if siginfo.si_signo == SIGCHLD or siginfo.si_code <= 0:
            return siginfo.si_code > 0
        if siginfo.si_signo in (_signal.SIGTTIN, _signal.SIGTTOU) and self.terminal is not None and self.child:
            from .terminal import share

            return share(self.terminal, self.command_group())
        return False

    def reap(self) -> None:
        """Reap whatever has ended: one SIGCHLD may stand for many deaths. See waitpid(2).

        A container may lose thousands of orphans a second, hence the local names.
        """
        self.childless = False
        waitpid, flags, stoppable = posix.waitpid, self.wait_flags, self.terminal is not None
        tells = self.tells_of_orphans or self.names
        try:
            while (ended := waitpid(-1, flags))[0]:
                pid, wait_status = ended
                stopped = posix.WIFSTOPPED(wait_status)  # without WUNTRACED too, after the child's PTRACE_TRACEME
                if pid == self.child:
                    if stopped and stoppable:
                        self.child_stopped(posix.WSTOPSIG(wait_status))
                    elif not stopped:
                        self.ended(wait_status)
                elif not stopped:
                    self.reaped += 1
                    if tells:
                        self.tell_of_orphan(pid, wait_status)
        except ChildProcessError:
            self.childless = True

    def tell_of_orphan(self, pid: int, wait_status: int) -> None:
        """With -w, -vv or, in a drain, -v."""
        from .signals import describe

        if self.options.warn_on_reap:
            log.warning(f"reaped orphan PID {pid}: {describe(wait_status)}")
        elif pid in self.names:
            log.info(f"PID {pid} ({self.names[pid]}) went: {describe(wait_status)}")
        else:
            log.debug(f"reaped orphan PID {pid}: {describe(wait_status)}")

    def forward(self, siginfo: "_signal.struct_siginfo") -> None:
        """Forward a signal that came in, as the policy says; those of job control stop pyinit too."""
        signum = siginfo.si_signo
        outgoing = self.policy.forwarded(signum)
        if log.level >= log.DEBUG:
            from .signals import signal_name

            log.debug(f"{signal_name(signum)} came in; forwarded: {signal_name(outgoing) if outgoing else 'nothing'}")
        if signum == SIGCONT:
            self.told_to_stop = False
            if self.terminal is not None:
                from .terminal import hand_over

                hand_over(self.terminal, self.child)
        if signum == SIGCONT and self.stopped:
            self.continue_child()
        elif outgoing:
            if self.policy.stops(signum):
                self.asked_to_stop(signum)
                if siginfo.si_code <= 0:
                    outgoing = self.heeded(outgoing)
            self.deliver(outgoing)
        if signum in SUSPEND_SIGNALS:
            self.told_to_stop = siginfo.si_code <= 0
            self.forwarded_stop(signum)

    def asked_to_stop(self, signum: int) -> None:
        """A stop signal has come in, which is forwarded if there is a main child."""
        if self.child and self.policy.scope != "child":
            from .processes import birth

            self.told_when = birth()
        self.stop.ask(self.policy.forwarded(signum) or signum, monotonic())

    def heeded(self, signum: int) -> int:
        """SIGTERM where the main child ignores the stop signal `signum`, as bash does SIGQUIT, and nobody else gets it.

        What it leaves behind is told `signum`. Not for SIGINT, which background jobs have reason to ignore.
        """
        if self.policy.scope == "child" and signum not in (_signal.SIGTERM, _signal.SIGINT):
            try:
                from .processes import process
            except Exception:  # the package has been removed meanwhile
                return signum
            if process(self.child).ignores(signum):
                return _signal.SIGTERM
        return signum

    def forwarded_stop(self, signum: int) -> None:
        """Stop too where kill(2) said so; for the terminal as soon as the main child has stopped, like any job."""
        if self.told_to_stop or self.stopped:
            self.suspend(signum)

    def command_group(self) -> int:
        """The command's process group."""
        return self.child

    def deliver(self, signum: int) -> None:
        """Send `signum` to whom --scope says."""
        try:
            if self.policy.scope == "all":
                self.signal_descendants(signum)
            elif self.policy.scope == "child":
                posix.kill(self.child, signum)
            else:
                self.signal_group(signum)
        except OSError as error:  # EPERM: it runs as another user
            from .signals import signal_name

            log.warning(f"cannot forward {signal_name(signum)} to PID {self.child}: {error.strerror}")

    def signal_group(self, signum: int) -> None:
        """Send `signum` to the main child's process group, and to the main child if it has left that."""
        try:
            posix.killpg(self.child, signum)
        except ProcessLookupError:
            pass  # the main child has moved to another group, and nobody is left in its first one
        if posix.getpgid(self.child) != self.child:
            posix.kill(self.child, signum)

    def child_stopped(self, signum: int) -> None:
        """The main child was stopped, under a terminal, by `signum`: stop the whole job, as the shell expects.

        Three cases need something else: a SIGCONT is on its way already; the child wanted the terminal while its shell
        had given it to pyinit's group (`pyinit cat &`, then `fg`); nobody could continue the job, which is why the
        kernel ignores the terminal's stop signals in such jobs.
        """
        self.stopped = True
        if SIGCONT in _signal.sigpending():
            return
        if signum in (_signal.SIGTTIN, _signal.SIGTTOU) and self.terminal is not None:
            from .terminal import hand_over

            if hand_over(self.terminal, self.child):
                self.continue_child()
                return
        if not self.suspend(signum) and signum == _signal.SIGTSTP and not self.told_to_stop:
            self.continue_child()

    def continue_child(self) -> None:
        """Continue the main child's process group."""
        self.stopped = self.told_to_stop = False
        try:
            posix.killpg(self.child, SIGCONT)
        except OSError:
            pass  # it has moved to another group, whose leader continues it; or it is another user's now

    def suspend(self, signum: int) -> bool:
        """Stop pyinit too, until SIGCONT; false: nobody could continue it.

        All of its job, unless kill(2) has told pyinit alone.
        """
        from .terminal import hand_over, suspend, take_back

        job = not self.told_to_stop
        if self.terminal is None:
            return suspend(signum, job=job)
        take_back(self.terminal, self.child)
        if suspend(signum, job=job):
            return True
        hand_over(self.terminal, self.child)
        return False

    def drain(self) -> None:
        """See to what the command left behind. Without a child there is nobody that pyinit could find."""
        if not self.childless:
            from .drain import drain

            drain(self)

    def signal_descendants(self, *signums: int) -> None:
        """Send the signals to every descendant."""
        from . import processes

        try:
            processes.signal_descendants(signums)
        except processes.NoProcError as error:
            self.signal_without_proc(signums, error)

    def kill_descendants(self) -> None:
        """One round of SIGKILL for every descendant, which leaves only what was forked meanwhile."""
        from . import processes

        try:
            processes.kill_descendants()
        except processes.NoProcError as error:
            self.signal_without_proc((_signal.SIGKILL,), error)

    def signal_without_proc(self, signums: tuple[int, ...], error: Exception) -> None:
        """Send the signals to those who are known without /proc: the main child's group. Warn, once, of the others."""
        if not self.warned_of_proc:
            self.warned_of_proc = True
            log.warning(f"descendants cannot be found, because /proc cannot be read: {error}")
        if self.child:
            for signum in signums:
                self.signal_group(signum)


def close_inherited(keep: set[int | None]) -> None:
    """Close every descriptor above 2 that is not in `keep`; without /proc by number, as far as 4096."""
    try:
        inherited = [int(name) for name in posix.listdir("/proc/self/fd")]
    except OSError:
        inherited = list(range(min(posix.sysconf("SC_OPEN_MAX"), 4096)))
    for fd in inherited:
        if fd > 2 and fd not in keep:
            try:
                posix.close(fd)
            except OSError:
                pass  # EBADF: the one that listed them


def set_name() -> None:
    """Be called pyinit in ps, however the script was started; without /proc the kernel's name for it stays."""
    try:
        comm = posix.open("/proc/self/comm", posix.O_WRONLY | posix.O_CLOEXEC)
        posix.write(comm, b"pyinit")
        posix.close(comm)
    except OSError:
        pass
