"""Starts the command: its process group, signals, environment, exec.

Called by init, once. The child must find everything as it was when pyinit was started; what CPython changes at its own
start is undone here.
"""

import _signal
import posix
import sys

from ..base import FROM_TERMINAL, NOT_FOUND, NOT_RUNNABLE, OWN_ERROR, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import NoReturn

PATH_MAX = 4096  # <linux/limits.h>: where execvp(3) passes over a longer directory
LONGEST_REPORT = 4096  # PIPE_BUF: written to a pipe at once or not at all; see pipe(7)


class CommandError(Exception):
    """The command could not be started: `status` is the exit status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class MainChild:
    """The process whose end is pyinit's: `pid`, 0 while there is none, and the process `group` that it was started in.

    The group is to compare with once the main child has ended; it may be somebody else's then.
    """

    __slots__ = ("group", "pid")

    def __init__(self) -> None:
        self.pid = self.group = 0

    def signal_orphaned_group(self, signum: int) -> bool:
        """Send `signum` to the group when the main child has ended; false: it may be somebody else's by now.

        It is not as long as one of pyinit's own children is in it. Not for a group that pyinit is in; see waitid(2).
        """
        if self.group in (0, posix.getpgrp()):
            return False
        try:
            posix.waitid(posix.P_PGID, self.group, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
            posix.killpg(self.group, signum)
        except OSError:  # ECHILD; EPERM
            return False
        return True


class Inherited:
    """How pyinit was started: what its child must find again."""

    __slots__ = ("ignored", "mask", "pid", "script", "terminal", "words")

    def __init__(self, mask: set[int], words: list[str], ignored: "Collection[int]") -> None:
        """`words` are pyinit's arguments; `ignored` are signals that were ignored, and are not any more."""
        self.mask = mask & _signal.valid_signals()  # 32 and 33 are the C library's own
        self.words = words
        self.pid = posix.getpid()
        self.ignored = set(ignored)
        self.terminal = controlling_terminal()
        self.script = sys.argv[0]  # its absolute path, where there is one
        if not self.script.startswith("/"):
            try:
                self.script = f"{posix.getcwd()}/{self.script}"
            except OSError:
                pass
        if _signal.getsignal(_signal.SIGCHLD) == _signal.SIG_IGN:
            self.ignored.add(_signal.SIGCHLD)  # or the kernel would reap in pyinit's stead, and drop the exit status
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)


def controlling_terminal() -> int | None:
    """A descriptor of the controlling terminal: /dev/tty (not inherited by the command), else stdin. See tty(4)."""
    try:
        terminal = posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
        posix.tcgetpgrp(terminal)
    except OSError:  # ENXIO: none; ENOENT, EACCES: a /dev without it; ENOTTY: something else is mounted there
        try:
            posix.tcgetpgrp(0)
        except OSError:
            return None
        return 0
    return terminal


def start(inherited: Inherited, run: "Callable[[int], NoReturn]") -> "tuple[int, list[_signal.struct_siginfo]]":
    """Fork the child that will be the command, and have it call `run`, which execs it.

    Return its PID, and the signals that came before it was there, when the exec has happened: so no signal is ever
    forwarded to a copy of pyinit. CommandError where fork(2) or the exec fails; nothing is left of the child then.

    Ctrl-Z stops all of a job, so from before the fork until the exec it stops pyinit too, which waits for the child. As
    PID 1 it cannot.
    """
    stops_with_child = inherited.terminal is not None and posix.getpid() != 1
    if stops_with_child:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGTSTP})
    pid, report_end = fork(run)
    early: list[_signal.struct_siginfo] = []
    if inherited.terminal is not None:
        log.attempt(share_pending, pid, early)
    try:
        report = read_report(report_end)
    except CommandError as error:
        log.warning(f"{error}; the command may run")  # else its status tells as much
        report = b""
    if stops_with_child:
        log.attempt(_signal.pthread_sigmask, _signal.SIG_BLOCK, {_signal.SIGTSTP})
    if report:
        posix.waitpid(pid, 0)
        raise error_in(report)
    return pid, early


def fork(run: "Callable[[int], NoReturn]") -> tuple[int, int]:
    """Fork a child that calls `run` with a descriptor, which the exec closes; CommandError.

    Return its PID, and a descriptor to read from why `run` has failed.
    """
    try:
        report_end, child_end = posix.pipe2(posix.O_CLOEXEC)
    except OSError as error:
        raise CommandError(OWN_ERROR, f"cannot make a pipe: {error.strerror}") from None
    try:
        pid = posix.fork()
    except OSError as error:
        raise CommandError(OWN_ERROR, f"cannot fork: {error.strerror}") from None
    if pid == 0:
        close(report_end)
        _child(run, child_end)
    close(child_end)
    return pid, report_end


def read_report(report_end: int) -> bytes:
    """Wait for a child's report, or for its exec, which closes its end of the pipe: nothing then; CommandError."""
    try:
        return posix.read(report_end, LONGEST_REPORT)
    except OSError as error:
        raise CommandError(OWN_ERROR, f"cannot read what a child reports: {error.strerror}") from None
    finally:
        close(report_end)


def error_in(report: bytes) -> CommandError:
    """The error that a child has reported."""
    status, _, reason = report.decode(errors="surrogateescape").partition(" ")
    return CommandError(int(status), reason)


def close(fd: int) -> None:
    """close(2), which closes whatever it says, but for a filter that forbids it: then once more, and no error."""
    for _ in range(2):
        try:
            posix.close(fd)
            break
        except OSError:
            pass


def share_pending(pid: int, early: "list[_signal.struct_siginfo]") -> None:
    """Take the terminal's signals that are pending, and send them to the child, which may have been forked after them.

    It has not taken any yet: what has come to it too is pending there, and does not get more by this.
    """
    while siginfo := _signal.sigtimedwait(FROM_TERMINAL, 0):
        if siginfo.si_code > 0:
            try:
                posix.kill(pid, siginfo.si_signo)
            except OSError:
                pass  # EPERM: the exec is done, and has made it another user's
        early.append(siginfo)


def _child(run: "Callable[[int], NoReturn]", report_fd: int) -> "NoReturn":
    """In the child: never returns, whatever happens."""
    status = OWN_ERROR
    try:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGTSTP})
        run(report_fd)
    except CommandError as error:
        status, reason = error.status, str(error)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
    try:
        posix.write(report_fd, f"{status} {reason}".encode(errors="surrogateescape")[:LONGEST_REPORT])
    finally:
        posix._exit(status)


def close_status_fd(fd: int) -> None:
    """In the child: close --json-status-fd, so that none but pyinit writes to it, unless it is one of 0 to 2 or -1."""
    if fd > 2:
        close(fd)


def exec_command(inherited: Inherited, words: list[str]) -> "NoReturn":
    """Turn this child into the command. CommandError where that can't be done."""
    _restore_environment(inherited.pid)
    # CPython ignores these two at its start. Only the C program knows whether they were ignored before.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    if callable(_signal.getsignal(_signal.SIGINT)):
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    for signum in inherited.ignored:
        _signal.signal(signum, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, inherited.mask)
    _exec(words)


def _restore_environment(pyinit_pid: int) -> None:
    """Make the environment what it was when pyinit was started, but for those variables that name its reader."""
    for name, value in names_of_reader(posix.environ, pyinit_pid).items():
        if value:
            posix.putenv(name, value)
        else:
            posix.unsetenv(name)
    restore_locale()


def names_of_reader(environ: "Mapping[bytes, bytes]", old: int) -> dict[bytes, bytes]:
    """The variables that name their reader, and name `old`, for this process; empty: it can't be known.

    sd_listen_fds(3) and sd_watchdog_enabled(3) compare them with getpid(2), and with the inode of the reader's pidfd.
    """
    pid = b"%d" % posix.getpid()
    names = {name: pid for name in (b"LISTEN_PID", b"WATCHDOG_PID") if environ.get(name) == b"%d" % old}
    if b"LISTEN_PID" in names and b"LISTEN_PIDFDID" in environ:
        try:
            own = posix.pidfd_open(posix.getpid())
            names[b"LISTEN_PIDFDID"] = b"%d" % posix.fstat(own).st_ino
            posix.close(own)
        except (AttributeError, OSError):
            names[b"LISTEN_PIDFDID"] = b""
    return names


def restore_locale() -> None:
    """Make LC_CTYPE in the environment what it was when pyinit was started."""
    environ = posix.environ
    # PEP 538: in the C locale CPython sets LC_CTYPE, with -I too, unless LC_ALL is set.
    if environ.get(b"LC_CTYPE") in (b"C.UTF-8", b"C.utf8", b"UTF-8") and not environ.get(b"LC_ALL"):
        original = _original_lc_ctype(environ)
        if original is None:
            posix.unsetenv(b"LC_CTYPE")
        else:
            posix.putenv(b"LC_CTYPE", original)


def _original_lc_ctype(environ: dict[bytes, bytes]) -> bytes | None:
    """LC_CTYPE as pyinit was given it; see proc_pid_environ(5)."""
    try:
        fd = posix.open("/proc/self/environ", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:  # no /proc: it was CPython that set it, if it is the last one, where setenv(3) puts a new one
        return None if next(reversed(environ)) == b"LC_CTYPE" else environ[b"LC_CTYPE"]
    block = b""
    while chunk := posix.read(fd, 65536):
        block += chunk
    posix.close(fd)
    for entry in block.split(b"\0"):
        if entry.startswith(b"LC_CTYPE="):
            return entry[9:]
    return None


def _exec(words: list[str]) -> "NoReturn":
    """As execvp(3): search PATH where the name has no slash; a script without a #! line is run by /bin/sh.

    glibc goes on searching after EACCES, ENOENT, ENOTDIR and their like, and so does this; the last but not least
    telling reason is reported: a file that is there and cannot be run beats one that is not there.
    """
    name = words[0]
    if not name:
        paths = []
    elif "/" in name:
        paths = [name]
    else:
        folders = posix.environ.get(b"PATH", (posix.confstr("CS_PATH") or "").encode()).split(b":")
        folders = [folder for folder in folders if len(folder) < PATH_MAX]
        paths = [f"{folder.decode(errors='surrogateescape')}/{name}" if folder else name for folder in folders]
    failure: CommandError | None = None
    closed = ""  # a folder of PATH that may not be looked into
    for path in paths:
        try:
            posix.execv(path, words)
        except OSError as error:
            import errno  # 30 kB that are seldom needed, and in the child only

            if error.errno == errno.ENOEXEC:
                failure = _exec_shell(path, words)
                break
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                failure = failure or _missing_interpreter(path)
                continue
            if "/" not in name and isinstance(error, PermissionError) and _is_hidden(path):
                closed = closed or path.rpartition("/")[0]
                continue
            failure = failure or _not_runnable(path, error)
            if error.errno not in (errno.EACCES, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT):
                break
    where = "" if "/" in name else " in PATH"
    if closed:
        where += f", of which {closed} is closed to this user"
    raise failure or CommandError(NOT_FOUND, f"{name or repr(name)}: not found{where} (exit {NOT_FOUND})")


def _not_runnable(path: str, error: OSError) -> CommandError:
    """Why a file that is there was not run."""
    reason = error.strerror
    try:
        if isinstance(error, PermissionError):
            reason = "it is a directory" if _is_directory(path) else "permission denied (is it executable?)"
    except OSError:
        pass  # a directory above it is closed to us: permission denied, as the kernel said
    return CommandError(NOT_RUNNABLE, f"{path}: {reason} (exit {NOT_RUNNABLE})")


def _is_hidden(path: str) -> bool:
    """Whether it cannot even be seen if `path` exists, as a folder above it is closed."""
    try:
        posix.stat(path)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _is_directory(path: str) -> bool:
    from _stat import S_ISDIR

    return S_ISDIR(posix.stat(path).st_mode)


def _missing_interpreter(path: str) -> CommandError | None:
    """execve(2) says ENOENT for a missing interpreter too: then `path` itself is there."""
    try:
        posix.stat(path)
    except OSError:
        return None
    line = _first_bytes(path).partition(b"\n")[0]
    words = line[2:].replace(b"\t", b" ").strip(b" ").split(b" ")
    what = "its loader"
    if line[:2] == b"#!":
        interpreter = words[0].decode(errors="surrogateescape")
        what = f"its interpreter {interpreter!r}" if interpreter.endswith("\r") else f"its interpreter {interpreter}"
    return CommandError(NOT_RUNNABLE, f"{path}: {what} is missing (exit {NOT_RUNNABLE})")


def _first_bytes(path: str) -> bytes:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:  # executable, but not readable
        return b""
    with_interpreter = posix.read(fd, 256)
    posix.close(fd)
    return with_interpreter


def _exec_shell(path: str, words: list[str]) -> CommandError:
    """Run a file that is no program to the kernel by /bin/sh, as execvp(3) does, unless it is one for another CPU."""
    if _first_bytes(path).startswith(b"\x7fELF"):
        return CommandError(NOT_RUNNABLE, f"{path}: a program for another kind of machine (exit {NOT_RUNNABLE})")
    try:
        posix.execv("/bin/sh", ["/bin/sh", path, *words[1:]])
    except OSError as error:
        return CommandError(NOT_RUNNABLE, f"{path}: no #! line, and /bin/sh: {error.strerror} (exit {NOT_RUNNABLE})")
