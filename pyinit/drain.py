"""The drain: what happens to the processes that the command left behind.

Called by init, when its main child has ended and others have not.
"""

from time import monotonic

from . import log, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from .init import Init
else:
    import _signal

CANNOT_DIE = 2.0  # seconds without a death after SIGKILL: what is left is in the kernel's hands, state D
KILL_AGAIN = 0.05  # seconds between two rounds of SIGKILL
MOST_NAMES = 10  # in one message


def drain(init: "Init") -> None:
    """Let what is left end, then make it.

    With --wait-all, wait until a stop signal comes. Then SIGTERM, and SIGCONT because a stopped process cannot act on
    it; then, when the grace is over or a stop signal ends it, SIGKILL until nothing is left. A process forked by one
    that was about to die is met by the next round.
    """
    began = monotonic()
    if log.level >= log.INFO:
        _tell_who_is_left(init)
    gone = init.options.wait_all and _outlasted(init, None)
    if not gone and init.options.grace:
        init.signal_descendants(_signal.SIGTERM, _signal.SIGCONT)
        gone = _outlasted(init, monotonic() + init.options.grace)
    if not gone:
        _kill_all(init)
    log.info(f"drained in {monotonic() - began:.2f} s")


def _outlasted(init: "Init", deadline: float | None) -> bool:
    """Reap and forward until no child is left (true), the deadline passes, or a stop signal comes (false)."""
    while not init.childless:
        siginfo = init.next_signal(deadline)
        if siginfo is None or init.policy.stops(siginfo.si_signo):
            return False
        outgoing = init.policy.forwarded(siginfo.si_signo)
        if outgoing and not init.takes(siginfo):
            init.signal_descendants(outgoing)
        init.reap()
    return True


def _kill_all(init: "Init") -> None:
    """SIGKILL, again and again, until no child is left or what is left cannot die."""
    give_up = monotonic() + CANNOT_DIE
    while monotonic() < give_up:
        reaped = init.reaped
        init.kill_descendants()
        if _outlasted(init, monotonic() + KILL_AGAIN):
            return
        if init.reaped > reaped:
            give_up = monotonic() + CANNOT_DIE
    left = ", ".join(f"{pid} ({name}, state {state})" for pid, name, state in _who_is_left()[:MOST_NAMES])
    log.warning(f"left behind, because SIGKILL does not end it: PID {left or 'unknown'}")


def _tell_who_is_left(init: "Init") -> None:
    """With -v."""
    init.names = {pid: name for pid, name, _ in _who_is_left()}
    few = ", ".join(f"{pid} ({name})" for pid, name in list(init.names.items())[:MOST_NAMES])
    log.info(f"still there: {len(init.names)}: PID {few}{', ...' if len(init.names) > MOST_NAMES else ''}")


def _who_is_left() -> list[tuple[int, str, str]]:
    """PID, name and state of the living descendants; none where there is no /proc."""
    try:
        everyone = [(pid, processes.name(pid), processes.state(pid)) for pid in processes.descendants()]
    except processes.NoProcError:
        return []
    return [(pid, name, state) for pid, name, state in everyone if state not in "ZX"]
