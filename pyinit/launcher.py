"""The PID namespace of --pid-namespace. Two processes stand in front of the command:

    the launcher  stays in the caller's PID namespace, forwards every signal as it is, and under a terminal does the job
                  control, because PID 1 can't be stopped from inside
    the inner     is PID 1 of the new namespace: the ordinary pyinit, with the user's options; under a
                  terminal in a session of its own, so that the job is the launcher and the command

They talk over a socket: the inner says what the launcher cannot see, and to either of them its end says that the other
has died. Called by cli, and imported only for this option. See pid_namespaces(7), user_namespaces(7).
"""

import _signal
import errno
import fcntl
import posix
import sys
from _socket import AF_UNIX, CMSG_SPACE, MSG_DONTWAIT, MSG_PEEK, SO_PASSCRED, SOCK_SEQPACKET, SOL_SOCKET

from . import log
from .command import Caller, CommandError, MainChild, close, close_status_fd, start
from .init import Init, report
from .kernel import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, mount, prctl, unshare
from .privileges import Privileges
from .reaper import Reaper
from .request import KEYS, OWN_ERROR, SUSPEND_SIGNALS, Options
from .taker import SignalTaker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket, socketpair
    from typing import NoReturn

    from .native import Told
    from .terminal import Job
else:
    from _socket import socketpair

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000  # <linux/sched.h>
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_SLAVE = 0x2, 0x4, 0x8, 0x4000, 0x80000  # <linux/mount.h>
UCRED_SIZE = 12  # three ints, the first the PID in the receiver's namespace: SCM_CREDENTIALS in unix(7)

HINTS = {
    errno.EPERM: "allow user namespaces, or CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN)",
    errno.EACCES: "a security module forbids it (AppArmor: docker run --security-opt apparmor=unconfined)",
    errno.ENOSPC: "the limit on namespaces or on their nesting is reached: raise {limits}",
    errno.EINVAL: "this kernel was built without it",
    errno.ENOSYS: "this kernel was built without it",
}
ROOT_HINT = "/ is no mount point here, as in a chroot: bind-mount it onto itself first"
CALLS_HINT = "a seccomp filter forbids it, or no descriptor is free (ulimit -n)"
SIGNAL_HINT = "there is no such signal here, as under qemu-user: -n needs a real kernel of this architecture"
PROC_HINT = "this container masks parts of /proc: allow a new one (docker run --security-opt systempaths=unconfined)"


class StepError(CommandError):
    """A step of the isolation that the kernel or a container forbids: nothing is started then."""

    def __init__(self, step: str, error: OSError, hint: str = "", limits: str = "") -> None:
        code = errno.errorcode.get(error.errno or 0, "?")
        hint = hint or HINTS.get(error.errno or 0, "see the kernel's log").format(limits=limits)
        super().__init__(OWN_ERROR, f"--pid-namespace: {step}: {error.strerror} ({code}): {hint} (exit {OWN_ERROR})")


def run(options: "Options", caller: Caller, launched: "Told | None" = None) -> "NoReturn":
    """Run the command that `options` name in a PID namespace of its own, and exit with its status."""
    assert launched is None  # launch() refuses -n
    if options.parent_death_signal:
        from .parentage import set_parent_death_signal

        set_parent_death_signal(options.parent_death_signal)
    launcher = Launcher(options, caller)
    try:
        launcher.privileges = unshare_pid()
        launcher.connect()
    except StepError as error:
        log.error(str(error))
        posix._exit(error.status)
    launcher.run()


class Launcher(SignalTaker):
    """The outer process."""

    def __init__(self, options: "Options", caller: Caller) -> None:
        super().__init__()
        self.options, self.caller = options, caller
        self.privileges: Privileges | None = None
        self.socket: socket  # made by connect()
        self.inner = MainChild()
        self.command = MainChild()  # as this namespace sees it
        self.command_ran = False
        self.wait_status = 0  # of the inner
        self.end_signal = 0  # that the command has died of
        self.job: Job | None = None
        self.has_tried = False  # to become the C program
        self.has_sent_stop = False  # to the inner, a stop signal of job control, and no SIGCONT since

    def connect(self) -> None:
        """Make the socket that the inner speaks to; StepError."""
        step = "socketpair(AF_UNIX)"
        try:
            self.inner_end, self.socket = socketpair(AF_UNIX, SOCK_SEQPACKET)
            step = "setsockopt(SO_PASSCRED)"
            self.socket.setsockopt(SOL_SOCKET, SO_PASSCRED, 1)
            # A signal for every message, so that sigwaitinfo(2) is all there is to wait for: a real-time signal, which
            # cannot hide one that somebody sends, or SIGIO where too many are queued. See F_SETSIG in fcntl(2).
            step = "fcntl(F_SETOWN)"
            fcntl.fcntl(self.socket.fileno(), fcntl.F_SETOWN, posix.getpid())
            step = "fcntl(F_SETSIG)"
            fcntl.fcntl(self.socket.fileno(), fcntl.F_SETSIG, _signal.SIGRTMAX)
            step = "fcntl(F_SETFL)"
            flags = fcntl.fcntl(self.socket.fileno(), fcntl.F_GETFL)
            fcntl.fcntl(self.socket.fileno(), fcntl.F_SETFL, flags | posix.O_NONBLOCK | fcntl.FASYNC)
        except OSError as error:
            raise StepError(step, error, SIGNAL_HINT if error.errno == errno.EINVAL else CALLS_HINT) from None

    def run(self) -> "NoReturn":
        """Start the inner pyinit, forward to it until it ends, exit as it has: nothing of its namespace is left."""
        terminal = self.caller.terminal
        if terminal is not None:
            from .terminal import Job

            self.job = Job(terminal, self.command, self.continue_command)
        self.inner.pid, self.early = start(self.caller, self.be_inner)
        if self.job is not None:
            for siginfo in self.early:  # not acted on where the inner has ended
                self.job.note_key(siginfo)
        close(self.inner_end.detach())
        self.settle()
        log.survived(self.load)
        self.loop()

    def descriptors(self) -> set[int | None]:
        """The descriptors above 2 that the launcher needs as long as it runs."""
        return {self.options.status_fd, self.caller.terminal, self.socket.fileno()}

    def loop(self) -> "NoReturn":
        """Forward to the inner until it ends, and end."""
        self.reaper = Reaper(self.inner, self.inner_changed)
        self.reap()
        while self.inner.pid:
            if self.command_ran and not self.has_tried:
                self.has_tried = True
                log.survived(self.become_waiter)
            self.take_signal()
        self.exit()

    def be_inner(self, report_fd: int) -> "NoReturn":
        """In the child, PID 1 of the new namespace: be the inner pyinit."""
        self.socket.close()
        close_status_fd(self.options.status_fd)
        die_with_parent(self.inner_end)
        isolate()
        posix.close(report_fd)  # from here on the launcher listens to the socket
        Inner(self.options, self.caller, self.inner_end, self.privileges).run()

    def load(self) -> None:
        """What the job control and messages need: the package may be removed or replaced meanwhile."""
        if self.job is not None or log.level >= log.INFO or self.options.status_fd >= 0:
            from . import output, processes, signals  # noqa: F401

    def become_waiter(self) -> None:
        """Become the C program, which waits from here on. What the inner says is for job control and messages."""
        if self.job is None and log.level < log.INFO and self.options.status_fd < 0:
            from . import native

            native.Waiter(None, self.caller.words, self.caller.script).become(self.inner.pid)

    def act_on(self, siginfo: "_signal.struct_siginfo | None") -> None:
        """Listen to the inner; forward what is not of the kernel's own making and not the command's already."""
        if siginfo is None:  # for a deadline, and there is none
            return
        signum, job = siginfo.si_signo, self.job
        if signum not in SUSPEND_SIGNALS or not self.lives():
            self.listen()  # else that it was stopped by this signal would be heard before
        if siginfo.si_code > 0 and signum in (_signal.SIGCHLD, _signal.SIGRTMAX, _signal.SIGIO):
            return
        if job is None:
            self.signal_inner(signum)
        elif signum == _signal.SIGCONT:
            if job.got_sigcont() or self.has_sent_stop:
                self.signal_inner(signum)
        elif not job.has_got(siginfo) or (signum in KEYS and self.command_ran and not self.command.pid):
            self.signal_inner(signum)
        if job is not None and signum in SUSPEND_SIGNALS:
            job.got_stop_signal(signum)

    def signal_inner(self, signum: int) -> None:
        """Send `signum` to the inner pyinit."""
        if signum in SUSPEND_SIGNALS or signum == _signal.SIGCONT:
            self.has_sent_stop = signum != _signal.SIGCONT
        try:
            posix.kill(self.inner.pid, signum)
        except OSError as error:  # EPERM: its command has another user, and it has become that
            log.warning(f"cannot forward signal {signum} to PID {self.inner.pid}: {error.strerror}")

    def continue_command(self) -> None:
        """Have the inner continue the command, unless SIGCONT has, or Ctrl-Z has stopped it anew."""
        if self.is_stopped() and _signal.sigpending().isdisjoint(SUSPEND_SIGNALS):
            self.signal_inner(_signal.SIGCONT)

    def lives(self) -> bool:
        """Whether the command runs, as far as that can be seen: that it has ended may not have been heard yet."""
        from .processes import state

        return self.command_ran and self.command.pid != 0 and state(self.command.pid) not in "ZX"

    def is_stopped(self) -> bool:
        """Whether the command is: what the inner has said of it may be out of date."""
        from .processes import state

        return state(self.command.pid) in "TX"  # X: there is no /proc to see it by

    def listen(self) -> None:
        """Act on what the inner has said since the last time."""
        while True:
            try:
                message, ancillary, _, _ = self.socket.recvmsg(64, CMSG_SPACE(UCRED_SIZE), MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not message:  # the inner has ended, and SIGCHLD says so too
                return
            word, *numbers = message.split()
            self.heard(word, ancillary, *map(int, numbers))

    def heard(self, word: bytes, ancillary: "list[tuple[int, int, bytes]]", number: int = 0) -> None:
        """The inner has said one thing; `ancillary` names the process that did."""
        job = self.job
        if word == b"pid":
            self.command.pid = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
        elif word == b"runs":
            self.command_runs(number)
            if job is not None:
                job.started()
        elif word == b"ended":
            self.command.pid, self.end_signal = 0, number
            if job is not None:
                job.child_ended()
        elif job is not None and word == b"continued":
            job.child_continued()
        elif job is not None and self.is_stopped():
            job.child_stopped(number)

    def command_runs(self, inner_pid: int) -> None:
        """The command's exec has happened."""
        self.command_ran = True
        pid = self.command.pid
        log.info(f"{self.options.command[0]} runs as PID {inner_pid} in its namespace, PID {pid} in this one")
        try:
            namespace = f', "pid-namespace": {posix.stat("/proc/self/ns/pid_for_children").st_ino}'
        except OSError:  # /proc is missing outside
            namespace = ""
        report(self.options.status_fd, f'{{"child-pid": {pid}{namespace}}}')

    def inner_changed(self, wait_status: int) -> None:
        """The inner has ended, and every process of its namespace with it."""
        if not posix.WIFSTOPPED(wait_status):
            pid, self.inner.pid, self.wait_status = self.inner.pid, 0, wait_status
            if log.level >= log.INFO:
                from .signals import describe

                log.info(f"the inner pyinit, PID {pid}, ended: {describe(wait_status)}")

    def exit(self) -> "NoReturn":
        """End as the inner has, or as its command."""
        log.survived(self.listen)
        status = Options().exit_status(self.wait_status)
        if self.command_ran:
            log.survived(report, self.options.status_fd, f'{{"exit-code": {status}}}')
        if self.job is not None and self.end_signal:
            log.survived(self.job.die_of, self.end_signal)
        posix._exit(status)


class Inner(Init):
    """PID 1 of the new namespace. What it has to say, and the job control, are the launcher's."""

    leaves_terminal = True

    def __init__(self, options: "Options", caller: Caller, socket: "socket", privileges: Privileges | None) -> None:
        super().__init__(options, caller)
        self.status_fd = -1
        self.socket, self.privileges = socket, privileges

    def descriptors(self) -> set[int | None]:
        """The descriptors above 2 that the inner needs as long as it runs."""
        return {self.socket.fileno()}

    def be_command(self, report_fd: int) -> "NoReturn":
        """In the child: let the kernel tell the launcher our PID over there, then exec the command."""
        self.socket.send(b"pid")
        if self.privileges is not None:
            self.privileges.restore()
        super().be_command(report_fd)

    def started(self) -> None:
        """The command's exec has happened; the launcher says so."""
        self.early = [siginfo for siginfo in self.early if siginfo.si_code <= 0]  # the command has got the others
        self.say(b"runs %d" % self.child.pid)

    def say(self, message: bytes) -> None:
        """To the launcher, which may be stopped for any time: what does not fit is lost."""
        try:
            self.socket.send(message, MSG_DONTWAIT)
        except OSError:
            pass

    def child_changed(self, wait_status: int) -> None:
        """Tell the launcher too."""
        if posix.WIFSTOPPED(wait_status):
            self.say(b"stopped %d" % posix.WSTOPSIG(wait_status))
        elif posix.WIFCONTINUED(wait_status):
            self.say(b"continued")
        else:
            self.ended(wait_status)
            self.say(b"ended %d" % self.end_signal)


def unshare_pid() -> Privileges | None:
    """Have the next child be PID 1 of a new namespace; StepError.

    Where that takes a new user namespace, for want of privileges, return those that were there before.
    """
    try:
        unshare(CLONE_NEWPID)
        return None
    except OSError as error:
        if error.errno != errno.EPERM:
            raise StepError("unshare(CLONE_NEWPID)", error, limits="user.max_pid_namespaces") from None
    privileges = Privileges()
    uid, gid = posix.geteuid(), posix.getegid()
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWPID)
    except OSError as error:
        limits = "user.max_user_namespaces or user.max_pid_namespaces"
        raise StepError("unshare(CLONE_NEWUSER | CLONE_NEWPID)", error, limits=limits) from None
    try:
        # /proc/self is root's if the interpreter's file holds capabilities; see PR_SET_DUMPABLE in prctl(2).
        prctl(PR_SET_DUMPABLE, 1)
    except OSError:
        pass
    # Without CAP_SETGID outside, a group may be mapped only where setgroups(2) is denied.
    for name, content in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            fd = posix.open(f"/proc/self/{name}", posix.O_WRONLY | posix.O_CLOEXEC)
            posix.write(fd, content.encode())
            posix.close(fd)
        except OSError as error:
            raise StepError(f"write to /proc/self/{name}", error) from None
    return privileges


def die_with_parent(socket: "socket") -> None:
    """Be killed with the launcher, however it dies; see PR_SET_PDEATHSIG in prctl(2)."""
    try:
        prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
    except OSError as error:
        raise StepError("prctl(PR_SET_PDEATHSIG)", error, "a seccomp filter forbids it") from None
    # It may have died before. Its end of the socket was closed then, and is closed before the signal is sent otherwise.
    try:
        if not socket.recv(1, MSG_PEEK | MSG_DONTWAIT):
            posix._exit(OWN_ERROR)
    except BlockingIOError:
        pass


def isolate() -> None:
    """Mount a /proc that shows the new namespace, where nobody outside sees it."""
    try:
        unshare(CLONE_NEWNS)
    except OSError as error:
        raise StepError("unshare(CLONE_NEWNS)", error, limits="user.max_mnt_namespaces") from None
    try:
        mount(b"none", b"/", b"none", MS_REC | MS_SLAVE)
    except OSError as error:
        raise StepError("mount(MS_SLAVE) on /", error, ROOT_HINT if error.errno == errno.EINVAL else "") from None
    try:
        mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as error:
        raise StepError("mount a new /proc", error, PROC_HINT if error.errno == errno.EPERM else "") from None
