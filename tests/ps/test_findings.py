"""pyinit-ps: what it finds is true. Each finding is made for real, and then the stop shows whether it was one."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pyinit.ps import diagnosis, snapshot
from tests.harness import (
    BASE_PYTHON,
    DEAF,
    PYINIT,
    Rounds,
    children_of,
    name_of,
    need,
    settled,
    started,
    state_of,
    wait_until,
)
from tests.programs import compiled, saver
from tests.ps.looking import ALONE, effects, look, problems, run_ps, survives


def test_a_shell_as_pid_1_is_found_and_does_not_stop() -> None:
    with started("sh", "-c", "sleep 1000 & echo up; wait", **ALONE) as run:
        run.up()
        shell = run.pid
        sleep = wait_until(lambda: children_of(shell))[0]
        assert problems(shell) == [("shell", [shell, sleep])]
        assert effects(shell) == {shell: "dropped", sleep: "ends it"}
        assert survives(shell)
        assert state_of(sleep) == "S"


@pytest.mark.parametrize(
    ("trap", "kind"), [("", "dropped"), ("trap '' TERM; ", "ignored"), ("trap 'exit 3' TERM; ", "caught")]
)
def test_a_server_as_pid_1_that_takes_no_sigterm_is_found_and_one_that_does_is_not(trap: str, kind: str) -> None:
    with started("sh", "-c", f"{trap}echo up; while read -r line; do :; done", stdin=-1, **ALONE) as run:
        run.up()
        server = run.pid
        assert effects(server)[server] == kind
        assert problems(server) == ([] if kind == "caught" else [("deaf-init", [server])])
        os.kill(server, signal.SIGTERM)
        run.close_stdin()
        assert run.wait() == (3 if kind == "caught" else 0)


def test_zombies_are_whose_they_are(tmp_path: Path) -> None:
    made = "import os, time\nfor _ in range(7):\n    if os.fork() == 0: os._exit(0)\nprint('up', flush=True)\n"
    words = (BASE_PYTHON, "-ISc", made + "time.sleep(1000)")
    with started(*words, **ALONE) as run:
        run.up()
        server = run.pid
        wait_until(lambda: [state_of(pid) for pid in children_of(server)] == ["Z"] * 7, "zombies")
        kinds = dict(problems(server))
        assert set(kinds) == {"deaf-init", "zombies-of-init"}
        assert kinds["zombies-of-init"] == [server, *sorted(children_of(server))]
    with started(*words, mode="pid1") as run:
        run.up()
        server = run.main_child()
        wait_until(lambda: [state_of(pid) for pid in children_of(server)] == ["Z"] * 7, "zombies")
        assert problems(server) == [("zombies", [server, *sorted(children_of(server))])]


def test_orphans_behind_pyinit_are_no_finding() -> None:
    with started("sh", "-c", "for i in 1 2 3 4 5; do (true &); done; echo up; read -r _", mode="pid1", stdin=-1) as run:
        run.up()
        settled(run.pid)
        assert problems(run.pid) == []


@pytest.mark.parametrize("init", ["tini", "catatonit"])
def test_a_shell_behind_an_init_that_tells_it_alone_is_found_and_its_server_is_not_told(
    init: str, tmp_path: Path
) -> None:
    need(init)
    words = ("sh", "-c", '"$@"; true', "sh", *saver(tmp_path / "told"))
    with started(*words, init=[init, "--"], mode="pid1") as run:
        run.up()
        pid = run.pid
        shell = children_of(pid)[0]
        assert problems(pid) == [("untold", [shell, *children_of(shell)])]
        os.kill(pid, signal.SIGTERM)
        run.wait()
        assert not (tmp_path / "told").exists()
    with started(*words, init=[init, "-g", "--"], mode="pid1") as run:
        run.up()
        shell = children_of(run.pid)[0]
        assert problems(run.pid) == [("cut-short", [shell, *children_of(shell)])]


@pytest.mark.parametrize("init", ["tini", "dumb-init", "catatonit", "pyinit"])
def test_a_command_that_ignores_sigterm_is_found_behind_any_init(init: str) -> None:
    path = str(PYINIT) if init == "pyinit" else init
    need(path)
    with started("sh", "-c", DEAF, init=[path, "--"], mode="pid1") as run:
        run.up()
        pid = run.pid
        command = children_of(pid)[0]
        assert ("deaf", [command]) in problems(pid)
        assert ("deaf", [command]) not in problems(pid, "--signal", "QUIT")
        assert survives(pid)
        assert state_of(command) == "S"


def test_whom_pyinit_tells_and_in_which_order_is_what_it_does(tmp_path: Path) -> None:
    """A shell, then what it leaves: a server, and at last the reader of its pipe."""
    files = [tmp_path / name for name in ("server", "reader")]
    script = f'"$@" {files[0]} 0.2 | "$@" {files[1]} 0.2; true'
    with started("sh", "-c", script, "sh", *saver(files[0])[:3], mode="pid1", stderr=-1) as run:
        shell = run.main_child()
        both = wait_until(lambda: found if len(found := sorted(children_of(shell))) == 2 else [], "both")
        wait_until(lambda: [effects(run.pid).get(pid) for pid in both] == ["taken", "taken"], "both to wait")
        (order,) = [found for found in look(run.pid)["findings"] if found["kind"] == "order"]
        assert order["pids"] == [shell, *both]
        run.send(signal.SIGTERM)
        run.wait()
        assert files[0].read_text() == "SIGTERM"
        assert [file.stat().st_mtime_ns for file in files if file.exists()] == sorted(
            file.stat().st_mtime_ns for file in files if file.exists()
        )


def test_a_drain_is_told_of_with_those_who_are_still_there() -> None:
    with started("-t", "1000", "sh", "-c", f"({DEAF}) & read -r _; exit 7", mode="pid1", stdin=-1, phases=True) as run:
        run.up()
        deaf = children_of(run.main_child())[0]
        run.close_stdin()
        run.enters("draining")
        (found,) = [found for found in look(run.pid)["findings"] if found["kind"] == "draining"]
        assert deaf in found["pids"]
        assert problems(run.pid) == []
        for pid in (deaf, *children_of(deaf)):  # its sleep is as deaf
            os.kill(pid, signal.SIGKILL)
        assert run.wait() == 7


@pytest.mark.parametrize("options", [["-w"], ["-vv"], ["-g"], ["-t", "1000"]])
def test_in_a_drain_no_orphan_is_taken_for_the_command(options: list[str]) -> None:
    script = '"$@" & echo up; read -r _; exit 7'
    words = [*options, "-t", "1000", "sh", "-c", script, "sh", *saver(Path("/dev/null"), 0, "blocks", 1000)]
    with started(*words, mode="pid1", stdin=-1, stderr=subprocess.DEVNULL, phases=True) as run:
        run.up(2)
        orphan = children_of(run.main_child())[0]
        run.close_stdin()
        run.enters("draining")
        wait_until(lambda: orphan in children_of(run.pid), "the orphan")
        found = {found["kind"]: found for found in look(run.pid)["findings"]}
        assert found["draining"]["pids"] == [orphan]
        assert "deaf" not in found


def test_leftover_processes_that_do_not_heed_the_signal_are_named_with_the_time_of_the_grace() -> None:
    with started("-t", "0.3", "sh", "-c", f"({DEAF}) & wait", mode="pid1") as run:
        run.up()
        (found,) = [found for found in look(run.pid)["findings"] if found["kind"] == "killed"]
        assert "after 0.3 s" in found["text"]
        assert problems(run.pid) == []
        began = time.monotonic()
        run.send(signal.SIGTERM)
        run.wait()
        assert time.monotonic() - began >= 0.3


def test_state_d_is_told_of() -> None:
    with started(compiled("vfork"), mode="pid1") as run:
        pid = run.main_child()
        wait_until(lambda: state_of(pid) == "D", "state D")
        assert ("uninterruptible", [pid]) in [(found["kind"], found["pids"]) for found in look(run.pid)["findings"]]
        assert problems(run.pid) == []


@pytest.mark.parametrize("mode", ["sigwait", "handler", "gone", "none"])
def test_any_thread_may_take_a_signal(mode: str) -> None:
    with started(compiled("threads", "-pthread"), mode, **ALONE) as run:
        run.up()
        pid = run.pid
        if mode == "sigwait":
            wait_until(lambda: effects(pid)[pid] == "taken", "the thread to wait")
        assert problems(pid) == ([("deaf-init", [pid])] if mode == "none" else [])
        if mode == "none":
            assert survives(pid)
        else:
            os.kill(pid, signal.SIGTERM)
            assert run.wait() == 5


def test_a_script_is_a_shell_too(tmp_path: Path) -> None:
    script = tmp_path / "entry"
    script.write_text(f"#!/bin/sh\n{shlex.join(saver(tmp_path / 'told'))} & wait\n")
    script.chmod(0o755)
    need("tini")
    with started(str(script), **ALONE) as run:
        run.up()
        assert [kind for kind, _ in problems(run.pid)] == ["shell"]
    with started(str(script), init=["tini", "--"], mode="pid1") as run:
        run.up()
        assert [kind for kind, _ in problems(run.pid)] == ["untold"]


def test_a_namespace_that_goes_meanwhile_is_left_out() -> None:
    with started("sh", "-c", "echo up; exec sleep 1000", **ALONE) as run:
        run.up()
        pid = run.pid
        wait_until(lambda: name_of(pid) == "sleep" and state_of(pid) == "S", "sleep")
        _, group = snapshot.around(pid, snapshot.everyone())
        assert [finding.kind for finding in diagnosis.find(group, signal.SIGTERM)] == ["deaf-init"]
        os.kill(pid, signal.SIGKILL)
        run.wait()
        assert diagnosis.lasting(group, signal.SIGTERM) == []


def test_a_problem_that_another_one_has_become_is_found(tmp_path: Path) -> None:
    need("tini")
    server = saver(tmp_path / "told", 0.1, "handles")  # it has its handlers before it says up
    script = f"{shlex.join(server)} & read -r _; trap '' TERM; echo up; read -r _"
    with started("sh", "-c", script, init=["tini", "--"], mode="pid1", stdin=-1) as run:
        run.up()
        _, group = snapshot.around(run.pid, snapshot.everyone())
        assert [finding.kind for finding in diagnosis.find(group, signal.SIGTERM)] == ["untold"]
        run.release()
        run.up()
        assert [finding.kind for finding in diagnosis.lasting(group, signal.SIGTERM)] == ["deaf"]


# Behind which inits the server of a shell loses its data, and what is found.
TELLERS: dict[str, tuple[list[str], dict[str, str], list[str]]] = {
    "tini by its variable": (["tini", "--"], {"TINI_KILL_PROCESS_GROUP": "1"}, ["cut-short"]),
    "tini -e 143 -g": (["tini", "-e", "143", "-g", "--"], {}, ["cut-short"]),
    "tini -p SIGKILL": (["tini", "-p", "SIGKILL", "--"], {}, ["untold"]),
    "dumb-init by its variable": (["dumb-init", "--"], {"DUMB_INIT_SETSID": "0"}, ["untold"]),
    "pyinit by its variable": ([str(PYINIT), "--"], {"PYINIT_OPTIONS": "-t 0"}, ["untold"]),
}


@pytest.mark.parametrize("name", TELLERS)
def test_what_an_environment_makes_of_an_init_counts(name: str, tmp_path: Path) -> None:
    init, variables, kinds = TELLERS[name]
    need(init[0])
    words = ("sh", "-c", '"$@"; true', "sh", *saver(tmp_path / "told"))
    with started(*words, init=init, env={**os.environ, **variables}, mode="pid1") as run:
        run.up()
        assert [kind for kind, _ in problems(run.pid)] == kinds
        run.send(signal.SIGTERM)
        run.wait()
        assert not (tmp_path / "told").exists()


# A command that ignores SIGTERM alone, and whether a stop ends it all the same.
REWRITERS: dict[str, tuple[list[str], list[str]]] = {
    "pyinit -r TERM:USR1": ([str(PYINIT), "-r", "TERM:USR1", "--"], []),
    "pyinit -k": ([str(PYINIT), "-k", "0.2", "--"], []),
    "dumb-init -r": (["dumb-init", "-r", "15:10", "--"], []),
    "pyinit -r TERM:0": ([str(PYINIT), "-r", "TERM:0", "--"], ["no-stop"]),
    "dumb-init --rewrite": (["dumb-init", "--rewrite", "15:0", "--"], ["no-stop"]),
}


@pytest.mark.parametrize("name", REWRITERS)
def test_what_an_init_makes_of_the_signal_counts(name: str) -> None:
    init, kinds = REWRITERS[name]
    need(init[0])
    with started("sh", "-c", "trap '' TERM; echo up; exec sleep 1000", init=init, mode="pid1") as run:
        run.up()
        pid = run.pid
        assert [kind for kind, _ in problems(pid)] == kinds
        if kinds:
            assert survives(pid)
        else:
            os.kill(pid, signal.SIGTERM)
            run.wait()


def test_what_is_stopped_is_found_and_takes_the_signal_when_it_is_continued() -> None:
    need("tini")
    with started("sleep", "1000", init=["tini", "--"], mode="pid1") as run:
        pid = run.pid
        sleep = wait_until(lambda: children_of(pid))[0]
        wait_until(lambda: name_of(sleep) == "sleep", "sleep")
        os.kill(sleep, signal.SIGSTOP)
        wait_until(lambda: state_of(sleep) == "T", "it to stop")
        assert problems(pid) == [("stopped", [sleep])]
        assert survives(pid)
        os.kill(sleep, signal.SIGCONT)
        assert run.wait() == 128 + signal.SIGTERM


def test_what_is_so_for_a_moment_is_no_problem(rounds: Rounds) -> None:
    need("tini")
    with started("sh", "-c", "echo up; while :; do (true &); done", init=["tini", "-g", "--"], mode="pid1") as run:
        run.up()
        pid = run.pid
        assert [found for _ in range(rounds(3, 30)) for found in problems(pid)] == []


def test_who_only_calls_itself_pyinit_breaks_nothing() -> None:
    words = [BASE_PYTHON, "-ISc", "import ctypes, time; ctypes.CDLL(None).prctl(15, b'pyinit'); time.sleep(1000)"]
    with started(*words, "/pyinit", "--woken=xyz", "--nonsense", **ALONE) as run:
        pid = run.pid
        wait_until(lambda: name_of(pid) == "pyinit", "its name")
        assert run_ps(pid).returncode == 0
