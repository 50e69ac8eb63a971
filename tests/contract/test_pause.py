"""--pause: no command; adopt and reap until SIGTERM or SIGINT, then drain and exit 0."""

import os
import signal
import subprocess

import pytest

from tests.harness import (
    PYINIT,
    PYTHON,
    Mode,
    children_of,
    has_taken_all,
    name_of,
    need,
    need_root,
    settled,
    started,
    wait_until,
)
from tests.shell import CTRL_C, SHELLS, shell, terminal

# Becomes pyinit with a child that has ended already, whose SIGCHLD nobody will see.
ZOMBIE_FIRST = """
import os, sys
if os.fork() == 0:
    os._exit(0)
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("option", ["-P", "--pause"])
def test_pause_ends_with_0_on_a_stop_signal(mode: Mode, name: str, option: str) -> None:
    with started(option, mode=mode, cwd="/tmp") as run:
        settled(run.pid)
        run.send(getattr(signal, name))
        assert run.wait() == 0
        assert run.alive() == []


def test_pause_outlives_every_other_signal(mode: Mode) -> None:
    with started("-P", mode=mode, cwd="/tmp") as run:
        settled(run.pid)
        for signum in signal.valid_signals() - {signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGSTOP}:
            run.send(signum)
        wait_until(lambda: has_taken_all(run.pid), "the signals to be taken")
        assert run.process.poll() is None
        run.send(signal.SIGTERM)
        assert run.wait() == 0


def test_pause_reaps_what_it_adopts_and_drains_the_rest(mode: Mode) -> None:
    script = 'cd /tmp; sleep 1000 & setsid sleep 1000 & exec "$@"'
    with started("-P", "-t", "1000", init=["sh", "-c", script, "sh", str(PYINIT)], mode=mode) as run:
        settled(run.pid)
        one, other = children_of(run.pid)
        os.kill(one, signal.SIGTERM)
        wait_until(lambda: children_of(run.pid) == [other], "one to be reaped")
        run.send(signal.SIGTERM)
        assert run.wait() == 0
        assert run.alive() == []


def test_pause_reaps_the_orphans_of_what_comes_in_by_nsenter() -> None:
    need_root()
    need("nsenter")
    with started("-P", mode="pid1", cwd="/tmp") as run:
        settled(run.pid)
        subprocess.run(["nsenter", "-t", str(run.pid), "-p", "-m", "sh", "-c", "(sleep 0.2 &) & (true &)"], check=True)
        wait_until(lambda: not children_of(run.pid), "the orphans to be reaped")
        run.send(signal.SIGTERM)
        assert run.wait() == 0


def test_pause_reaps_a_child_that_had_ended_before_it_began(mode: Mode) -> None:
    with started("-P", init=[PYTHON, "-ISc", ZOMBIE_FIRST, str(PYINIT)], mode=mode) as run:
        wait_until(lambda: name_of(run.pid) == "pyinit", "pyinit")
        wait_until(lambda: not children_of(run.pid), "the zombie to be reaped")
        run.send(signal.SIGTERM)
        assert run.wait() == 0


def test_pause_with_a_command_is_an_error() -> None:
    with started("-P", "true", stderr=subprocess.PIPE) as run:
        assert run.wait() == 125
        assert b"--pause" in run.stderr.read()


def test_ctrl_c_ends_a_pause_on_a_terminal() -> None:
    with terminal(PYINIT, "-P") as run:
        settled(run.pid)
        run.type(CTRL_C)
        assert run.wait() == 0
    need("bash")
    with shell(*SHELLS["bash"]) as sh:
        sh.run("cd /tmp")
        sh.start("pyinit -P")
        settled(wait_until(lambda: sh.named("pyinit"), "pyinit")[0])
        sh.type(CTRL_C)
        sh.prompt()
        assert sh.status() == 0
        sh.leave()
