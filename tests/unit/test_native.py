"""What the C program is told to do with each signal, whom it serves, and what it tells Python."""

import os
import signal
from typing import Any

import pytest

from pyinit.base import GROUP, IF_SENT, OR_TERM, STOPS, Options, orders
from pyinit.native import Told, serves, told
from pyinit.stop.adviser import Adviser

HUP, INT, QUIT, TERM, CHLD = signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD


def test_every_signal_is_delivered_as_it_is_and_stop_signals_are_remembered() -> None:
    plan = orders(Options())
    assert len(plan) == signal.NSIG
    stops: dict[int, int] = {
        TERM: TERM | STOPS | OR_TERM,
        INT: INT | STOPS | GROUP,
        QUIT: QUIT | STOPS | OR_TERM,
        CHLD: CHLD | IF_SENT,
    }
    assert plan == [stops.get(number, number) for number in range(signal.NSIG)]


def test_what_is_rewritten_is_delivered_so_and_what_is_dropped_is_not() -> None:
    plan = orders(Options(rewrites={HUP: TERM, TERM: QUIT, INT: 0}))
    assert plan[HUP] == TERM | STOPS | OR_TERM
    assert plan[TERM] == QUIT | STOPS | OR_TERM, "a shell may ignore SIGQUIT"
    assert plan[INT] == 0


def test_a_pause_ends_by_sigterm_and_sigint_alone() -> None:
    plan = orders(Options(pause=True))
    assert {number for number in range(65) if plan[number] & ~IF_SENT} == {TERM, INT}
    assert orders(Options(pause=True, rewrites={TERM: 0}))[TERM] == 0


@pytest.mark.parametrize(
    "given",
    [
        {"scope": "group"},
        {"scope": "all"},
        {"wait_all": True},
        {"warn_on_reap": True},
        {"verbosity": 1},
    ],
    ids=str,
)
def test_python_stays_if_there_is_something_to_say_or_others_to_signal(given: dict[str, Any]) -> None:
    assert not serves(Options(**given))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"kill_after": 0.0},
        {"grace": 1.0},
        {"pause": True},
        {"rewrites": {1: 15}},
        {"remapped": frozenset({143})},
        {"status_fd": 3},
    ],
    ids=str,
)
def test_the_c_program_serves_what_is_a_number_or_a_row_of_its_tables(given: dict[str, Any]) -> None:
    assert serves(Options(**given))


def test_a_word_says_who_is_meant() -> None:
    for_adviser = Told(f"--told={os.getppid()},0,0,0,16,17,15,1,5000,99,7000")
    assert for_adviser.is_for_adviser
    assert not for_adviser.is_for_command
    assert (for_adviser.child, for_adviser.group, for_adviser.stop, for_adviser.is_deaf) == (16, 17, 15, True)
    assert for_adviser.kill_at == 7.0
    assert for_adviser.newest == (5 * os.sysconf("SC_CLK_TCK"), 99)
    for_command = Told(f"--told={os.getpid()},{1 << (TERM - 1)},1,0,{os.getpid()},0,0,0,0,0,0")
    assert for_command.is_for_command
    assert not for_command.is_for_adviser
    assert for_command.mask == {TERM}
    assert for_command.ignored == [signal.SIGPIPE]
    of_launch = Told(Told.word(os.getpid(), child=16, group=17))
    assert not of_launch.is_for_adviser
    assert not of_launch.is_for_command
    assert (of_launch.child, of_launch.group) == (16, 17)


@pytest.mark.parametrize(
    "word", ["--told=", "--told=x,0,0,0,0,0,0,0,0,0,0", "--told=0,0,0,0,0,0,0,0,0,0,0", "--told=1,2", "--to", "-v"]
)
def test_a_word_for_another_process_is_an_option_that_nobody_knows(word: str) -> None:
    words = [word, "--", "true"]
    assert told(words) is None
    assert words == [word, "--", "true"]


def test_a_word_is_taken_away() -> None:
    words = [f"--told={os.getpid()},0,0,0,0,0,0,0,0,0,0", "-v", "true"]
    assert told(words) is not None
    assert words == ["-v", "true"]


def test_an_adviser_keeps_kill_after_also_if_the_c_program_has_set_no_deadline() -> None:
    """The stop signal came when the command had ended, or with --pause."""
    word = f"--told={os.getppid()},0,0,0,0,17,15,0,0,0,"
    assert Adviser(Options(kill_after=2.0), Told(f"{word}7000")).stop.kill_at == 7.0
    assert Adviser(Options(kill_after=2.0), Told(f"{word}0")).stop.kill_at is not None
    assert Adviser(Options(), Told(f"{word}0")).stop.kill_at is None
