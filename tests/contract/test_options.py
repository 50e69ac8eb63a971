"""Options, PYINIT_OPTIONS, and the variables of tini and dumb-init."""

import os
import re
import shlex
import signal
import subprocess

import pytest

from tests.harness import (
    PYINIT,
    Mode,
    call_of,
    children_of,
    fill,
    name_of,
    need,
    proc,
    started,
    state_of,
    status_of,
    wait_until,
)

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["-vh"], ["--help", "--", "false"]], ids=str)
def test_help_is_printed_to_stdout_with_every_option(mode: Mode, words: list[str]) -> None:
    from pyinit.run.options import OPTIONS

    with started(*words, mode=mode) as run:
        output = run.output().decode()
        assert run.wait() == 0
    for option in OPTIONS:
        assert f"--{option.name}" in output
        assert option.meaning in output
        assert not option.letter or f"-{option.letter}, --{option.name}" in output
    assert all(len(line) <= 120 for line in output.splitlines())


def test_version_and_licence_are_printed() -> None:
    import pyinit

    for word in ("-V", "--version"):
        with started(word) as run:
            assert re.fullmatch(rf"pyinit {pyinit.__version__} \(waits in (C|Python)\)\n", run.output().decode())
            assert run.wait() == 0
    for word in ("-l", "--license"):
        with started(word) as run:
            assert b"MIT" in run.output()
            assert run.wait() == 0


def test_help_into_a_pipe_that_closes_early_does_not_hang() -> None:
    assert subprocess.run(f"{PYINIT} --help | head -1; {PYINIT} -V | true", shell=True, timeout=60).returncode == 0


def waits_for_stdout(pid: int) -> bool:
    """Whether a process sleeps in a system call on descriptor 1."""
    return call_of(pid)[1:2] == ["0x1"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_help_into_a_pipe_that_nobody_reads_ends_by_a_signal(signum: int) -> None:
    read_end, write_end = os.pipe()
    fill(write_end)
    with started("--help", stdout=write_end) as run:
        wait_until(lambda: waits_for_stdout(run.pid), "write(2) to block")
        run.send(signum)
        assert run.wait() == 128 + signum
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize(
    "words",
    [
        ["--", "sh", "-c", "exit 7"],
        ["sh", "-c", "exit 7", "--help", "-x"],
        ["-gvs", "--", "sh", "-c", "exit 7"],
        ["-g", "-v", "-s", "sh", "-c", "exit 7"],
        ["-r15:3", "sh", "-c", "exit 7"],
        ["-gr", "TERM:QUIT", "sh", "-c", "exit 7"],
        ["-ve1", "sh", "-c", "exit 7"],
        ["--rewrite=TERM:QUIT", "--remap-exit", "3", "sh", "-c", "exit 7"],
        ["--verb", "--single", "sh", "-c", "exit 7"],
        ["-p", "SIGKILL", "-w", "-s", "--", "sh", "-c", "exit 7"],
    ],
    ids=" ".join,
)
def test_options_join_and_end_at_the_first_word_that_is_none(words: list[str]) -> None:
    with started(*words, stderr=-3) as run:
        assert run.wait() == 7


def test_a_second_double_dash_is_the_commands() -> None:
    with started("--", "sh", "-c", 'test "$1" = -- && exit 7', "sh", "--") as run:
        assert run.wait() == 7


def test_verbose_says_what_it_does_and_twice_more(mode: Mode) -> None:
    said = {}
    for option in ("-v", "-vv"):
        with started(option, "sh", "-c", "(true &); sleep 0.05; kill -9 $$", mode=mode, stderr=-1) as run:
            said[option] = run.stderr.read().decode()
    assert "killed by SIGKILL" in said["-v"]
    assert "reaped orphan" not in said["-v"]
    assert "reaped orphan" in said["-vv"]
    assert all(line.startswith("pyinit: ") for line in said["-vv"].splitlines())


def parent_and_pyinit(*options: str) -> list[str]:
    """Words for a shell that starts pyinit as its child, prints pyinit's PID and waits."""
    return ["sh", "-c", '"$@" & echo $!; wait', "sh", str(PYINIT), *options]


@pytest.mark.parametrize("option", [["-p", "SIGTERM"], ["-pTERM"], ["--parent-death-signal=15"]], ids=str)
def test_the_command_gets_the_signal_that_was_asked_for_when_pyinits_parent_dies(option: list[str]) -> None:
    with started(
        "sh", "-c", "trap 'echo got; exit' TERM; echo up; while :; do sleep 0.02; done", init=parent_and_pyinit(*option)
    ) as run:
        pid = int(run.line())
        run.up()
        run.send(signal.SIGKILL)
        assert run.line() == b"got\n"
        wait_until(lambda: state_of(pid) in ("", "Z"), "pyinit's end")


def test_pyinit_dies_with_its_parent_where_that_signal_is_sigkill() -> None:
    with started("sleep", "1000", init=parent_and_pyinit("-p", "KILL")) as run:
        pid = int(run.line())
        wait_until(lambda: children_of(pid))
        wait_until(lambda: name_of(pid) == "pyinit")
        run.send(signal.SIGKILL)
        wait_until(lambda: state_of(pid) in ("", "Z"), "pyinit's end")


def test_without_that_option_pyinit_outlives_its_parent() -> None:
    with started("sleep", "1000", init=parent_and_pyinit()) as run:
        pid = int(run.line())
        wait_until(lambda: children_of(pid))
        run.send(signal.SIGKILL)
        wait_until(lambda: status_of(pid).get("PPid") != str(run.pid))
        assert state_of(pid) not in ("", "Z")


def with_variable(name: str, value: str) -> dict[str, str]:
    return {**os.environ, name: value}


def test_pyinit_options_are_read_before_those_of_the_command_line(capfd: Capture) -> None:
    environment = with_variable("PYINIT_OPTIONS", "  -e 3 \t--rewrite=TERM:QUIT -w\n")
    with started("sh", "-c", "exit 3", env=environment) as run:
        assert run.wait() == 0
    with started("-r", "TERM:HUP", "sleep", "1000", env=environment) as run:
        wait_until(lambda: name_of(run.main_child()) == "sleep")
        run.send(signal.SIGTERM)
        assert run.wait() == 128 + signal.SIGHUP
    with started("sh", "-c", "exit 4", env=with_variable("PYINIT_OPTIONS", "")) as run:
        assert run.wait() == 4
    assert capfd.readouterr().err == ""


def test_pyinit_options_are_not_for_the_command(mode: Mode) -> None:
    """pyinit itself keeps them: an adviser and pyinit-ps read them there."""
    with started("sleep", "1000", mode=mode, env=with_variable("PYINIT_OPTIONS", "-e 3")) as run:
        command = wait_until(lambda: [pid for pid in run.alive() if name_of(pid) == "sleep"], "the command")[0]
        assert b"PATH=" in proc(command, "environ")
        assert b"PYINIT_OPTIONS" not in proc(command, "environ")
        assert b"PYINIT_OPTIONS=-e 3" in proc(run.pid, "environ").split(b"\0")


def test_pyinit_options_are_not_for_a_pyinit_inside() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as status:
        environment = with_variable("PYINIT_OPTIONS", f"-n --json-status-fd {writer}")
        script = f"{shlex.quote(str(PYINIT))} -- readlink /proc/self/ns/pid; readlink /proc/self/ns/pid"
        with started("sh", "-c", script, env=environment, pass_fds=[writer]) as run:
            os.close(writer)
            inner, outer = run.output().splitlines()
            assert run.wait() == 0
        assert inner == outer
        assert status.read().count("child-pid") == 1


CONCERNED = {("DUMB_INIT_DEBUG", "1"): True, ("DUMB_INIT_DEBUG", "0"): False, ("DUMB_INIT_DEBUG", "yes"): False}
CONCERNED |= {("TINI_VERBOSITY", value): value in ("2", "3") for value in ("0", "1", "2", "3", "x", "", "-1")}


@pytest.mark.parametrize(("variable", "talks"), CONCERNED.items(), ids=str)
def test_the_verbosity_of_tini_and_dumb_init_is_pyinits(capfd: Capture, variable: tuple[str, str], talks: bool) -> None:
    with started("true", env=with_variable(*variable)) as run:
        assert run.wait() == 0
    assert bool(capfd.readouterr().err) == talks


def test_a_verbosity_of_tinis_that_is_no_number_to_speak_of_is_passed_over(capfd: Capture) -> None:
    with started("true", env=with_variable("TINI_VERBOSITY", "9" * 5000)) as run:
        assert run.wait() == 0
    assert capfd.readouterr().err == ""


def test_tini_verbosity_0_keeps_warnings_back_and_errors_not(capfd: Capture) -> None:
    environment = with_variable("TINI_VERBOSITY", "0")
    with started("-w", "sh", "-c", "(true &); sleep 0.05", env=environment) as run:
        assert run.wait() == 0
    assert capfd.readouterr().err == ""
    with started("/no/where", env=environment) as run:
        assert run.wait() == 127
    assert "not found" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "receivers"),
    [
        ("DUMB_INIT_SETSID", "0", 1),
        ("DUMB_INIT_SETSID", "1", 1),
        ("TINI_SUBREAPER", "1", 1),
        ("TINI_KILL_PROCESS_GROUP", "1", 2),
        ("TINI_KILL_PROCESS_GROUP", "", 2),
    ],
)
def test_the_variables_of_tini_and_dumb_init_say_whom_a_signal_goes_to(name: str, value: str, receivers: int) -> None:
    script = "sh -c 'trap \"echo child\" USR1; echo up; while :; do sleep 0.02; done' & "
    script = f"trap 'echo main' USR1; {script}while :; do sleep 0.02; done"
    with started("sh", "-c", script, env=with_variable(name, value)) as run:
        run.up()
        came = []
        for _ in range(2):
            run.send(signal.SIGUSR1)
            came += [run.line() for _ in range(receivers)]
    assert came.count(b"main\n") == 2
    assert came.count(b"child\n") == 2 * (receivers - 1)


@pytest.mark.parametrize(
    ("peer", "options"),
    [
        ("tini", ["-s", "-g", "--"]),
        ("tini", ["-s", "-vvv", "-w", "--"]),
        ("tini", ["-s", "-e", "7", "--"]),
        ("tini", ["-s", "-p", "SIGKILL", "--"]),
        ("tini", ["-sg", "--"]),
        ("dumb-init", ["--"]),
        ("dumb-init", ["-c"]),
        ("dumb-init", ["-v", "--rewrite", "15:3"]),
        ("dumb-init", ["--rewrite=15:0", "--single-child", "--verbose"]),
        ("dumb-init", ["-r", "15:3", "-r", "2:15"]),
        ("catatonit", ["-g", "--"]),
        ("catatonit", ["--"]),
    ],
    ids=str,
)
def test_the_options_of_a_peer_give_what_they_give_there(mode: Mode, peer: str, options: list[str]) -> None:
    if peer == "catatonit" and mode == "subreaper":
        return  # it refuses to run anywhere else than as PID 1, but for -P
    need(peer)
    for script in ("exit 7", "exit 0", "kill -TERM $$"):
        statuses = []
        for init in ([peer], [str(PYINIT)]):
            with started(*options, "sh", "-c", script, init=init, mode=mode, stderr=-3) as run:
                statuses.append(run.wait())
        assert statuses[0] == statuses[1], script
