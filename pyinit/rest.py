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
from .policy import ENDS_PAUSE, NEVER_REPLACED
from .request import Woken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .policy import Policy
    from .request import Options

WAITER = f"{__path__[0]}/waiter"
# What to do with a signal, besides the number to deliver, and the flags: as in waiter.c.
STOPS, IF_SENT, WAKES = 0x80, 0x100, 0x200
GROUP, ALL, PAUSES, TELLS, BOUNDED = 1, 2, 4, 8, 16
SIGNALS = 65  # with the number 0
LONGEST_GRACE = 10**9  # tenths of a second
MOST_PATHS = 1024  # bytes


def plan(options: "Options", policy: "Policy", *, has_child: bool, is_pid1: bool) -> list[int]:
    """What the waiter has to do with each signal, as Init.act_on would; what takes thought wakes pyinit up.

    A stop signal does where it starts a clock, where it has to be noted when it came, because others are told than the
    main child alone, where the main child may be a shell that ignores it, and where there is no main child.
    """
    orders = [0]
    for signum in range(1, _signal.NSIG):
        order = outgoing = policy.forwarded(signum) or 0
        to_all = options.scope == "all" or not has_child
        if to_all and outgoing and not is_pid1:
            order |= WAKES
        if policy.stops(signum):
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


def own_argv() -> tuple[list[str], int]:
    """The words that this process was started with, without the waiter's, and where that goes: behind the script."""
    words = [word for word in sys.argv[:2] if not Woken.is_for(word, posix.getpid())] + sys.argv[2:]
    argv = sys.orig_argv[: -len(sys.argv)] + words
    return argv, len(argv) - len(words) + 1


def become_waiter(
    argv: tuple[list[str], int],
    script: str,
    orders: list[int],
    *,
    role: int,
    flags: int,
    child: int,
    group: int,
    status: int = 0,
    stop: int = 0,
    grace: float = 0,
) -> None:
    """Become the waiter, which shows `argv`, as own_argv() returns it, and wakes up as `script`, an absolute path.

    `orders` are for each signal; the others are as in waiter.c, but `grace` in seconds. Returns where that can't be
    done.
    """
    own = sys.modules["pyinit"].__file__ or ""
    needed = [sys.executable, script, sys.modules["encodings"].__file__ or "", own, own.replace("__init__.", "init.")]
    paths = "\0".join([*needed, "", ""]).encode(errors="surrogateescape")
    can_wake = all(path[:1] == "/" and posix.access(path, posix.R_OK) for path in needed)
    if not can_wake or len(paths) > MOST_PATHS or len(orders) != SIGNALS or not exists(WAITER):
        return
    if is_locked(0):  # to close it, if only for a moment, would release the lock
        return
    try:
        reader, writer = posix.pipe2(posix.O_CLOEXEC)
    except OSError:  # EMFILE
        return
    stdin = -1
    try:
        if reader:  # else stdin is closed, and its place was free
            stdin = posix.dup(0)
        tenths = min(int(grace * 10), LONGEST_GRACE)
        numbers = [role, flags, child, group, status, stop, tenths, argv[1], stdin]
        posix.write(writer, _packed(4, numbers) + _packed(2, orders) + paths)
        if reader:
            posix.set_inheritable(stdin, True)
            posix.dup2(reader, 0)
        else:
            posix.set_inheritable(0, True)
        posix.execv(WAITER, argv[0])
    except OSError:  # EMFILE; EACCES: mounted with noexec; ENOEXEC: another machine's
        pass
    if stdin >= 0:
        posix.dup2(stdin, 0)
    from .command import close

    for fd in (writer, reader, stdin):
        if fd >= 0:
            close(fd)


def is_locked(fd: int) -> bool:
    """Whether this process holds a POSIX lock on the file that `fd` is open for; see proc_pid_fdinfo(5)."""
    try:
        info = posix.open(f"/proc/self/fdinfo/{fd}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        return b" POSIX " in posix.read(info, 65536)
    finally:
        posix.close(info)


def exists(path: str) -> bool:
    """Whether there is such a file."""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def _packed(size: int, numbers: list[int]) -> bytes:
    return b"".join(number.to_bytes(size, sys.byteorder, signed=size == 4) for number in numbers)
