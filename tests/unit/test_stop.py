"""The life of a stop, cell by cell, with no process and no clock in it."""

import signal

import pytest

from pyinit.base import GRACE
from pyinit.stop import DRAINING, KILLING, RUNNING, STOPPING, WAITING, Stop

TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


def stop_in(phase: str, *, asked: bool = False, grace: float | None = None, kill_after: float | None = None) -> Stop:
    """A stop that is in `phase`: whatever led there happened at 100."""
    stop = Stop(grace=grace, kill_after=kill_after, wait_all=phase == WAITING)
    if phase == STOPPING or asked:
        stop.ask(TERM, 100)
    if phase in (WAITING, DRAINING, KILLING):
        stop.main_child_ended(100)
    if phase == KILLING:
        stop.expire()
    assert stop.phase == phase
    return stop


@pytest.mark.parametrize(
    ("phase", "asked", "then"),
    [
        (RUNNING, False, STOPPING),
        (STOPPING, True, STOPPING),
        (WAITING, False, DRAINING),
        (DRAINING, False, DRAINING),
        (DRAINING, True, DRAINING),
        (KILLING, False, KILLING),
        (KILLING, True, KILLING),
    ],
)
def test_a_stop_signal(phase: str, asked: bool, then: str) -> None:
    stop = stop_in(phase, asked=asked)
    stop.ask(QUIT, 101)
    assert (stop.phase, stop.signum) == (then, QUIT)


@pytest.mark.parametrize(("phase", "then"), [(RUNNING, DRAINING), (STOPPING, DRAINING), (KILLING, KILLING)])
def test_the_main_childs_end(phase: str, then: str) -> None:
    stop = stop_in(phase)
    stop.main_child_ended(101)
    assert stop.phase == then


def test_with_wait_all_nobody_is_told_at_the_main_childs_end_unless_a_stop_signal_had_come() -> None:
    assert stop_in(WAITING).deadline() is None
    stop = Stop(wait_all=True)
    stop.ask(TERM, 100)
    stop.main_child_ended(101)
    assert stop.phase == DRAINING


@pytest.mark.parametrize("asked", [False, True])
def test_without_a_grace_there_is_no_draining(asked: bool) -> None:
    stop = Stop(grace=0)
    if asked:
        stop.ask(TERM, 100)
    stop.main_child_ended(101)
    assert stop.phase == KILLING


def test_nothing_is_bounded_before_somebody_asks() -> None:
    assert stop_in(RUNNING, grace=1, kill_after=1).deadline() is None
    assert stop_in(STOPPING, grace=1).deadline() is None


def test_a_drain_that_nobody_asked_for_has_the_grace() -> None:
    assert stop_in(DRAINING).deadline() == 100 + GRACE
    assert stop_in(DRAINING, grace=7).deadline() == 107


def test_whoever_asks_sets_the_bound_unless_a_grace_was_given() -> None:
    assert stop_in(DRAINING, asked=True).deadline() is None
    assert stop_in(DRAINING, asked=True, grace=7).deadline() == 107


def test_a_first_stop_signal_in_a_drain_lifts_the_bound() -> None:
    stop = stop_in(DRAINING)
    stop.ask(TERM, 102)
    assert (stop.phase, stop.deadline()) == (DRAINING, None)
    assert stop.grace_over == 100 + GRACE


@pytest.mark.parametrize(
    ("before", "then", "phase"),
    [
        ([INT], [INT], KILLING),
        ([], [INT, INT], KILLING),
        ([INT, TERM], [INT], DRAINING),
        ([TERM], [TERM, TERM, QUIT, INT], DRAINING),
        ([TERM], [INT, TERM, INT, INT], KILLING),
    ],
)
def test_a_second_ctrl_c_in_a_drain_means_now(before: list[int], then: list[int], phase: str) -> None:
    stop = Stop()
    for signum in before:
        stop.ask(signum, 100)
    stop.main_child_ended(100)
    for signum in then:
        stop.ask(signum, 101)
    assert stop.phase == phase


@pytest.mark.parametrize(("signum", "survived", "then"), [(QUIT, 4.9, QUIT), (QUIT, 5.0, TERM), (TERM, 3600.0, TERM)])
def test_a_sigquit_that_the_main_child_survives_is_no_stop_signal(signum: int, survived: float, then: int) -> None:
    """A JVM dumps its threads, and the drain begins later and by itself."""
    stop = Stop()
    stop.ask(signum, 100)
    stop.main_child_ended(100 + survived)
    assert stop.phase == DRAINING
    assert (stop.drain_signal(), stop.deadline()) == (then, 105 + survived if (signum, then) == (QUIT, TERM) else None)


def test_ctrl_c_is_what_comes_in_not_what_it_is_rewritten_to() -> None:
    stop = stop_in(DRAINING)
    stop.ask(TERM, 101, INT)
    stop.ask(TERM, 101, INT)
    assert stop.phase == KILLING
    stop = stop_in(DRAINING)
    stop.ask(INT, 101, TERM)
    stop.ask(INT, 101, TERM)
    assert stop.phase == DRAINING


def test_kill_after_counts_from_the_first_stop_signal_whenever_that_comes() -> None:
    stop = stop_in(STOPPING, kill_after=3)
    stop.ask(TERM, 102)
    assert stop.deadline() == 103
    stop.main_child_ended(102.5)
    assert stop.deadline() == 103
    stop = stop_in(DRAINING, kill_after=3)
    assert stop.deadline() == 100 + GRACE
    stop.ask(INT, 101)
    assert stop.deadline() == 104
    stop = stop_in(WAITING, kill_after=3)
    assert stop.deadline() is None
    stop.ask(TERM, 200)
    assert stop.deadline() == 203


def test_the_earlier_of_two_bounds_holds() -> None:
    assert stop_in(DRAINING, asked=True, grace=7, kill_after=3).deadline() == 103
    assert stop_in(DRAINING, asked=True, grace=2, kill_after=3).deadline() == 102


@pytest.mark.parametrize("phase", [STOPPING, DRAINING])
def test_the_deadline_ends_everything(phase: str) -> None:
    stop = stop_in(phase, asked=True, kill_after=1)
    stop.expire()
    assert (stop.phase, stop.deadline()) == (KILLING, None)


@pytest.mark.parametrize(
    ("came", "told"),
    [((), TERM), ((TERM,), TERM), ((INT,), INT), ((QUIT,), QUIT), ((TERM, signal.SIGUSR1), signal.SIGUSR1)],
)
def test_what_is_left_is_told_as_the_command_was(came: tuple[int, ...], told: int) -> None:
    stop = Stop()
    for signum in came:
        stop.ask(signum, 100)
    assert stop.drain_signal() == told


def test_the_last_call_is_a_second_before_the_deadline_or_halfway() -> None:
    assert stop_in(DRAINING).last_call() == 100 + GRACE - 1
    assert stop_in(DRAINING, grace=1).last_call() == 100.5
    assert stop_in(DRAINING, asked=True, kill_after=0.2).last_call() == 100.1
    assert stop_in(DRAINING, asked=True).last_call() is None
