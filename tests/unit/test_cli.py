"""The command line and the environment become options, with no process in it."""

import pytest

from pyinit.base import Options, UsageError
from pyinit.run import parse
from pyinit.run.options import OPTIONS, help_text


def parsed(*words: str, **environ: str) -> Options:
    return parse(list(words), {name.encode(): value.encode() for name, value in environ.items()})


def refusal(*words: str, **environ: str) -> str:
    with pytest.raises(UsageError) as caught:
        parsed(*words, **environ)
    return str(caught.value)


def test_without_options_the_design_s_defaults_hold() -> None:
    options = parsed("true")
    assert options.command == ["true"]
    assert (options.scope, options.rewrites, options.remapped) == ("", {}, frozenset())
    assert (options.grace, options.kill_after, options.wait_all) == (None, None, False)
    assert (options.parent_death_signal, options.pid_namespace, options.pause) == (0, False, False)
    assert (options.warn_on_reap, options.verbosity, options.status_fd) == (False, 0, -1)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["a", "-v"], ["a", "-v"]),
        (["--", "-v"], ["-v"]),
        (["-v", "--", "--", "a"], ["--", "a"]),
        (["-", "a"], ["-", "a"]),
        (["-v", ""], [""]),
        (["a", "--", "b"], ["a", "--", "b"]),
        (["--", "a", "--help"], ["a", "--help"]),
    ],
)
def test_the_command_begins_at_the_first_word_that_is_no_option(words: list[str], command: list[str]) -> None:
    assert parsed(*words).command == command


@pytest.mark.parametrize(
    "words", [["-t5"], ["-t", "5"], ["--grace=5"], ["--grace", "5"], ["-vt5"], ["-vt", "5"], ["--gra=5"]]
)
def test_a_value_joins_or_follows(words: list[str]) -> None:
    options = parsed("-t1", *words, "true")
    assert (options.grace, options.command) == (5.0, ["true"])


@pytest.mark.parametrize(("word", "seconds"), [("0", 0.0), ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("007", 7.0)])
def test_times_are_seconds(word: str, seconds: float) -> None:
    assert parsed("-t", word, "true").grace == seconds
    assert parsed("-k", word, "true").kill_after == seconds


@pytest.mark.parametrize("word", ["", ".", "-1", "x", "1e3", "nan", "inf", "1.2.3", "5s", "\u0661", "9" * 20, " 1"])
def test_what_is_no_time_is_refused(word: str) -> None:
    assert "seconds" in refusal("-t", word, "true")
    assert "seconds" in refusal("-k", word, "true")


def test_the_last_scope_wins() -> None:
    assert parsed("-c", "true").scope == "child"
    assert parsed("-c", "-g", "true").scope == "group"
    assert parsed("--scope", "all", "-c", "true").scope == "child"
    assert parsed("-cg", "--scope=all", "true").scope == "all"


def test_rewritings_and_remappings_add_up_and_the_last_of_a_signal_wins() -> None:
    options = parsed("-r15:3", "-r", "TERM:QUIT", "-r", "HUP:0", "-r", "TERM:USR1", "-e1", "-e", "2", "true")
    assert options.rewrites == {15: 10, 1: 0}
    assert options.remapped == {1, 2}


def test_verbosity_adds_up() -> None:
    assert [parsed(*words, "true").verbosity for words in ([], ["-v"], ["-vv"], ["-v", "-v", "--verbose"])] == [
        0,
        1,
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("environ", "verbosity"),
    [
        ({"TINI_VERBOSITY": "0"}, -1),
        ({"TINI_VERBOSITY": "1"}, 0),
        ({"TINI_VERBOSITY": "3"}, 2),
        ({"TINI_VERBOSITY": "x"}, 0),
        ({"TINI_VERBOSITY": ""}, 0),
        ({"DUMB_INIT_DEBUG": "1"}, 1),
        ({"DUMB_INIT_DEBUG": "0"}, 0),
        ({"PYINIT_OPTIONS": "-v -v"}, 2),
    ],
)
def test_verbosity_comes_from_the_environment_too(environ: dict[str, str], verbosity: int) -> None:
    assert parsed("true", **environ).verbosity == verbosity


def test_one_v_says_something_whatever_tini_verbosity_is() -> None:
    assert parsed("-v", "true", TINI_VERBOSITY="0").verbosity == 1


def test_pyinit_options_come_first_and_the_command_line_wins() -> None:
    options = parsed("-t2", "true", PYINIT_OPTIONS=" -c\t-t 1\n-e3 ")
    assert (options.scope, options.grace, options.remapped) == ("child", 2.0, frozenset({3}))
    assert parsed("-g", "true", DUMB_INIT_SETSID="0").scope == "group"
    assert parsed("true", DUMB_INIT_SETSID="0", PYINIT_OPTIONS="-g").scope == "group"


@pytest.mark.parametrize("value", ["", "0", "1", "no"])
def test_tini_kill_process_group_is_the_scope_group_whatever_its_value(value: str) -> None:
    assert parsed("true", TINI_KILL_PROCESS_GROUP=value).scope == "group"
    assert parsed("-c", "true", TINI_KILL_PROCESS_GROUP=value).scope == "child"


@pytest.mark.parametrize("value", ["", " ", "--", "-v --"])
def test_pyinit_options_may_hold_nothing(value: str) -> None:
    assert parsed("true", PYINIT_OPTIONS=value).command == ["true"]


@pytest.mark.parametrize("value", ["true", "-v true", "-- true", "-x", "-t", "--no-such"])
def test_pyinit_options_hold_options_only(value: str) -> None:
    assert refusal("true", PYINIT_OPTIONS=value).startswith("PYINIT_OPTIONS: ")


def test_pyinit_options_may_hold_bytes_that_are_no_utf_8() -> None:
    with pytest.raises(UsageError):
        parse(["true"], {b"PYINIT_OPTIONS": b"\xff"})


def test_pause_takes_no_command_and_everything_else_needs_one() -> None:
    assert parsed("-P").pause
    assert "--pause" in refusal("-P", "true")
    assert refusal() == refusal("--") == refusal("-v") == "no command given"


@pytest.mark.parametrize("word", ["--s", "--gr", "--p", "--pa", "--"])
def test_an_abbreviation_names_one_option_or_none(word: str) -> None:
    if word == "--":
        assert "no option" in refusal("--=1", "true")
    else:
        assert "ambiguous" in refusal(word, "true")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_long_option_is_known_by_its_whole_name_even_if_another_begins_so(option: object) -> None:
    name, value = option.name, option.value  # type: ignore[attr-defined]
    values = {"SCOPE": "child", "SIG:SIG": "TERM:HUP", "CODE": "1", "SECONDS": "1", "SIG": "TERM", "FD": "1"}
    words = [f"--{name}={values[value]}"] if value else [f"--{name}"]
    assert parsed(*words, *([] if name == "pause" else ["true"]))


def test_letters_and_names_are_unique_and_in_the_help() -> None:
    letters = [option.letter for option in OPTIONS if option.letter]
    names = [option.name for option in OPTIONS]
    assert len(set(letters)) == len(letters)
    assert len(set(names)) == len(names)
    for option in OPTIONS:
        assert f"--{option.name} {option.value}".rstrip() in help_text()
        assert option.meaning in help_text()


@pytest.mark.parametrize("word", ["-1", "x", "", "999999", "1.0", "\u0661"])
def test_a_status_descriptor_is_a_number_of_an_open_one(word: str) -> None:
    assert "descriptor" in refusal("--json-status-fd", word, "true")


def test_parsing_changes_neither_its_words_nor_its_environment() -> None:
    words, environ = ["-v", "-t5", "a", "b"], {b"PYINIT_OPTIONS": b"-v"}
    parse(words, environ)
    assert (words, environ) == (["-v", "-t5", "a", "b"], {b"PYINIT_OPTIONS": b"-v"})


def test_options_are_not_changed_once_they_are_parsed() -> None:
    options = parsed("-g", "true")
    with pytest.raises(AttributeError):
        options.scope = "all"
    other = options.replace(scope="all")
    assert (options.scope, other.scope, other.command) == ("group", "all", ["true"])
