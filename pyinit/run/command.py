"""The start of the command: its process group, signals, environment and exec.

The command must find everything as it was when pyinit was started. CPython changes some of it at its own start, and
this module undoes that.
"""

import _signal
import posix
import sys

from ..base import FROM_TERMINAL, NOT_FOUND, NOT_RUNNABLE, OWN_ERROR, OWN_VARIABLE, READERS, SUSPEND_SIGNALS, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import NoReturn

PATH_MAX = 4096  # <linux/limits.h>: execvp(3) skips a directory that is longer
LONGEST_REPORT = 4096  # PIPE_BUF: write(2) writes this to a pipe at once or not at all; see pipe(7)


class CommandError(Exception):
    """An error that kept the command from starting. `status` is the exit status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class MainChild:
    """The process whose end is pyinit's end.

    `pid` is 0 while there is none. `group` is the process group that it was started in. Once the main child has ended,
    `group` only serves to compare with: the number may belong to somebody else then.
    """

    __slots__ = ("group", "pid")

    def __init__(self) -> None:
        self.pid = self.group = 0

    def signal_orphaned_group(self, signum: int) -> bool:
        """Send `signum` to the group of a main child that has ended. Return false if the group may be somebody else's.

        As long as one of pyinit's own children is in the group, it is still the same group; see waitid(2). pyinit never
        signals a group that it is in itself, and returns false then too.
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
    """How pyinit was started. Its child must find the signal mask, the ignored signals and the terminal again.

    `leads` says whether pyinit leads the session of a terminal, as with `docker run -t`; see tty.leader.
    """

    __slots__ = ("ignored", "leads", "mask", "pid", "script", "terminal", "words")

    def __init__(self, mask: set[int], words: list[str], ignored: "Collection[int]") -> None:
        """Read that state.

        `words` are pyinit's arguments. `ignored` are signals that were ignored then, and no longer are.
        """
        self.mask = mask & _signal.valid_signals()  # the C library keeps 32 and 33 for itself
        self.words = words
        self.pid = posix.getpid()
        self.ignored = set(ignored)
        self.terminal = controlling_terminal()
        self.leads = self.terminal is not None and posix.getsid(0) == self.pid
        self.script = sys.argv[0]  # made absolute, if there is a current directory
        if not self.script.startswith("/"):
            try:
                self.script = f"{posix.getcwd()}/{self.script}"
            except OSError:
                pass
        if _signal.getsignal(_signal.SIGCHLD) == _signal.SIG_IGN:
            # Otherwise the kernel would reap pyinit's children itself, and drop their exit status.
            self.ignored.add(_signal.SIGCHLD)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)

    @property
    def is_job(self) -> bool:
        """Return whether pyinit is a job of a shell, or part of one: it has a terminal, and another process leads."""
        return self.terminal is not None and not self.leads


def controlling_terminal() -> int | None:
    """Return a descriptor of the controlling terminal, or None if there is none. See tty(4).

    It is a new one of /dev/tty, which the command does not inherit, or else stdin.
    """
    try:
        terminal = posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
        posix.tcgetpgrp(terminal)
    except OSError:  # ENXIO: no terminal; ENOENT, EACCES: no /dev/tty to open; ENOTTY: it is something else
        try:
            posix.tcgetpgrp(0)
        except OSError:
            return None
        return 0
    return terminal


def set_foreground(terminal: int, group: int) -> bool:
    """Make a process group the terminal's foreground. Return false if the terminal does not allow that.

    All signals must be blocked: otherwise SIGTTOU would stop a process in the background. See tcsetpgrp(3).
    """
    try:
        posix.tcsetpgrp(terminal, group)
    except OSError:  # EIO: it has hung up; EPERM: the group has ended
        return False
    return True


def move_foreground(terminal: int, old: int, new: int) -> None:
    """Put the process group `new` into the foreground in place of `old`, if that is there."""
    try:
        in_front = posix.tcgetpgrp(terminal)
    except OSError:  # EIO: it has hung up
        return
    if in_front == old:
        set_foreground(terminal, new)


def start_group(inherited: Inherited, child: int) -> None:
    """Put a child, before its exec, into a process group of its own, except in a job of a shell; OSError.

    If pyinit's own group is in the terminal's foreground, the child's group takes its place.
    """
    if inherited.is_job:
        return
    posix.setpgid(child, child)
    if inherited.terminal is not None:
        move_foreground(inherited.terminal, posix.getpgrp(), child)


def start(
    inherited: Inherited, run: "Callable[[int, Callable[[], None]], NoReturn]", let_go: "Callable[[int], None]"
) -> "tuple[int, list[_signal.struct_siginfo]]":
    """Fork the child that will be the command, and have it call `run`, which executes the command.

    The second argument of `run` is a function that waits until this process has called `let_go` with the child's PID.
    `run` calls it before the exec.

    Return the child's PID, and the signals that came before the child was there. This returns only after the exec, so
    pyinit never forwards a signal to a copy of itself. CommandError if fork(2) or the exec fails. Then the child has
    ended, and pyinit has reaped it.

    Ctrl-Z stops a whole job. From before the fork until the exec pyinit waits for the child, so Ctrl-Z must stop pyinit
    too. If pyinit is PID 1, Ctrl-Z cannot stop it. If pyinit leads the session, Ctrl-Z stops nobody before the exec;
    see exec_command().
    """
    stops_with_child = inherited.is_job and posix.getpid() != 1
    go_reader, go_writer = pipe()

    def wait() -> None:
        close(go_writer)
        if stops_with_child:
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGTSTP})
        log.attempt(posix.read, go_reader, 1)

    if stops_with_child:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGTSTP})
    pid, report_end = fork(lambda report_fd: run(report_fd, wait))
    early: list[_signal.struct_siginfo] = []
    if inherited.is_job:
        log.attempt(share_pending, pid, early)
    let_go(pid)
    log.attempt(posix.write, go_writer, b"0")
    close(go_writer)
    close(go_reader)
    try:
        report = read_report(report_end)
    except CommandError as error:
        log.warning(f"{error}; the command may run")  # if it does not, its exit status shows that
        report = b""
    if stops_with_child:
        log.attempt(_signal.pthread_sigmask, _signal.SIG_BLOCK, {_signal.SIGTSTP})
    if report:
        posix.waitpid(pid, 0)
        raise error_in(report)
    return pid, early


def pipe() -> tuple[int, int]:
    """Make a pipe that an exec closes, and return its ends, the one to read from first; CommandError."""
    try:
        return posix.pipe2(posix.O_CLOEXEC)
    except OSError as error:
        raise CommandError(OWN_ERROR, f"cannot make a pipe: {error.strerror}") from None


def fork(run: "Callable[[int], NoReturn]") -> tuple[int, int]:
    """Fork a child that calls `run` with a descriptor, which the exec closes; CommandError.

    Return the child's PID, and a descriptor for read_report().
    """
    report_end, child_end = pipe()
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
    """Wait for a child's report and return it, or return nothing once the child has called exec; CommandError.

    The exec closes the child's end of the pipe.
    """
    try:
        return posix.read(report_end, LONGEST_REPORT)
    except OSError as error:
        raise CommandError(OWN_ERROR, f"cannot read what a child reports: {error.strerror}") from None
    finally:
        close(report_end)


def error_in(report: bytes) -> CommandError:
    """Return the error that a child has reported."""
    status, _, reason = report.decode(errors="surrogateescape").partition(" ")
    return CommandError(int(status), reason)


def close(fd: int) -> None:
    """Close `fd`, and ignore errors.

    close(2) closes the descriptor even if it returns an error, unless a filter forbids the call. So try twice.
    """
    for _ in range(2):
        try:
            posix.close(fd)
            break
        except OSError:
            pass


def close_inherited(keep: set[int | None]) -> None:
    """Close the descriptors above 2 that pyinit inherited, except those in `keep`.

    If this process holds a POSIX lock of a file, the descriptors of that file stay open. Closing one of them would
    release the lock; see F_SETLK in fcntl(2).
    """
    from ..native import inheritable, locked

    fds = [fd for fd in inheritable() if fd not in keep]
    kept = locked(fds)
    for fd in fds:
        if fd not in kept:
            close(fd)


def share_pending(pid: int, early: "list[_signal.struct_siginfo]") -> None:
    """Take the terminal's pending signals, add them to `early`, and send them to the child.

    The child may not have got them, because the fork may have come after them. If the child has got one too, that one
    is still pending there, and a second one changes nothing.
    """
    while siginfo := _signal.sigtimedwait(FROM_TERMINAL, 0):
        if siginfo.si_code > 0:
            try:
                posix.kill(pid, siginfo.si_signo)
            except OSError:
                pass  # EPERM: since its exec the child runs as another user
        early.append(siginfo)


def _child(run: "Callable[[int], NoReturn]", report_fd: int) -> "NoReturn":
    """Call `run` in the child. It never returns, whatever happens."""
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


def exec_command(inherited: Inherited, words: list[str], wait: "Callable[[], None]" = lambda: None) -> "NoReturn":
    """Turn this child into the command, after a call of `wait`; CommandError if that fails."""
    _restore_environment(inherited.pid)
    # CPython ignores these two signals at its start. Only the C program knows whether they were ignored before.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    if callable(_signal.getsignal(_signal.SIGINT)):
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    for signum in inherited.ignored:
        _signal.signal(signum, _signal.SIG_IGN)
    if inherited.leads:  # pyinit could not continue the child before the exec, which removes the handlers
        for signum in SUSPEND_SIGNALS:
            if _signal.getsignal(signum) == _signal.SIG_DFL:
                _signal.signal(signum, lambda *_: None)
    wait()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, inherited.mask)
    _exec(words)


def _restore_environment(pyinit_pid: int) -> None:
    """Restore the environment that pyinit was started with, except for the variables that are not for the command."""
    posix.unsetenv(OWN_VARIABLE)  # --json-status-fd in it names a descriptor that a pyinit inside does not have
    for name, value in names_of_reader(posix.environ, pyinit_pid).items():
        if value:
            posix.putenv(name, value)
        else:
            posix.unsetenv(name)
    restore_locale()


def names_of_reader(environ: "Mapping[bytes, bytes]", old: int) -> dict[bytes, bytes]:
    """Return new values, for this process, of the variables that name the process `old` as their reader.

    A value is empty if it cannot be known. sd_listen_fds(3) and sd_watchdog_enabled(3) compare the variables with
    getpid(2) and with the inode of the reader's pidfd.
    """
    pid = b"%d" % posix.getpid()
    names = {name: pid for name in READERS if environ.get(name) == b"%d" % old}
    if b"LISTEN_PID" in names and b"LISTEN_PIDFDID" in environ:
        try:
            own = posix.pidfd_open(posix.getpid())
            names[b"LISTEN_PIDFDID"] = b"%d" % posix.fstat(own).st_ino
            posix.close(own)
        except (AttributeError, OSError):
            names[b"LISTEN_PIDFDID"] = b""
    return names


def restore_locale() -> None:
    """Restore the LC_CTYPE that pyinit was started with, in the environment."""
    environ = posix.environ
    # PEP 538: in the C locale CPython sets LC_CTYPE, also with -I, unless LC_ALL is set.
    if environ.get(b"LC_CTYPE") in (b"C.UTF-8", b"C.utf8", b"UTF-8") and not environ.get(b"LC_ALL"):
        original = _original_lc_ctype(environ)
        if original is None:
            posix.unsetenv(b"LC_CTYPE")
        else:
            posix.putenv(b"LC_CTYPE", original)


def _original_lc_ctype(environ: dict[bytes, bytes]) -> bytes | None:
    """Return the LC_CTYPE that pyinit was started with, or None; see proc_pid_environ(5)."""
    try:
        fd = posix.open("/proc/self/environ", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:  # no /proc: if it is the last variable, CPython has set it, because setenv(3) appends a new one
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
    """Execute a command as execvp(3) does; CommandError.

    If the name has no slash, search PATH. /bin/sh runs a script without a #! line. glibc goes on searching after
    EACCES, ENOENT, ENOTDIR and similar errors, and so does this. The error names the most useful reason: a file that is
    there and cannot be run is more useful than one that is not there.
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
    closed = ""  # a folder of PATH that this user may not search
    for path in paths:
        try:
            posix.execv(path, words)
        except OSError as error:
            import errno  # it costs 30 kB; only the child needs it, and seldom

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
    """Return why the kernel did not run a file that is there."""
    reason = error.strerror
    try:
        if isinstance(error, PermissionError):
            from _stat import S_ISDIR

            is_directory = S_ISDIR(posix.stat(path).st_mode)
            reason = "it is a directory" if is_directory else "permission denied (is it executable?)"
    except OSError:
        pass  # a directory above it is closed to this user: permission denied, as the kernel said
    return CommandError(NOT_RUNNABLE, f"{path}: {reason} (exit {NOT_RUNNABLE})")


def _is_hidden(path: str) -> bool:
    """Return whether a closed folder above `path` hides even whether `path` exists."""
    try:
        posix.stat(path)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _missing_interpreter(path: str) -> CommandError | None:
    """Return the error of a missing interpreter or loader, or None if `path` itself is missing.

    execve(2) returns ENOENT for both.
    """
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
    except OSError:  # the file may be executable, but not readable
        return b""
    with_interpreter = posix.read(fd, 256)
    posix.close(fd)
    return with_interpreter


def _exec_shell(path: str, words: list[str]) -> CommandError:
    """Have /bin/sh run a file that the kernel does not take for a program, as execvp(3) does. Return why that failed.

    A program for another kind of machine is not run.
    """
    if _first_bytes(path).startswith(b"\x7fELF"):
        return CommandError(NOT_RUNNABLE, f"{path}: a program for another kind of machine (exit {NOT_RUNNABLE})")
    try:
        posix.execv("/bin/sh", ["/bin/sh", path, *words[1:]])
    except OSError as error:
        return CommandError(NOT_RUNNABLE, f"{path}: no #! line, and /bin/sh: {error.strerror} (exit {NOT_RUNNABLE})")
