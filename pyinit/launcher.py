"""The PID namespace of --pid-namespace. Two processes run Init's loop, each in a role of its own:

    the launcher  stays in the caller's PID namespace, forwards every signal as it is, and stops and continues itself
                  for the shell, because PID 1 can't be stopped from inside
    the inner     is PID 1 of the new namespace: the ordinary pyinit, with the policy that the options ask for

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
from .command import Caller, CommandError, take_terminal
from .init import Init
from .kernel import PR_SET_PDEATHSIG, mount, prctl, unshare
from .policy import Policy
from .privileges import Privileges
from .request import OWN_ERROR
from .stop import Stop
from .terminal import can_suspend, take_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket, socketpair
    from typing import NoReturn

    from .request import Options
else:
    from _socket import socketpair

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000  # <linux/sched.h>
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x8, 0x4000, 0x40000  # <linux/mount.h>
SEEK_CUR = 1  # <unistd.h>
UCRED_SIZE = 12  # three ints, the first the PID in the receiver's namespace: SCM_CREDENTIALS in unix(7)

HINTS = {
    errno.EPERM: "allow user namespaces, or CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN)",
    errno.EACCES: "a security module forbids it (AppArmor: docker run --security-opt apparmor=unconfined)",
    errno.ENOSPC: "the limit on namespaces or on their nesting is reached: raise {limits}",
    errno.EINVAL: "this kernel was built without it",
    errno.ENOSYS: "this kernel was built without it",
}
ROOT_HINT = "/ is no mount point here, as in a chroot: bind-mount it onto itself first"
PROC_HINT = "this container masks parts of /proc: allow a new one (docker run --security-opt systempaths=unconfined)"


class StepError(CommandError):
    """A step of the isolation that the kernel or a container forbids: nothing is started then."""

    def __init__(self, step: str, error: OSError, hint: str = "", limits: str = "") -> None:
        code = errno.errorcode.get(error.errno or 0, "?")
        hint = hint or HINTS.get(error.errno or 0, "see the kernel's log").format(limits=limits)
        super().__init__(OWN_ERROR, f"--pid-namespace: {step}: {error.strerror} ({code}): {hint} (exit {OWN_ERROR})")


def run(options: "Options", inherited_mask: set[int]) -> "NoReturn":
    """Run the command that `options` name in a PID namespace of its own, and exit with its status."""
    caller = Caller(inherited_mask)
    if options.parent_death_signal:
        from .parentage import set_parent_death_signal

        set_parent_death_signal(options.parent_death_signal)
    try:
        privileges = unshare_pid()
    except StepError as error:
        log.error(str(error))
        posix._exit(error.status)
    Launcher(options, caller, privileges).run()


class Launcher(Init):
    """The outer process. Its main child is the inner pyinit."""

    role_of_child = "the inner pyinit"

    def __init__(self, options: "Options", caller: Caller, privileges: Privileges | None) -> None:
        super().__init__(options, caller)
        # Every signal goes to the inner as it is, and nothing else is done about it: the inner has the options.
        self.policy = Policy()
        self.pauses = False
        self.privileges = privileges
        self.inner_end, self.socket = socketpair(AF_UNIX, SOCK_SEQPACKET)
        self.socket.setsockopt(SOL_SOCKET, SO_PASSCRED, 1)
        # A signal for every message, so that sigwaitinfo(2) is all there is to wait for: a real-time signal, which
        # cannot hide one that somebody sends, or SIGIO where too many are queued. See F_SETSIG in fcntl(2).
        fcntl.fcntl(self.socket.fileno(), fcntl.F_SETOWN, posix.getpid())
        fcntl.fcntl(self.socket.fileno(), fcntl.F_SETSIG, _signal.SIGRTMAX)
        flags = fcntl.fcntl(self.socket.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(self.socket.fileno(), fcntl.F_SETFL, flags | posix.O_NONBLOCK | fcntl.FASYNC)
        # Its offset counts the times that the inner was continued; both processes share the open file description.
        self.counter = posix.memfd_create("pyinit", posix.MFD_CLOEXEC)
        self.continued = 0
        self.outer_pid = 0  # the command's PID in this namespace, as soon as it exists
        self.command_ran = False
        self.can_suspend = can_suspend()

    def be_command(self, pyinit_group: int, report_fd: int) -> "NoReturn":
        """In the child, PID 1 of the new namespace: be the inner pyinit."""
        take_terminal(self.caller, pyinit_group)
        self.socket.close()
        die_with_parent(self.inner_end)
        isolate()
        posix.close(report_fd)  # from here on the launcher listens to the socket
        Inner(self).run()

    def make_stop(self) -> Stop:
        """One that bounds nothing."""
        return Stop()

    def started(self) -> None:
        """The isolation has succeeded: the inner runs."""
        self.inner_end.close()

    def descriptors(self) -> set[int | None]:
        """The descriptors above 2 that the launcher needs as long as it runs."""
        return {*super().descriptors(), self.socket.fileno(), self.counter}

    def is_own(self, siginfo: "_signal.struct_siginfo") -> bool:
        """Listen to the inner where it has said something; drop a Ctrl-Z that nobody could undo, as the kernel does."""
        signum = siginfo.si_signo
        if siginfo.si_code > 0 and signum in (_signal.SIGRTMAX, _signal.SIGIO):
            self.listen()
            return True
        if siginfo.si_code > 0 and signum == _signal.SIGTSTP and not self.can_suspend:
            return True
        return super().is_own(siginfo)

    def forward(self, siginfo: "_signal.struct_siginfo") -> None:
        """As Init does."""
        if siginfo.si_signo == _signal.SIGCONT:
            self.count_continuation()
        super().forward(siginfo)

    def command_group(self) -> int:
        """The command's process group, in this namespace."""
        self.listen()  # it says its PID before it takes the terminal
        return self.outer_pid

    def continue_child(self) -> None:
        """As Init does."""
        self.count_continuation()
        super().continue_child()

    def count_continuation(self) -> None:
        """Before the inner is continued: this undoes what it asks for before it knows."""
        self.continued = posix.lseek(self.counter, 1, SEEK_CUR)

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
            if word == b"pid":
                self.outer_pid = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
            elif word == b"runs":
                self.command_runs(int(numbers[0]))
            elif word == b"stop" and int(numbers[1]) == self.continued:
                self.child_stopped(int(numbers[0]))

    def command_runs(self, inner_pid: int) -> None:
        """The command's exec has happened."""
        self.command_ran = True
        log.info(
            f"{self.options.command[0]} runs as PID {inner_pid} in its namespace, PID {self.outer_pid} in this one"
        )
        try:
            namespace = f', "pid-namespace": {posix.stat("/proc/self/ns/pid_for_children").st_ino}'
        except OSError:  # /proc is missing outside
            namespace = ""
        self.report(f'{{"child-pid": {self.outer_pid}{namespace}}}')

    def ended(self, wait_status: int) -> None:
        """The inner has ended, and every process of the namespace with it."""
        self.listen()
        if not self.command_ran:
            self.status_fd = -1
        super().ended(wait_status)

    def drain(self) -> None:
        """Nothing: the kernel has ended all that was left in the namespace."""


class Inner(Init):
    """PID 1 of the new namespace."""

    def __init__(self, launcher: Launcher) -> None:
        super().__init__(launcher.options, launcher.caller)
        self.status_fd = -1  # the launcher's
        self.socket, self.counter = launcher.inner_end, launcher.counter
        self.privileges = launcher.privileges
        self.can_suspend = launcher.can_suspend
        self.asked = -1  # the launcher to stop: after so many continuations

    def descriptors(self) -> set[int | None]:
        """The descriptors above 2 that the inner needs as long as it runs."""
        return {*super().descriptors(), self.socket.fileno(), self.counter}

    def be_command(self, pyinit_group: int, report_fd: int) -> "NoReturn":
        """In the child: let the kernel tell the launcher our PID over there, then exec the command."""
        self.socket.send(b"pid")
        if self.privileges is not None:
            self.privileges.restore()
        super().be_command(pyinit_group, report_fd)

    def started(self) -> None:
        """The command's exec has happened; the launcher says so."""
        self.socket.send(b"runs %d" % self.child)

    def forwarded_stop(self, signum: int) -> None:
        """Stop where the main child has already. Where kill(2) told the launcher, it has stopped by itself."""
        if self.stopped:
            self.suspend(signum)

    def suspend(self, signum: int) -> bool:
        """Ask the launcher to stop, once until it continues us; false: nobody could continue it."""
        continued = posix.lseek(self.counter, 0, SEEK_CUR)
        if self.can_suspend and self.asked < continued and _signal.SIGCONT not in _signal.sigpending():
            if self.terminal is not None:
                take_back(self.terminal, self.child)
            self.socket.send(b"stop %d %d" % (signum, continued))
            self.asked = continued
        return self.can_suspend


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
    prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
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
        mount(b"none", b"/", b"none", MS_REC | MS_PRIVATE)
    except OSError as error:
        raise StepError("mount(MS_PRIVATE) on /", error, ROOT_HINT if error.errno == errno.EINVAL else "") from None
    try:
        mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as error:
        raise StepError("mount a new /proc", error, PROC_HINT if error.errno == errno.EPERM else "") from None
