"""The exit status is the command's own."""

import signal

import pytest

from tests.harness import Mode, started


@pytest.mark.parametrize("status", [0, 1, 3, 124, 128, 255])
def test_the_commands_exit_status_is_pyinits(mode: Mode, status: int) -> None:
    with started("sh", "-c", f"exit {status}", mode=mode) as run:
        assert run.wait() == status


@pytest.mark.parametrize("name", ["SIGHUP", "SIGKILL", "SIGTERM", "SIGSEGV", "SIGRTMIN"])
def test_a_command_killed_by_a_signal_gives_128_and_its_number(mode: Mode, name: str) -> None:
    signum = getattr(signal, name)
    with started("sh", "-c", f"kill -{int(signum)} $$", mode=mode) as run:
        assert run.wait() == 128 + signum
