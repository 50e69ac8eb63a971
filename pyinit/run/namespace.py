"""-n: a PID namespace for the command. After unshare(2) the kernel creates every child of this process in it.

The first child is PID 1 of the namespace. The second is the command.

    the launcher  stays outside. The command is its child. So the launcher gets the command's exit status and, under a
                  terminal, its stops. It does the job control, and passes every other signal on to PID 1.
    PID 1         does the rest, as without -n, and applies the options. The command is not its child. So the launcher
                  sends SIGCHLD to PID 1 when the command has ended. PID 1 has a session of its own.

Both become the C program if they can. If the launcher dies, the kernel kills PID 1, and with it every process in the
namespace. Then another process outside adopts the command. PID 1 stays until that process has reaped the command. The
module run imports this one only for -n. See pid_namespaces(7), user_namespaces(7).
"""

import _ctypes  # noqa: F401  # base.syscalls calls mount(2) by it
import _signal
import errno
import posix

from ..base import OR_TERM, OWN_ERROR, Options, log
from ..base.syscalls import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, mount, prctl, unshare
from .command import CommandError, Inherited, close, error_in, fork, pipe, read_report
from .init import Init
from .privileges import Privileges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ..native import Told

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000  # <linux/sched.h>
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_SLAVE = 0x2, 0x4, 0x8, 0x4000, 0x80000  # <linux/mount.h>
COMMAND = 2  # the command's PID in its namespace
READY = b"0"  # what PID 1 reports
KILLED = 128 + _signal.SIGKILL
DIED = "PID 1 of the namespace has died, and everything in it"

HINTS = {
    errno.EPERM: "allow user namespaces, or CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN)",
    errno.EACCES: "a security module forbids it (AppArmor: docker run --security-opt apparmor=unconfined)",
    errno.ENOSPC: "the limit on namespaces or on their nesting is reached: raise {limits}",
    errno.EINVAL: "this kernel was built without it",
    errno.ENOSYS: "this kernel was built without it",
}
ROOT_HINT = "/ is no mount point here, as in a chroot: bind-mount it onto itself first"
PROC_HINT = "this container masks parts of /proc: allow a new one (docker run --security-opt systempaths=unconfined)"


def step_error(step: str, error: OSError, hint: str = "", limits: str = "") -> CommandError:
    """Return the error of a step that the kernel or a container forbids. Then pyinit starts nothing."""
    code = errno.errorcode.get(error.errno or 0, "?")
    hint = hint or HINTS.get(error.errno or 0, "see the kernel's log").format(limits=limits)
    return CommandError(OWN_ERROR, f"--pid-namespace: {step}: {error.strerror} ({code}): {hint} (exit {OWN_ERROR})")


def run(options: "Options", inherited: Inherited, launched: "Told | None" = None) -> "NoReturn":
    """Run the command that `options` name in a PID namespace of its own, and exit with its status; CommandError."""
    assert launched is None  # launch() refuses -n
    Launcher(options, inherited, unshare_pid()).run()


class Launcher(Init):
    """The process outside.

    If pyinit has made a user namespace, `privileges` are those from before that. Otherwise they are None.
    """

    def __init__(self, options: "Options", inherited: Inherited, privileges: Privileges | None) -> None:
        own = Options(
            command=options.command,
            remapped=options.remapped,
            verbosity=options.verbosity,
            status_fd=options.status_fd,
        )
        super().__init__(own, inherited)
        self.orders = [order & ~OR_TERM for order in self.orders]  # that is for PID 1 to see
        self.inner_options = options.replace(remapped=frozenset())
        self.privileges = privileges

    def start(self) -> None:
        """Start PID 1, which mounts a new /proc, and the command, which mounts one too; CommandError."""
        self.go_reader, self.go_writer = pipe()
        self.pid_one, report_end = fork(self.be_pid_one)
        said = b""
        try:
            said = read_report(report_end)
            if said != READY:
                raise error_in(said) if said else CommandError(KILLED, DIED)
            if self.inner_options.pause:
                self.let_go(0)
            else:
                super().start()
        except CommandError:
            if not posix.waitpid(self.pid_one, posix.WNOHANG)[0]:
                posix.kill(self.pid_one, _signal.SIGKILL)
                posix.waitpid(self.pid_one, 0)
            elif said == READY:
                raise CommandError(KILLED, DIED) from None
            raise
        close(self.go_writer)
        close(self.go_reader)

    def be_pid_one(self, report_fd: int) -> "NoReturn":
        """Be PID 1, in the child."""
        close(self.go_writer)
        posix.setsid()
        while _signal.sigtimedwait(_signal.valid_signals(), 0):
            pass  # this signal came to the process group before, so the launcher has got it too
        self.enter()
        try:
            prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
        except OSError as error:
            raise step_error("prctl(PR_SET_PDEATHSIG)", error, "a seccomp filter forbids it") from None
        pid_one = PidOne(self.inner_options, self.inherited)
        pid_one.let_go(0)
        posix.write(report_fd, READY)  # EPIPE: the launcher died before that call
        close(report_fd)
        log.attempt(posix.read, self.go_reader, 1)  # wait for the command: no child of PID 1 may take its PID
        close(self.go_reader)
        pid_one.run()

    def be_command(self, report_fd: int, wait: "Callable[[], None]") -> "NoReturn":
        """Execute the command, in the child, after a call of `wait`; CommandError."""
        posix.write(self.go_writer, READY)
        super().be_command(report_fd, wait)

    def enter(self) -> None:
        """Get a /proc of the namespace, and no more privileges than outside, in a child; CommandError, OSError."""
        isolate()
        if self.privileges is not None:
            self.privileges.restore()

    def started(self) -> None:
        """Report that the command's exec has happened."""
        pid = self.child.pid
        log.info(f"{self.options.command[0]} runs as PID {COMMAND} in its namespace, PID {pid} in this one")
        if self.status_fd >= 0:
            try:
                namespace = f', "pid-namespace": {posix.stat("/proc/self/ns/pid_for_children").st_ino}'
            except OSError:  # /proc is missing outside
                namespace = ""
            log.report(self.status_fd, f'{{"child-pid": {pid}{namespace}}}')

    def prepare(self) -> None:
        """Make what the launcher needs. If job control cannot be imported any more, go on without it."""
        from ..family.reaper import Reaper
        from .outside import ToPidOne

        self.targets = ToPidOne(self)
        self.reaper = Reaper(self.child, self.child_changed, watches=self.inherited.terminal is not None)
        self.reaper.tells, self.reaper.tell = True, self.orphan_ended
        log.attempt(self.start_job)

    def next_deadline(self) -> float | None:
        """Return None: PID 1 applies the options."""
        return None

    def ask_to_stop(self, signum: int, came: int) -> None:
        """Send the stop signal `came` to PID 1, if the command has ended. Otherwise forward() sends it."""
        if not self.child.pid:
            self.targets.signal(signum)

    def ended(self, wait_status: int) -> None:
        """Note how the command has ended, and send SIGCHLD to PID 1, which cannot see that the command was reaped."""
        super().ended(wait_status)
        try:
            if self.pid_one:
                posix.kill(self.pid_one, _signal.SIGCHLD)
        except OSError as error:
            log.warning(f"cannot send SIGCHLD to PID 1 of the namespace: {error.strerror}")
            self.exit()

    def drain(self) -> None:
        """Wait for PID 1, which drains, and pass signals on to PID 1."""
        while self.pid_one:
            self.take_signal()

    def orphan_ended(self, pid: int, wait_status: int) -> None:
        """Note the end of PID 1, if `pid` is PID 1. No process of the namespace is left then."""
        if pid != self.pid_one:
            return
        self.pid_one = 0
        if wait_status or self.child.pid:
            log.error(DIED)
            self.status, self.end_signal = KILLED, 0


class PidOne(Init):
    """PID 1 of the namespace.

    It treats the command as its main child. But the launcher sends it SIGCHLD when the command has ended.
    """

    pid_one = 1

    def __init__(self, options: "Options", inherited: Inherited) -> None:
        super().__init__(options, inherited)
        self.shares_group = inherited.is_job
        if inherited.terminal:  # stdin, which is 0, stays open
            close(inherited.terminal)
        inherited.terminal, inherited.leads = None, False

    def start(self) -> None:
        """Note the command's PID and process group. The launcher starts it, when PID 1 has let go.

        If pyinit is a job of a shell, its process group is one outside, which is 0 here.
        """
        self.child.pid = COMMAND
        self.child.group = 0 if self.shares_group else COMMAND

    def prepare(self) -> None:
        """Import and make what PID 1 needs."""
        from ..family import proc

        super().prepare()
        self.targets.share_group = self.shares_group
        proc.set_root(COMMAND)

    def next_signal(self, deadline: float | None) -> "_signal.struct_siginfo | None":
        """Return the next signal, or None for the `deadline` and for a SIGCHLD after the command's end."""
        siginfo = super().next_signal(deadline)
        if siginfo is not None and siginfo.si_signo == _signal.SIGCHLD and self.child.pid:
            try:
                posix.getpgid(self.child.pid)
            except ProcessLookupError:
                from ..family import proc

                self.child.pid = 0
                proc.set_root(0)
                return None
        return siginfo


def unshare_pid() -> Privileges | None:
    """Make the next child PID 1 of a new PID namespace; CommandError.

    If this process lacks the privilege, it makes a new user namespace too. Then return the privileges from before that,
    and otherwise None.
    """
    try:
        unshare(CLONE_NEWPID)
        return None
    except OSError as error:
        if error.errno != errno.EPERM:
            raise step_error("unshare(CLONE_NEWPID)", error, limits="user.max_pid_namespaces") from None
    try:
        privileges = Privileges()
    except OSError as error:
        raise step_error("read /proc/self/status", error, "mount /proc first") from None
    uid, gid = posix.geteuid(), posix.getegid()
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWPID)
    except OSError as error:
        limits = "user.max_user_namespaces or user.max_pid_namespaces"
        raise step_error("unshare(CLONE_NEWUSER | CLONE_NEWPID)", error, limits=limits) from None
    try:
        # If the interpreter's file has capabilities, /proc/self belongs to root; see PR_SET_DUMPABLE in prctl(2).
        prctl(PR_SET_DUMPABLE, 1)
    except OSError:
        pass
    # Without CAP_SETGID outside, a process may map a group only if setgroups(2) is denied.
    for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            fd = posix.open(f"/proc/self/{name}", posix.O_WRONLY | posix.O_CLOEXEC)
            posix.write(fd, content.encode())
            posix.close(fd)
        except OSError as error:
            raise step_error(f"write to /proc/self/{name}", error) from None
    return privileges


def isolate() -> None:
    """Mount a /proc of the new PID namespace, in a new mount namespace; CommandError."""
    try:
        unshare(CLONE_NEWNS)
    except OSError as error:
        raise step_error("unshare(CLONE_NEWNS)", error, limits="user.max_mnt_namespaces") from None
    try:
        mount(b"none", b"/", b"none", MS_REC | MS_SLAVE)
    except OSError as error:
        raise step_error("mount(MS_SLAVE) on /", error, ROOT_HINT if error.errno == errno.EINVAL else "") from None
    try:
        mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as error:
        raise step_error("mount a new /proc", error, PROC_HINT if error.errno == errno.EPERM else "") from None
