"""What Docker does to a container: run, stop, kill, exec, restart, logs."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.engines.engine import BY_ITSELF, Docker, Run, until
from tests.programs import RECORDER

SIGNALS = (1, 2, 3, 10, 12, 14, 15, 18, 28, 37)  # HUP INT QUIT USR1 USR2 ALRM TERM CONT WINCH RTMIN+3
LAST_SIGNAL = 40  # sent after the ten: what came twice has come by then
# Says that it got SIGTERM, from outside the command's process group.
ORPHAN = "trap 'echo the orphan got TERM; exit' TERM; echo ready; while :; do sleep 0.1; done"


def test_docker_run_rm_removes_the_container_and_keeps_its_output(docker: Docker, pyinit: str) -> None:
    before = docker("ps", "--all", "--quiet")
    result = docker.run("run", "--rm", "--network=none", pyinit, "sh", "-c", "echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert docker("ps", "--all", "--quiet") == before


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["sh", "-c", "exit 0"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["/etc/passwd"], 126),
        (["no-such-program"], 127),
    ],
    ids=["0", "7", "killed", "not-runnable", "not-found"],
)
def test_docker_run_exits_as_the_command_did(docker: Docker, pyinit: str, command: list[str], expected: int) -> None:
    result = docker.run("run", "--rm", "--network=none", pyinit, *command, check=False)
    assert result.returncode == expected


def test_each_of_ten_signals_of_docker_kill_reaches_the_command_once(docker: Docker, run: Run, pyinit: str) -> None:
    container = run(pyinit, "python3", "-c", RECORDER, "SIGKILL")
    container.says("up")
    names = [signal.Signals(signum).name if signum < 32 else str(signum) for signum in (*SIGNALS, LAST_SIGNAL)]
    for signum, name in zip((*SIGNALS, LAST_SIGNAL), names, strict=True):
        docker("kill", f"--signal={signum}", container.id)
        container.says(f"got {name}\n")
    assert re.findall("got (.*)\n", container.logs()) == names


def test_docker_kill_reaches_with_g_what_a_shell_in_shell_form_started(docker: Docker, run: Run, pyinit: str) -> None:
    container = run("--env=PYINIT_OPTIONS=-g", pyinit, "sh", "-c", f"trap : HUP; python3 -c '{RECORDER}'; :")
    container.says("up")
    docker("kill", "--signal=HUP", container.id)
    container.says("got SIGHUP")


def test_docker_stop_ends_an_orphan_that_left_the_group(run: Run, pyinit: str) -> None:
    container = run(pyinit, "sh", "-c", f'setsid sh -c "{ORPHAN}" & exec sleep 1000')
    container.says("ready")
    assert container.stop() < BY_ITSELF
    assert "the orphan got TERM" in container.logs()
    assert container.exit_code == 143


@pytest.mark.parametrize("name", ["QUIT", "INT"])
def test_stopsignal_reaches_the_command(docker: Docker, run: Run, pyinit: str, name: str) -> None:
    image = docker.image(f"pyinit-stopsignal-{name.lower()}", f"FROM {pyinit}\nSTOPSIGNAL SIG{name}")
    traps = f"trap 'echo got {name}; exit 9' {name}; trap 'echo got TERM' TERM"
    container = run(image, "sh", "-c", f"{traps}; echo ready; while :; do sleep 0.1; done")
    container.says("ready")
    assert container.stop() < BY_ITSELF
    assert f"got {name}\n" in container.logs()
    assert "got TERM" not in container.logs()
    assert container.exit_code == 9


def test_an_execed_shell_does_not_delay_the_stop(docker: Docker, run: Run, pyinit: str) -> None:
    # Were it waited for, then longer than Docker does.
    container = run("--env=PYINIT_OPTIONS=--grace=60", pyinit, "sleep", "1000")
    stubborn = "trap '' TERM INT HUP; touch /tmp/ready; while :; do sleep 1; done"
    docker("exec", "--detach", container.id, "sh", "-c", stubborn)
    until(Path(f"/proc/{container.pid}/root/tmp/ready").exists, "the exec'ed shell runs")
    assert container.stop() < BY_ITSELF
    assert container.exit_code == 143


def test_docker_exec_works_while_the_command_is_stopping(docker: Docker, run: Run, pyinit: str) -> None:
    finish = "echo stopping; until [ -e /tmp/go ]; do sleep 0.1; done; exit 5"
    container = run(pyinit, "sh", "-c", f"trap '{finish}' TERM; echo ready; while :; do sleep 0.1; done")
    container.says("ready")
    with subprocess.Popen(docker.client("stop", "--time=600", container.id), stdout=subprocess.DEVNULL) as stop:
        container.says("stopping")
        container.exec("touch", "/tmp/go")
        assert stop.wait(600) == 0
    assert container.exit_code == 5


def test_a_failing_command_is_restarted_as_often_as_the_policy_says(run: Run, pyinit: str) -> None:
    container = run("--restart=on-failure:2", pyinit, "sh", "-c", "exit 3")
    until(lambda: container.inspect("RestartCount") == "2", "two restarts")
    assert container.wait() == 3


def test_a_command_that_succeeds_is_not_restarted_on_failure(run: Run, pyinit: str) -> None:
    container = run("--restart=on-failure", pyinit, "true")
    assert container.wait() == 0
    assert container.inspect("RestartCount") == "0"


def test_remapped_exit_codes_are_no_failure_to_the_restart_policy(run: Run, pyinit: str) -> None:
    container = run("--restart=on-failure", "--env=PYINIT_OPTIONS=--remap-exit=143", pyinit, "sh", "-c", "kill $$")
    assert container.wait() == 0
    assert container.inspect("RestartCount") == "0"


def test_restart_always_restarts_until_docker_stop(run: Run, pyinit: str) -> None:
    script = "if [ -e /tmp/again ]; then exec sleep 1000; fi; touch /tmp/again; exit 4"
    container = run("--restart=always", pyinit, "sh", "-c", script)
    until(lambda: container.pid and container.names() == ["sleep"], "the second run")
    assert container.inspect("RestartCount") == "1"
    assert container.stop() < BY_ITSELF
    assert container.wait() == 143


def test_docker_logs_hold_nothing_of_pyinits(run: Run, pyinit: str) -> None:
    container = run(pyinit, "sh", "-c", "(true &); setsid sleep 1000 & echo ready; sleep 1000")
    container.says("ready")
    container.stop()
    assert container.logs() == "ready\n"


def test_docker_logs_say_what_pyinit_does_when_asked(run: Run, pyinit: str) -> None:
    container = run("--env=PYINIT_OPTIONS=--verbose", pyinit, "sh", "-c", "echo ready; sleep 1000")
    container.says("ready")
    container.stop()
    assert "pyinit: " in container.logs()
