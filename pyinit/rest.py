"""Rest: pyinit becomes the waiter, a small program in its place, and that becomes pyinit again.

Called by init and launcher when the command runs and nothing has happened for a moment, and by program at once.
execve(2) leaves children, blocked and pending signals, the subreaper bit and the parent-death signal as they are. What
the waiter has to know is in `struct orders` of waiter.c, and what it says when it wakes pyinit up is a Woken. Where it
was not built or can't be started, pyinit stays what it is.
"""

import _signal
import posix
import sys

from . import __path__
from .request import ENDS_PAUSE, GRACE, NEVER_REPLACED, Woken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .request import Options

WAITER = f"{__path__[0]}/waiter"
# What to do with a signal, besides the number to deliver, and the flags: as in waiter.c.
STOPS, IF_SENT, WAKES = 0x80, 0x100, 0x200
GROUP, ALL, PAUSES, TELLS, BOUNDED = 1, 2, 4, 8, 16
SIGNALS = 65  # with the number 0
LONGEST_GRACE = 10**9  # tenths of a second
MOST_PATHS = 1024  # bytes


def plan(options: "Options", *, has_child: bool, is_pid1: bool) -> list[int]:
    """What the waiter has to do with each signal, as Init.act_on would; what takes thought wakes pyinit up.

    A stop signal does where it starts a clock, where it has to be noted when it came, because others are told than the
    main child alone, where the main child may be a shell that ignores it, and where there is no main child.
    """
    orders = [0]
    for signum in range(1, _signal.NSIG):
        order = outgoing = options.forwarded(signum) or 0
        to_all = options.scope == "all" or not has_child
        if to_all and outgoing and not is_pid1:
            order |= WAKES
        if options.stops(signum):
            order |= STOPS
            if to_all or options.scope == "group" or options.kill_after is not None or outgoing not in NEVER_REPLACED:
                order |= WAKES
        if options.pause and not (signum in ENDS_PAUSE and order & STOPS):
            order = 0
        orders.append(order | (IF_SENT if signum == _signal.SIGCHLD else 0))
    return orders


def plan_of_launcher() -> list[int]:
    """The same for the launcher: everything goes to the inner pyinit as it is, but what the kernel says of that."""
    own = (_signal.SIGCHLD, _signal.SIGIO, _signal.SIGRTMAX)
    return [signum | (IF_SENT if signum in own else 0) for signum in range(_signal.NSIG)]


def flags(options: "Options", *, has_child: bool, pauses: bool = False) -> int:
    """To whom the waiter sends signals, and what ends the rest."""
    found = {"group": GROUP, "all": ALL}.get(options.scope, 0)
    if not has_child:
        found = PAUSES if pauses else ALL
    if options.kill_after is not None:
        found |= BOUNDED
    if options.remapped or options.status_fd >= 0 or options.verbosity > 0:
        found |= TELLS
    return found


def waiter_for(
    options: "Options",
    argv: tuple[list[str], int],
    script: str,
    *,
    role: int,
    has_child: bool = True,
    pauses: bool = False,
    status: int = 0,
    stop: int = 0,
) -> "Waiter":
    """The waiter that does as these options say; the others are as in Waiter."""
    return Waiter(
        argv,
        script,
        plan(options, has_child=has_child, is_pid1=posix.getpid() == 1),
        role=role,
        flags=flags(options, has_child=has_child, pauses=pauses),
        status=status,
        stop=stop,
        grace=next(bound for bound in (options.kill_after, options.grace, GRACE) if bound is not None),
    )


def own_argv() -> tuple[list[str], int]:
    """The words that this process was started with, without the waiter's, and where that goes: behind the script."""
    words = [word for word in sys.argv[:2] if not Woken.is_for(word, posix.getpid())] + sys.argv[2:]
    argv = sys.orig_argv[: -len(sys.argv)] + words
    return argv, len(argv) - len(words) + 1


class Waiter:
    """The waiter that this process may become; the arguments are as in waiter.c, but `grace` in seconds."""

    __slots__ = ("after", "argv", "before", "needed", "orders", "paths")

    def __init__(
        self,
        argv: tuple[list[str], int],
        script: str,
        orders: list[int],
        *,
        role: int,
        flags: int,
        status: int = 0,
        stop: int = 0,
        grace: float = 0,
    ) -> None:
        """It shows `argv`, as own_argv() returns it, and wakes up as `script`; `orders` are for each signal."""
        own = sys.modules["pyinit"].__file__ or ""
        encodings = sys.modules["encodings"].__file__ or ""
        self.needed = [sys.executable, script, encodings, own, own.replace("__init__.", "init.")]
        # As the file system has it: of a program that launches itself the encoding is the locale's.
        self.paths = "\0".join([*self.needed, "", ""]).encode(sys.getfilesystemencoding(), "surrogateescape")
        self.argv, position = argv
        self.before = _packed(4, [role, flags])
        self.after = _packed(4, [status, stop, min(int(grace * 10), LONGEST_GRACE), position])
        self.orders = _packed(2, orders)

    def is_possible(self) -> bool:
        """Whether it was built, and can wake up again. Not where stdin is locked: to close it would release that."""
        return (
            all(path[:1] == "/" and posix.access(path, posix.R_OK) for path in self.needed)
            and len(self.paths) <= MOST_PATHS
            and len(self.orders) == 2 * SIGNALS
            and exists(WAITER)
            and not is_locked(0)
        )

    def become(self, child: int, group: int) -> None:
        """Become the waiter for the main child, and the group that it was started in. Returns where that can't be."""
        try:
            reader, writer = posix.pipe2(posix.O_CLOEXEC)
        except OSError:  # EMFILE
            return
        stdin, survives = -1, False
        try:
            if reader:  # else stdin is closed, and its place was free
                stdin, survives = posix.dup(0), posix.get_inheritable(0)
            parts = self.before, _packed(4, [child, group]), self.after, _packed(4, [stdin]), self.orders, self.paths
            posix.write(writer, b"".join(parts))
            if reader:
                posix.set_inheritable(stdin, True)
                posix.dup2(reader, 0)
            else:
                posix.set_inheritable(0, True)
            posix.execv(WAITER, self.argv)
        except OSError:  # EMFILE; EACCES: mounted with noexec; ENOEXEC: another machine's
            pass
        finally:
            if stdin >= 0:
                posix.dup2(stdin, 0, survives)
                posix.close(stdin)
            posix.close(reader)
            posix.close(writer)


def exists(path: str) -> bool:
    """Whether there is such a file."""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def inheritable() -> list[int]:
    """The descriptors above 2 that survive execve(2), as those do that pyinit was started with.

    Without /proc as far as 4096.
    """
    try:
        fds = [int(name) for name in posix.listdir("/proc/self/fd")]
    except OSError:
        fds = list(range(min(posix.sysconf("SC_OPEN_MAX"), 4096)))
    return [fd for fd in fds if fd > 2 and is_inheritable(fd)]


def is_inheritable(fd: int) -> bool:
    """Whether `fd` is open, and survives execve(2)."""
    try:
        return posix.get_inheritable(fd)
    except OSError:
        return False


def is_locked(fd: int) -> bool:
    """Whether this process holds a POSIX lock on the file that `fd` is open for; see proc_pid_fdinfo(5)."""
    try:
        info = posix.open(f"/proc/self/fdinfo/{fd}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        return b" POSIX " in posix.read(info, 4096)
    finally:
        posix.close(info)


def _packed(size: int, numbers: list[int]) -> bytes:
    return b"".join(number.to_bytes(size, sys.byteorder, signed=size == 4) for number in numbers)
