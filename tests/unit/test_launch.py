"""The arguments of pyinit.launch() as options of the command, and what the one table says of them."""

import inspect
import re
import signal
import sys
from typing import Any

import pytest

import pyinit
from pyinit.base import Options
from pyinit.native.launch import checked, option_words
from pyinit.run.options import NOT_OF_LAUNCH, OPTIONS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, []),
        ({"scope": None, "wait_all": False, "verbose": 0, "remap_exit": (), "rewrite": {}}, []),
        ({"wait_all": True, "warn_on_reap": True}, ["--wait-all", "--warn-on-reap"]),
        ({"verbose": 2}, ["--verbose", "--verbose"]),
        ({"verbose": 10**9}, ["--verbose", "--verbose"]),
        ({"verbose": True, "wait_all": 1, "warn_on_reap": 0}, ["--verbose", "--wait-all"]),
        ({"grace": 0}, ["--grace=0"]),
        ({"grace": 0.1 + 0.2}, ["--grace=0.3"]),
        ({"kill_after": 100.0}, ["--kill-after=100"]),
        ({"rewrite": {"TERM": "QUIT", "HUP": 0}}, ["--rewrite=TERM:QUIT", "--rewrite=HUP:0"]),
        ({"rewrite": {signal.SIGTERM: signal.SIGQUIT}}, ["--rewrite=15:3"]),
        ({"remap_exit": range(3)}, ["--remap-exit=0", "--remap-exit=1", "--remap-exit=2"]),
        ({"parent_death_signal": signal.SIGTERM}, ["--parent-death-signal=15"]),
        ({"json_status_fd": 0}, ["--json-status-fd=0"]),
    ],
    ids=str,
)
def test_arguments_become_words(given: dict[str, Any], words: list[str]) -> None:
    assert option_words(given) == words


def test_the_calls_that_the_readme_has_are_well_typed_and_do_nothing_here() -> None:
    assert not pyinit.launch()
    assert not pyinit.launch(kill_after=8, rewrite={"TERM": "QUIT", "HUP": 0}, remap_exit=(143,))
    assert not pyinit.launch(rewrite={signal.SIGTERM: signal.SIGQUIT}, remap_exit=range(3), scope="group")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rewrite": "TERM:QUIT"}, """rewrite takes a mapping, such as {"TERM": "QUIT"}, not 'TERM:QUIT'"""),
        ({"rewrite": ["TERM"]}, "rewrite takes a mapping"),
        ({"rewrite": dict}, "rewrite takes a mapping"),
        ({"remap_exit": 143}, "remap_exit takes a collection of exit statuses, such as (143,), not 143"),
        ({"remap_exit": "143"}, "remap_exit takes a collection"),
        ({"remap_exit": b"143"}, "remap_exit takes a collection"),
        ({"remap_exit": range}, "remap_exit takes a collection"),
        ({"verbose": "2"}, "verbose takes 0, 1 or 2, not '2'"),
        ({"verbose": -1}, "verbose takes 0, 1 or 2, not -1"),
        ({"verbose": 1.5}, "verbose takes 0, 1 or 2, not 1.5"),
        ({"wait_all": "no"}, "wait_all takes True or False, not 'no'"),
        ({"warn_on_reap": 2}, "warn_on_reap takes True or False, not 2"),
        ({"warn_on_reap": [True]}, "warn_on_reap takes True or False"),
        ({"subreaper": "no"}, "subreaper takes True or False, not 'no'"),
    ],
    ids=str,
)
def test_a_wrong_type_is_a_type_error_that_says_what_the_argument_takes(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        pyinit.launch(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rewrite": {"TERM": None}}, "--rewrite TERM:None: there is no signal named 'None'"),
        ({"rewrite": {"KILL": "TERM"}}, "--rewrite KILL:TERM: KILL cannot be caught"),
        ({"remap_exit": [None]}, "--remap-exit None: an exit status is"),
        ({"remap_exit": (143.0,)}, "--remap-exit 143.0: an exit status is"),
        ({"remap_exit": [256]}, "--remap-exit 256: an exit status is a number from 0 to 255"),
        ({"scope": 1}, "--scope 1: a scope is child, group or all"),
        ({"scope": b"group"}, "--scope b'group': a scope is child, group or all"),
        ({"grace": True}, "--grace True: a time is a number of seconds"),
        ({"grace": [5]}, "--grace [5]: a time is a number of seconds"),
        ({"kill_after": "soon"}, "--kill-after soon: a time is a number of seconds"),
        ({"parent_death_signal": 0}, "--parent-death-signal 0: the numbers of signals are 1 to"),
        ({"parent_death_signal": ["TERM"]}, "--parent-death-signal ['TERM']: there is no signal named"),
        ({"json_status_fd": -1}, "--json-status-fd -1: a descriptor is a number from 0"),
        ({"json_status_fd": sys.stdout}, ": a descriptor is a number from 0"),
        ({"json_status_fd": True}, "--json-status-fd True: a descriptor is a number from 0"),
    ],
    ids=str,
)
def test_a_word_that_makes_no_sense_is_a_value_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        pyinit.launch(**given)


def test_without_any_option_there_is_nothing_to_read() -> None:
    options, words = checked([], {b"PATH": b"/bin"})
    assert (vars(options), words) == (vars(Options()), [])


def test_those_in_the_environment_are_read_first() -> None:
    options, words = checked(["--grace=8"], {b"PYINIT_OPTIONS": b"--grace 7 -k 9"})
    assert (options.grace, options.kill_after) == (8, 9)
    assert words == ["--grace=7", "--kill-after=9", "--grace=8"]
    assert checked([], {b"TINI_KILL_PROCESS_GROUP": b""})[0].scope == "group"


def test_those_in_the_environment_that_are_no_arguments_of_launch_do_not_count() -> None:
    options, words = checked([], {b"PYINIT_OPTIONS": b"-nPslhV -vc -r TERM:HUP"})
    assert (options.pid_namespace, options.pause, options.prints, options.scope) == (False, False, None, "child")
    assert words == ["--verbose", "--single-child", "--rewrite=TERM:HUP"]


def test_every_option_is_an_argument_of_launch_or_named_as_none() -> None:
    arguments = {name.replace("_", "-") for name in inspect.signature(pyinit.launch).parameters} - {"subreaper"}
    of_launch = [option for option in OPTIONS if option.attribute not in NOT_OF_LAUNCH]
    assert {option.name for option in of_launch} - {"single-child", "group"} == arguments


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 1e12])
def test_a_time_that_is_none_is_a_value_error(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"--grace .*: a time is a number of seconds"):
        checked(option_words({"grace": seconds}), {})
