"""Starts the command: its process group, the terminal, signals, environment, exec.

Called by init, once, and by launcher, whose command is the inner pyinit. The child must find everything as it was when
pyinit was started; what CPython changes at its own start is undone here.
"""

import _signal
import posix

from .request import NOT_FOUND, NOT_RUNNABLE, OWN_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

PATH_MAX = 4096  # <linux/limits.h>: where execvp(3) passes over a longer directory
LONGEST_REPORT = 4096  # PIPE_BUF: written to a pipe at once or not at all; see pipe(7)


class CommandError(Exception):
    """The command could not be started: `status` is the exit status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Caller:
    """How pyinit was started: what its child must find again."""

    __slots__ = ("foreground", "ignored_sigchld", "mask", "pid", "terminal")

    def __init__(self, mask: set[int]) -> None:
        self.mask = mask & _signal.valid_signals()  # 32 and 33 are the C library's own
        self.pid = posix.getpid()
        self.ignored_sigchld = _signal.getsignal(_signal.SIGCHLD) == _signal.SIG_IGN
        self.terminal = _controlling_terminal()
        self.foreground = self.terminal is not None and _in_foreground(self.terminal)
        if self.ignored_sigchld:  # the kernel would reap in pyinit's stead, and throw the exit status away
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)


def _controlling_terminal() -> int | None:
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


def _in_foreground(terminal: int) -> bool:
    """Whether this process is in the terminal's foreground process group."""
    try:
        if posix.getpgrp():
            return posix.tcgetpgrp(terminal) == posix.getpgrp()
        # PID 1 of a namespace in whose parent the group lies: both are 0 then, wherever the terminal is. A read of
        # nothing tells: SIGTTIN is blocked, so it is EIO in the background. See tcgetpgrp(3), pid_namespaces(7).
        probe = posix.open("/dev/tty", posix.O_RDONLY | posix.O_NOCTTY | posix.O_CLOEXEC | posix.O_NONBLOCK)
        try:
            posix.read(probe, 0)
        finally:
            posix.close(probe)
    except BlockingIOError:
        pass  # somebody else of the foreground group is reading
    except OSError:
        return False
    return True


def start(caller: Caller, run: "Callable[[int, int], NoReturn]", stopped: "Callable[[int, int], None]") -> int:
    """Fork a child in a process group of its own and have it call `run`, which execs; return its PID.

    `run` is called with pyinit's process group and a descriptor that the exec closes. Returns then, so that no signal
    is ever forwarded to a copy of pyinit. A child that has the terminal may be stopped by Ctrl-Z before: `stopped` is
    called with its PID and the signal, and must continue it. CommandError where fork(2) or the exec failed; nothing is
    left of the child then.
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
        _child(run, child_end)
    posix.close(child_end)
    if caller.foreground:
        _watch_for_stop(pid, report_end, stopped)
    report = posix.read(report_end, LONGEST_REPORT)  # the exec closes the other end
    posix.close(report_end)
    if report:
        posix.waitpid(pid, 0)
        status, _, reason = report.decode(errors="surrogateescape").partition(" ")
        raise CommandError(int(status), reason)
    return pid


def _watch_for_stop(pid: int, report_end: int, stopped: "Callable[[int, int], None]") -> None:
    """Return when the report is there, or its end; until then nobody else would see that the child is stopped."""
    import select

    poll = select.poll()
    poll.register(report_end)
    while not poll.poll(50):
        siginfo = posix.waitid(posix.P_PID, pid, posix.WSTOPPED | posix.WNOHANG)
        if siginfo:
            stopped(pid, siginfo.si_status)


def _child(run: "Callable[[int, int], NoReturn]", report_fd: int) -> "NoReturn":
    """In the child: never returns, whatever happens."""
    try:
        pyinit_group = posix.getpgrp()
        posix.setpgid(0, 0)
        run(pyinit_group, report_fd)
    except CommandError as error:
        report = f"{error.status} {error}"
    except BaseException as error:
        report = f"{OWN_ERROR} {type(error).__name__}: {error}"
    posix.write(report_fd, report.encode(errors="surrogateescape")[:LONGEST_REPORT])
    posix._exit(OWN_ERROR)


def take_terminal(caller: Caller, pyinit_group: int) -> None:
    """In the child: have its process group be the foreground group, unless Ctrl-Z has made that the shell's again."""
    if caller.foreground and caller.terminal is not None:
        from .terminal import move

        move(caller.terminal, pyinit_group, posix.getpgrp())


def exec_command(caller: Caller, words: list[str]) -> "NoReturn":
    """Turn this child into the command. CommandError where that can't be done."""
    _restore_environment(caller.pid)
    # CPython ignores these two at its start. Whether they were ignored before cannot be known any more.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    if callable(_signal.getsignal(_signal.SIGINT)):
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    if caller.ignored_sigchld:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, caller.mask)
    _exec(words)


def _restore_environment(pyinit_pid: int) -> None:
    """Make the environment what it was when pyinit was started, but for two variables that name its reader.

    sd_listen_fds(3) and sd_watchdog_enabled(3) compare them with getpid(2).
    """
    environ = posix.environ
    for name in (b"LISTEN_PID", b"WATCHDOG_PID"):
        if environ.get(name) == b"%d" % pyinit_pid:
            posix.putenv(name, b"%d" % posix.getpid())
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
            failure = failure or _not_runnable(path, error)
            if error.errno not in (errno.EACCES, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT):
                break
    where = "" if "/" in name else " in PATH"
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
