"""Signals to descendants, also to those that are not pyinit's own children.

pyinit does not reap such a process. So its PID may belong to another process before the signal gets there.
"""

import _signal
import posix

from . import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

MOST_WALKS = 100  # for the case that the process that forks runs as another user and cannot be stopped


def signal_descendants(signum: int) -> None:
    """Send `signum` to every descendant; as PID 1, at once to every process of the namespace. See kill(2).

    Raises NoProcError as proc.descendants() does, except as PID 1.
    """
    if proc.init() != 1:
        send(signum, proc.descendants())
        return
    try:
        posix.kill(-1, signum)
    except ProcessLookupError:
        pass  # the last one has just ended


def kill_descendants() -> None:
    """Send SIGKILL to every descendant, also to those that a fork bomb adds during the walk.

    pyinit first stops each process that it finds, until a walk finds no new one. A stopped process forks no more. A
    killed process would make room for the next one, if the number of processes is limited. As PID 1, pyinit needs no
    walk. Raises NoProcError as signal_descendants() does.
    """
    if proc.init() == 1:
        signal_descendants(_signal.SIGKILL)
        return
    stopped: set[int] = set()
    for _ in range(MOST_WALKS):
        fresh = [pid for pid in proc.descendants() if pid not in stopped]
        if not fresh:
            break
        send(_signal.SIGSTOP, fresh, stopped)
        stopped.update(fresh)
    send(_signal.SIGKILL, stopped, stopped)


def send(signum: int, pids: "Collection[int]", family: "Collection[int]" = ()) -> None:
    """Send `signum` to each of `pids` whose parent is still pyinit, one of `pids` or one of `family`.

    As PID 1, pyinit sends it to each of `pids`, because a namespace has no strangers in it, except for what came by
    `docker exec`. Otherwise only pyinit's own children keep their PIDs, until pyinit reaps them. The kernel may have
    given any other PID to a stranger since the walk. So pyinit pins that process by a pidfd, and looks at its parent
    again before it sends a signal. See pidfd_send_signal(2).
    """
    own, init = posix.getpid(), proc.init()
    parents = {init, *pids, *family}
    for pid in pids:
        parent = own if init == 1 else proc.parent(pid)
        try:
            if parent == own:
                posix.kill(pid, signum)
            elif parent in parents:
                _send_pinned(signum, pid, parents)
        except OSError:
            pass  # ESRCH: it has just ended; EPERM: it runs as another user


def _send_pinned(signum: int, pid: int, parents: "Collection[int]") -> None:
    """Send `signum` to `pid`, if its parent is one of `parents`."""
    try:
        pidfd = posix.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # a CPython built without it, Linux before 5.3, a filter: a short race remains
        posix.kill(pid, signum)
        return
    try:
        if proc.parent(pid) in parents:
            _signal.pidfd_send_signal(pidfd, signum)
    except ProcessLookupError:
        pass
    except (AttributeError, OSError):
        posix.kill(pid, signum)
    finally:
        posix.close(pidfd)
