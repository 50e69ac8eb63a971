"""What to do with each signal and each exit status, with no process in it."""

import signal

import pytest

from pyinit.base import Options
from pyinit.base.signals import describe, signal_name, signal_number

NAMES = {
    "TERM": 15,
    "SIGTERM": 15,
    "sigterm": 15,
    "Term": 15,
    "15": 15,
    "015": 15,
    "1": 1,
    "64": 64,
    "KILL": 9,
    "CLD": 17,
    "CHLD": 17,
    "POLL": 29,
    "IO": 29,
    "IOT": 6,
    "ABRT": 6,
    "RTMIN": 34,
    "SIGRTMIN": 34,
    "RTMIN+0": 34,
    "rtmin+3": 37,
    "SIGRTMIN+30": 64,
    "RTMAX": 64,
    "RTMAX-0": 64,
    "SIGRTMAX-14": 50,
    "RTMAX-30": 34,
}


@pytest.mark.parametrize(("word", "number"), NAMES.items())
def test_a_signal_is_a_number_or_a_name(word: str, number: int) -> None:
    assert signal_number(word) == number


@pytest.mark.parametrize("member", list(signal.Signals), ids=str)
def test_every_name_that_python_knows_is_known(member: signal.Signals) -> None:
    assert signal_number(member.name) == signal_number(member.name[3:]) == member.value


NONE = [
    "",
    "0",
    "32",
    "33",
    "65",
    "-1",
    "+1",
    "1.0",
    " 15",
    "15 ",
    "TERM ",
    "SIG",
    "SIGSIGTERM",
    "NOPE",
    "_DFL",
    "SIG_DFL",
    "SIG_IGN",
]
NONE += [
    "_BLOCK",
    "RTMIN-1",
    "RTMIN+31",
    "RTMAX+1",
    "RTMAX-31",
    "TERM+1",
    "RTMIN+",
    "RTMIN+x",
    "RTMIN++1",
    "\u0661",
    "\xb2",
]
NONE += ["ITIMER_REAL", "NSIG", "TERM:QUIT", "\udcff", "9" * 100]


@pytest.mark.parametrize("word", NONE)
def test_what_is_no_signal_is_refused_with_a_reason(word: str) -> None:
    with pytest.raises(ValueError, match="signal"):
        signal_number(word)


@pytest.mark.parametrize("signum", sorted(signal.valid_signals()))
def test_a_signals_name_is_the_signals(signum: int) -> None:
    assert signal_number(signal_name(signum)) == signum


def test_names_in_messages_are_the_usual_ones() -> None:
    assert [signal_name(number) for number in (15, 17, 29, 6, 34, 36, 64)] == [
        "SIGTERM",
        "SIGCHLD",
        "SIGIO",
        "SIGABRT",
        "SIGRTMIN",
        "SIGRTMIN+2",
        "SIGRTMAX",
    ]


@pytest.mark.parametrize("signum", sorted(signal.valid_signals()))
def test_a_signal_is_forwarded_as_it_is(signum: int) -> None:
    assert Options().forwarded(signum) == signum


def test_a_rewritten_signal_is_forwarded_as_the_other_and_only_once() -> None:
    options = Options(rewrites={15: 3, 3: 15, 1: 0})
    assert [options.forwarded(signum) for signum in (15, 3, 1, 2)] == [3, 15, None, 2]


def test_a_signal_stops_the_command_by_what_came_or_by_what_goes() -> None:
    options = Options()
    assert [signum for signum in sorted(signal.valid_signals()) if options.stops(signum)] == [2, 3, 15]
    options = Options(rewrites={1: 15, 15: 10})
    assert [signum for signum in sorted(signal.valid_signals()) if options.stops(signum)] == [1, 2, 3, 15]


def test_what_is_dropped_stops_nothing() -> None:
    options = Options(rewrites={15: 0})
    assert [signum for signum in sorted(signal.valid_signals()) if options.stops(signum)] == [2, 3]


@pytest.mark.parametrize("code", range(256))
def test_an_exit_status_is_passed_on(code: int) -> None:
    assert Options().exit_status(code << 8) == code


@pytest.mark.parametrize("signum", sorted(signal.valid_signals()))
def test_a_deadly_signal_is_128_and_its_number_with_or_without_a_core(signum: int) -> None:
    assert Options().exit_status(signum) == 128 + signum
    assert Options().exit_status(signum | 0x80) == 128 + signum


def test_a_remapped_status_becomes_0() -> None:
    options = Options(remapped=frozenset({3, 143}))
    assert [options.exit_status(status) for status in (3 << 8, 15, 4 << 8, 9)] == [0, 0, 4, 137]


def test_an_end_is_told_in_words() -> None:
    assert describe(3 << 8) == "exit 3"
    assert describe(9) == "killed by SIGKILL"
