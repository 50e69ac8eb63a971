"""What the waiter is told to do with each signal, and what it says when it wakes pyinit up."""

import signal
from typing import Any

import pytest

from pyinit.request import Options, Woken
from pyinit.rest import IF_SENT, STOPS, WAKES, plan, plan_of_launcher

HUP, INT, QUIT, TERM, CHLD = signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD


def planned(*, has_child: bool = True, is_pid1: bool = True, **given: Any) -> list[int]:
    return plan(Options(**given), has_child=has_child, is_pid1=is_pid1)


def test_every_signal_is_delivered_as_it_is_and_stop_signals_are_remembered() -> None:
    orders = planned()
    assert len(orders) == signal.NSIG
    stops: dict[int, int] = {TERM: TERM | STOPS, INT: INT | STOPS, QUIT: QUIT | STOPS | WAKES, CHLD: CHLD | IF_SENT}
    assert orders == [stops.get(number, number) for number in range(signal.NSIG)]


def test_what_is_rewritten_is_delivered_so_and_what_is_dropped_is_not() -> None:
    orders = planned(rewrites={HUP: TERM, TERM: QUIT, INT: 0})
    assert orders[HUP] == TERM | STOPS
    assert orders[TERM] == QUIT | STOPS | WAKES, "a shell may ignore SIGQUIT"
    assert orders[INT] == 0


@pytest.mark.parametrize("given", [{"kill_after": 0.0}, {"scope": "group"}, {"scope": "all"}], ids=str)
def test_a_stop_signal_wakes_where_a_clock_starts_or_others_are_told(given: dict[str, Any]) -> None:
    orders = planned(**given)
    assert orders[TERM] == TERM | STOPS | WAKES
    assert orders[HUP] == HUP


def test_all_descendants_are_found_by_python_but_as_pid_1() -> None:
    assert planned(scope="all", is_pid1=False)[HUP] == HUP | WAKES
    assert planned(scope="all", is_pid1=True)[HUP] == HUP


def test_who_is_left_is_told_all_and_a_stop_signal_wakes() -> None:
    assert planned(wait_all=True, has_child=False, is_pid1=True)[HUP] == HUP
    assert planned(wait_all=True, has_child=False, is_pid1=False)[HUP] == HUP | WAKES
    assert planned(wait_all=True, has_child=False)[TERM] == TERM | STOPS | WAKES


def test_a_pause_ends_by_sigterm_and_sigint_alone() -> None:
    orders = planned(pause=True, has_child=False)
    assert {number for number in range(65) if orders[number] & ~IF_SENT} == {TERM, INT}
    assert orders[TERM] & WAKES
    assert planned(pause=True, has_child=False, rewrites={TERM: 0})[TERM] == 0


def test_the_launcher_forwards_everything_that_somebody_has_sent() -> None:
    assert all(order & 0x7F == number for number, order in enumerate(plan_of_launcher()))
    assert {n for n, order in enumerate(plan_of_launcher()) if order != n} == {CHLD, signal.SIGIO, signal.SIGRTMAX}


def test_the_word_says_what_has_happened() -> None:
    words = ["0000000a", "00000002", "00000010", "00000011", "00000001"]
    words += ["00000009", "0000000f", "00000001", "fffffffa", "00000003+"]
    woken = Woken("--woken=" + ",".join(words))
    assert (woken.role, woken.child, woken.group, woken.has_ended, woken.status) == (Woken.OUTER, 16, 17, True, 9)
    assert (woken.stop, woken.signal, woken.code, woken.sender) == (15, 1, -6, 3)


@pytest.mark.parametrize("word", ["--woken=", "--woken=a,2", "--woken=0000000b,", "--wok", "-v"])
def test_a_word_for_another_process_is_none(word: str) -> None:
    assert Woken.is_for("--woken=0000000a,", 10)
    assert not Woken.is_for(word, 10)
