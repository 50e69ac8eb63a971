"""Ctrl-C and Ctrl-\\: whom they end, and what is seen of that by whoever has started pyinit."""

import signal
from pathlib import Path

import pexpect
import pytest

from tests.harness import PYTHON
from tests.shell import (
    CTRL_BACKSLASH,
    CTRL_C,
    Shell,
    terminal,
)

pytestmark = pytest.mark.itself


@pytest.mark.parametrize("script", ["sh", "bash"])
def test_ctrl_c_ends_the_script_around_pyinit(bash: Shell, either: str, script: str) -> None:
    bash.enter(f"{script} -c '{either} sleep 1000; echo next'")
    bash.the("sleep")
    bash.type(CTRL_C)
    assert "next" not in bash.prompt().partition("\r\n")[2]
    assert bash.status() == 130
    bash.leave()


# Starts what it is told to, outlives the keys, and says how that has ended: whether of a signal, which, with a core.
WAITS = """
import os, resource, signal, sys
os.chdir(sys.argv.pop(1))  # where the command's own core file goes
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
pid = os.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
for key in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(key, signal.SIG_IGN)
status = os.waitpid(pid, 0)[1]
print(os.WIFSIGNALED(status), os.WTERMSIG(status), os.WCOREDUMP(status))
"""


@pytest.mark.parametrize(("key", "signum"), [(CTRL_C, signal.SIGINT), (CTRL_BACKSLASH, signal.SIGQUIT)])
def test_pyinit_dies_of_a_key_as_its_command_and_leaves_no_core(
    tmp_path: Path, either: str, key: str, signum: int
) -> None:
    with terminal(PYTHON, "-c", WAITS, tmp_path, *either.split(), "sleep", "1000") as run:
        run.the("sleep")
        run.type(key)
        run.see(rf"True {int(signum)} False\r\n")
        assert run.wait() == 0


@pytest.mark.parametrize(("key", "status"), [(CTRL_C, 130), (CTRL_BACKSLASH, 131)])
def test_a_session_leader_exits_with_the_status_of_a_key(leader: list[str], key: str, status: int) -> None:
    with terminal(*leader, "sleep", "1000") as run:
        run.the("sleep")
        run.type(key)
        run.spawn.expect(pexpect.EOF)
        run.spawn.wait()
        assert run.spawn.exitstatus == status


def test_a_command_that_handles_ctrl_c_ends_pyinit_with_its_status(bash: Shell, pyinit: str) -> None:
    for status in (3, 130):
        bash.enter(f"{pyinit} sh -c 'trap \"exit {status}\" INT; echo ready; while :; do sleep 0.05; done'")
        bash.see("ready\r\n")
        bash.type(CTRL_C)
        bash.prompt()
        assert bash.status() == status
    bash.leave()


def test_a_remapped_death_by_ctrl_c_is_no_death(bash: Shell, pyinit: str) -> None:
    bash.start(f"{pyinit} -e 130 sleep 1000")
    bash.the("sleep")
    bash.type(CTRL_C)
    bash.prompt()
    assert bash.status() == 0
    bash.leave()
