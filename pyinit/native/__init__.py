"""The C program, pyinit.c: the orders that Python gives it, and the word that it and launch() give Python.

If there is an option, or if pyinit is a job of a shell, Python starts the command. If serves() says so, Python then
becomes the C program by execve(2), as the waiter. Children, blocked and pending signals, the subreaper bit and the
parent-death signal stay as they are. The waiter reads its orders from a pipe. The C program passes one word on Python's
command line, Told. That Python is an adviser, or it has to do the C program's work.
"""

import _signal
import posix
import sys

from ..base import GRACE, GROUP, OR_TERM, STOPS, orders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..base import Options

WAITER = f"{__path__[0]}/waiter"
WORD = "--told="
FLAGS = "-ISXutf8"  # isolate the interpreter, and take any file name; the same as in the script's line 1
# The `flags` of `struct orders` of pyinit.c; its `signals` are what base.orders() returns. shared.h passes these on.
PAUSES, BOUNDED, LEADS = 1, 2, 4
SIGNALS = 65  # number 0 counts too
LONGEST_GRACE = 10**9  # tenths of a second
MOST_PATHS = 1024  # bytes


class Told:
    """The word that the C program passes to Python, and that launch() passes to the pyinit that it becomes.

    `pid` is the process that the word is about.

    If `pid` is Python's parent, Python is its adviser. `child` is the command's process, or 0 if it has ended. `group`
    is the command's process group. `stop` is the stop signal that came in last, or 0. `is_deaf` says whether the
    command ignored what it got for that. `newest` says when its process group got it; see
    family.proc.newest(). `kill_at` is the deadline of -k, a time of monotonic(3) in seconds, or None.

    If `pid` is Python itself, `mask` is the signal mask that pyinit was started with. `ignored` holds SIGPIPE and
    SIGXFSZ if they were ignored then, because CPython ignores both at its own start. If `child` is 0, Python does the
    whole job. If `child` is Python itself, the C program could not execute the command, and Python tries. Any other
    `child` is a program that has launched itself.
    """

    __slots__ = ("child", "group", "ignored", "is_deaf", "kill_at", "mask", "newest", "pid", "stop")

    def __init__(self, word: str) -> None:
        """Parse `word`; ValueError."""
        numbers = [int(number) for number in word.removeprefix(WORD).split(",")]
        self.pid, mask, ignores_pipe, ignores_xfsz, self.child, self.group, self.stop, *rest = numbers
        deaf, time, newest, kill_at = rest
        self.kill_at = kill_at / 1000 if kill_at else None
        self.is_deaf = bool(deaf)
        self.newest = (time * posix.sysconf("SC_CLK_TCK") // 1000, newest) if time else None
        self.mask: set[int] = {signum for signum in _signal.valid_signals() if mask >> (signum - 1) & 1}
        ignored = {_signal.SIGPIPE: ignores_pipe, _signal.SIGXFSZ: ignores_xfsz}
        self.ignored = [signum for signum, is_ignored in ignored.items() if is_ignored]

    @property
    def is_for_command(self) -> bool:
        """Return whether this process is the command's, and has to execute it."""
        return self.child == self.pid == posix.getpid()

    @property
    def is_for_adviser(self) -> bool:
        """Return whether this process advises its parent."""
        return self.pid == posix.getppid() != posix.getpid()

    @staticmethod
    def word(pid: int, *, child: int, group: int) -> str:
        """Return the word that launch() passes to the pyinit that it becomes.

        That pyinit does not execute the command, so it does not need the signal mask.
        """
        return f"{WORD}{pid},0,1,1,{child},{group},0,0,0,0,0"


def told(words: list[str]) -> Told | None:
    """Remove the C program's word from the front of `words`, and return it, or None if there is none.

    Whoever made this process, or was it before, knows its PID. A word with another PID is somebody else's, and stays.
    """
    try:
        found = Told(words[0])
    except ValueError:
        return None
    if found.pid not in (posix.getpid(), posix.getppid()):
        return None
    del words[0]
    return found


def serves(options: "Options") -> bool:
    """Return whether the C program can wait with these options.

    The C program forwards signals to the command alone, and SIGINT to its process group. It prints only errors.
    """
    return (
        options.scope in ("", "child") and not options.wait_all and not options.warn_on_reap and options.verbosity <= 0
    )


class Waiter:
    """The C program that this process may become, prepared as far as possible before there is a command.

    `words` are pyinit's arguments. ps(1) shows them, and an adviser reads them. `script` is the script that starts an
    adviser.

    `pid_one` is 0 without -n. With -n it is PID 1 of the command's namespace. If it is 1, that is this process.
    Otherwise it is another process, which gets every signal and applies the options.

    `leads` says whether this process leads the session of a terminal.
    """

    __slots__ = ("drain", "flags", "grace", "is_possible", "pid_one", "status_fd", "tail", "words")

    def __init__(self, options: "Options", words: list[str], script: str, pid_one: int = 0, *, leads: bool) -> None:
        self.words = ["pyinit", *words]
        self.pid_one, self.status_fd = pid_one, options.status_fd
        signals = orders(options)
        if pid_one > 1:
            signals = [order & ~(STOPS | OR_TERM | GROUP) for order in signals]
        self.flags = (PAUSES if options.pause else 0) | (BOUNDED if options.kill_after is not None else 0)
        self.flags |= LEADS if leads else 0
        grace = next(bound for bound in (options.kill_after, options.grace, GRACE) if bound is not None)
        self.grace = min(int(grace * 10), LONGEST_GRACE)
        self.drain = -1 if options.grace is None else min(int(options.grace * 10), LONGEST_GRACE)
        # Encode the paths as the file system does. In a program that launches itself, that is the locale's encoding.
        python = getattr(sys, "_base_executable", sys.executable)  # it starts faster than the python of a venv
        paths = f"{python}\0{script}\0".encode(sys.getfilesystemencoding(), "surrogateescape")
        statuses = bytes(0 if status in options.remapped else status for status in range(256))
        self.tail = b"".join([_packed(2, signals), statuses, paths])
        self.is_possible = script[:1] == "/" and len(paths) <= MOST_PATHS and len(signals) == SIGNALS and exists(WAITER)

    def become(self, child: int) -> None:
        """Become the C program for a command that runs as `child`, or 0 for --pause. Return if that is not possible."""
        if not self.is_possible or locked([0]):  # closing stdin would release the lock; see F_SETLK in fcntl(2)
            return
        try:
            reader, writer = posix.pipe2(posix.O_CLOEXEC)
        except OSError:  # EMFILE
            return
        stdin, survives = -1, False
        try:
            if reader:  # 0 means that stdin was closed, and the pipe has taken its place
                stdin, survives = posix.dup(0), posix.get_inheritable(0)
            head = _packed(4, [child, self.pid_one, self.flags, self.grace, self.drain, self.status_fd, stdin])
            posix.write(writer, head + self.tail)
            if reader:
                posix.set_inheritable(stdin, True)
                posix.dup2(reader, 0)
            else:
                posix.set_inheritable(0, True)
            posix.execv(WAITER, self.words)
        except OSError:  # EMFILE; EACCES: mounted with noexec; ENOEXEC: built for another kind of machine
            pass
        finally:
            if stdin >= 0:
                posix.dup2(stdin, 0, survives)
                posix.close(stdin)
            posix.close(reader)
            posix.close(writer)


def works() -> bool:
    """Return whether the kernel can execute the C program here.

    It must have been built, for this machine, and its file system must not be mounted with noexec.
    """
    try:
        pid = posix.posix_spawn(WAITER, ["pyinit"], {}, file_actions=[(posix.POSIX_SPAWN_CLOSE, 0)])
        return posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1]) >= 0  # without orders it ends at once
    except OSError:
        return False


def exists(path: str) -> bool:
    """Return whether there is a file `path`."""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def inheritable() -> list[int]:
    """Return the descriptors above 2 that survive execve(2), among them those that pyinit was started with.

    Without /proc this finds only descriptors below 4096.
    """
    return [fd for fd in _descriptors() if fd > 2 and is_inheritable(fd)]


def _descriptors() -> "Iterable[int]":
    """Return the descriptors of this process; without /proc, those below 4096, open or not."""
    try:
        return [int(name) for name in posix.listdir("/proc/self/fd")]
    except OSError:
        return range(min(posix.sysconf("SC_OPEN_MAX"), 4096))


def is_inheritable(fd: int) -> bool:
    """Return whether `fd` is open and survives execve(2)."""
    try:
        return posix.get_inheritable(fd)
    except OSError:
        return False


def locked(fds: "Iterable[int]") -> list[int]:
    """Return those of `fds` that are open for a file of which this process holds a POSIX lock.

    The kernel releases the lock as soon as the process closes any descriptor of the file. It shows the lock with the
    descriptor that made it; see proc_pid_fdinfo(5). proc_locks(5) shows all locks, but on an overlay or on btrfs it may
    name a file by another device than stat(2) does.
    """
    files = {fd: found for fd in fds if (found := _file(fd))}
    if not files:
        return []
    held = {_file(fd) for fd in _descriptors() if _has_made_a_lock(fd)}
    return [fd for fd, found in files.items() if found in held]


def _has_made_a_lock(fd: int) -> bool:
    try:
        shown = posix.open(f"/proc/self/fdinfo/{fd}", posix.O_RDONLY | posix.O_CLOEXEC)
        begin = posix.read(shown, 4096)
        posix.close(shown)
    except OSError:
        return False
    return b" POSIX " in begin


def _file(fd: int) -> tuple[int, int] | None:
    """Return the device and the inode of the regular file that `fd` is open for, or None if it is no regular file."""
    from _stat import S_ISREG

    try:
        found = posix.fstat(fd)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if S_ISREG(found.st_mode) else None


def _packed(size: int, numbers: list[int]) -> bytes:
    return b"".join(number.to_bytes(size, sys.byteorder, signed=size == 4) for number in numbers)
