"""Signals to processes that are not pyinit's children, whose PIDs may be somebody else's before the signal gets there.

Called by drain, and by targets for --scope all and --kill-after.
"""

import _signal
import posix

from . import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MOST_WALKS = 100  # where what forks runs as another user and cannot be stopped


def signal_descendants(signums: "Iterable[int]") -> None:
    """Send the signals to every descendant: as PID 1, at once, to every process of the namespace. See kill(2).

    NoProcError as in proc.descendants(), but not as PID 1.
    """
    if proc.init() != 1:
        send(signums, proc.descendants())
        return
    for signum in signums:
        try:
            posix.kill(-1, signum)
        except ProcessLookupError:
            pass  # the last one has just ended


def kill_descendants() -> None:
    """SIGKILL for every descendant, those included that a fork bomb adds during the walk; NoProcError as above.

    Whoever is found is stopped first, until a walk finds nobody new: a stopped process forks no more, while one that is
    killed makes room for the next where the number of processes is bounded.
    """
    if proc.init() == 1:
        signal_descendants((_signal.SIGKILL,))
        return
    stopped: set[int] = set()
    for _ in range(MOST_WALKS):
        fresh = [pid for pid in proc.descendants() if pid not in stopped]
        if not fresh:
            break
        send([_signal.SIGSTOP], fresh, stopped)
        stopped.update(fresh)
    send([_signal.SIGKILL], stopped, stopped)


def send(signums: "Iterable[int]", pids: "Collection[int]", family: "Collection[int]" = ()) -> None:
    """Send the signals to each of `pids` whose parent is still one of them, of `family`, or pyinit.

    As PID 1 to each of them: a namespace has no strangers in it. Elsewhere only pyinit's own children keep their PIDs
    until pyinit reaps them. Any other PID may have been given to a stranger since the walk, so that process is pinned
    by a pidfd and its parent looked at again before it gets a signal. See pidfd_send_signal(2).
    """
    own, init = posix.getpid(), proc.init()
    parents = {init, *pids, *family}
    for pid in pids:
        parent = own if init == 1 else proc.parent(pid)
        try:
            if parent == own:
                for signum in signums:
                    posix.kill(pid, signum)
            elif parent in parents:
                _send_pinned(signums, pid, parents)
        except OSError:
            pass  # ESRCH: it has just ended; EPERM: it runs as another user


def _send_pinned(signums: "Iterable[int]", pid: int, parents: "Collection[int]") -> None:
    """Send the signals to `pid`, or to nobody if its parent is none of `parents`."""
    try:
        pidfd = posix.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # a CPython built without it, Linux before 5.3, a filter: left is a short race
        for signum in signums:
            posix.kill(pid, signum)
        return
    try:
        if proc.parent(pid) in parents:
            for signum in signums:
                try:
                    _signal.pidfd_send_signal(pidfd, signum)
                except ProcessLookupError:
                    return
                except (AttributeError, OSError):
                    posix.kill(pid, signum)
    finally:
        posix.close(pidfd)
