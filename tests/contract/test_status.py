"""The exit status is the command's own."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import PYINIT, Mode, Rounds, Started, has_taken_all, started, state_of, wait_until
from tests.programs import compiled


def assert_a_trace_stop_is_no_end(run: Started, child: int) -> None:
    """The command is traced by pyinit, whose waitpid(2) returns for a stop; it ends by SIGKILL."""
    wait_until(lambda: state_of(child) == "t", "it to be stopped")
    run.send(signal.SIGWINCH)
    wait_until(lambda: has_taken_all(run.pid), "pyinit to have looked")
    assert state_of(child) == "t"
    os.kill(child, signal.SIGKILL)
    assert run.wait() == 128 + signal.SIGKILL


pytestmark = pytest.mark.itself

SIGNALS = [number for number in range(1, 65) if number not in (17, 18, 19, 20, 21, 22, 23, 28, 32, 33)]


@pytest.mark.parametrize("status", [0, 1, 3, 124, 125, 126, 127, 128, 143, 255])
def test_the_commands_exit_status_is_pyinits(mode: Mode, status: int) -> None:
    with started("sh", "-c", f"exit {status}", mode=mode) as run:
        assert run.wait() == status


@pytest.mark.parametrize("name", ["SIGHUP", "SIGKILL", "SIGTERM", "SIGSEGV", "SIGRTMIN"])
def test_a_command_killed_by_a_signal_gives_128_and_its_number(mode: Mode, name: str) -> None:
    signum = getattr(signal, name)
    with started("sh", "-c", f"kill -{int(signum)} $$", mode=mode) as run:
        assert run.wait() == 128 + signum


def test_a_command_that_is_traced_and_stopped_has_not_ended(mode: Mode) -> None:
    with started(compiled("traced"), mode=mode) as run:
        child = run.main_child()
        assert_a_trace_stop_is_no_end(run, child)


def test_every_exit_status_and_every_deadly_signal_comes_through_unchanged(rounds: Rounds) -> None:
    def status(script: str) -> int:
        return subprocess.run([PYINIT, "--", "sh", "-c", script], timeout=60).returncode

    scripts = {f"exit {code}": code for code in range(256)}
    scripts |= {f"ulimit -c 0; kill -{signum} $$": 128 + signum for signum in SIGNALS}
    with ThreadPoolExecutor(4) as pool:
        for _ in range(rounds(1, 3)):
            assert dict(zip(scripts, pool.map(status, scripts), strict=True)) == scripts


@pytest.mark.parametrize(
    ("options", "script", "status"),
    [
        (["-e", "143"], "kill -TERM $$", 0),
        (["-e", "1", "-e", "3"], "exit 3", 0),
        (["-e1", "--remap-exit=255"], "exit 255", 0),
        (["-e", "0"], "exit 0", 0),
        (["-e", "3"], "exit 4", 4),
        (["-e", "3"], "exit 0", 0),
    ],
    ids=str,
)
def test_a_remapped_exit_status_becomes_0_and_no_other(
    mode: Mode, options: list[str], script: str, status: int
) -> None:
    with started(*options, "--", "sh", "-c", script, mode=mode) as run:
        assert run.wait() == status


def test_the_status_is_the_commands_whatever_its_orphans_exit_with(mode: Mode) -> None:
    with started("sh", "-c", "(sh -c 'exit 8' &); (sh -c 'kill -9 $$' &); sleep 0.05; exit 4", mode=mode) as run:
        assert run.wait() == 4


def test_a_failing_command_is_not_retold(capfd: pytest.CaptureFixture[str]) -> None:
    """The command has said what went wrong; pyinit says nothing unless asked."""
    with started("sh", "-c", "exit 1") as run:
        assert run.wait() == 1
    assert capfd.readouterr().err == ""
