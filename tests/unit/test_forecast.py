"""What pyinit-ps says that a pyinit would do, with a made family: its PIDs are above those that the kernel gives."""

import signal

import pytest

from pyinit.base import Options, orders
from pyinit.ps.forecast import Forecast, forecast
from pyinit.ps.inits import Init
from pyinit.ps.snapshot import Member, Waiting
from tests.unit.test_order import process

TERM, INT = signal.SIGTERM, signal.SIGINT
FIRST = 5_000_000  # the highest PID of the kernel is 4,194,304


def member(number: int, parent: int, *, ignored: int = 0, caught: int = 0, blocked: int = 0) -> Member:
    """A process; `ignored`, `caught` and `blocked` are signals."""
    shown = process(FIRST + number, parent=FIRST + parent, ignored=ignored, caught=caught, started=number)
    masks = [1 << (signum - 1) if signum else 0 for signum in (blocked, ignored, caught)]
    one = Member(shown, (FIRST + number,), "pid:[1]", 0, 1.0, f"p{number}", [f"p{number}"], *masks)
    shown.blocked = masks[0]
    one.waiting = Waiting(blocked=masks[0])
    return one


def coming(*family: Member, signum: int = TERM, **given: object) -> Forecast:
    """What happens to a family below a pyinit, whose first is the main child."""
    own = Options(**given)
    init = member(0, -1)
    order = orders(own)[signum]
    group = {one.pid: one for one in (init, *family)}
    return forecast(Init(init, "pyinit", signum, family[0], False, own, None, order), group, signum)


def numbers(some: list[Member]) -> list[int]:
    return [one.pid - FIRST for one in some]


def test_the_command_comes_first_then_what_it_leaves_then_what_that_leaves() -> None:
    seen = coming(member(1, 0), member(2, 1), member(3, 2, caught=TERM), member(4, 1))
    assert list(map(numbers, seen.rounds)) == [[1], [2, 4], [3]]
    assert [seen.killed, seen.endless, seen.heirs] == [[], [], []]


def test_what_ignores_the_signal_is_killed_after_the_grace_and_its_children_are_signalled() -> None:
    seen = coming(member(1, 0), member(2, 1, ignored=TERM), member(3, 2, caught=TERM))
    assert list(map(numbers, seen.rounds)) == [[1], [3]]
    assert numbers(seen.killed) == numbers(seen.unsignalled) == [2]
    assert seen.seconds == 5
    assert coming(member(1, 0), member(2, 1, ignored=TERM), grace=0.3).seconds == pytest.approx(0.3)


def test_what_blocks_the_signal_is_waited_for_without_end_unless_there_is_a_bound() -> None:
    family = member(1, 0), member(2, 1, blocked=TERM)
    assert numbers(coming(*family).endless) == [2]
    bounded = coming(*family, kill_after=3.0)
    assert (numbers(bounded.killed), bounded.unsignalled, bounded.endless) == ([2], [], [])


def test_without_a_grace_nothing_is_signalled_before_it_is_killed() -> None:
    seen = coming(member(1, 0), member(2, 1, caught=TERM), grace=0.0)
    assert (list(map(numbers, seen.rounds)), numbers(seen.unsignalled)) == ([[1]], [2])


def test_a_command_that_ignores_the_signal_has_heirs() -> None:
    seen = coming(member(1, 0, ignored=TERM), member(2, 1, caught=TERM), member(3, 1, ignored=TERM))
    assert numbers(seen.heirs) == [2]
    assert numbers(seen.killed) == [3]


def test_a_deep_tree_is_not_taken_for_one_without_end() -> None:
    seen = coming(*(member(number, number - 1) for number in range(1, 400)))
    assert [seen.killed, seen.endless] == [[], []]
    assert list(map(numbers, seen.rounds[:4])) == [[1], [2], [3], [4]]
