"""TSTP, TTIN and TTOU sent by kill(1): forwarded, and pyinit stops where its command does and a shell looks on.

Servers have uses of their own for them: gunicorn scales by two of them, sidekiq goes quiet for the third.
"""

import os
import signal

import pytest

from tests.harness import PYINIT, Mode, name_of, need, started, state_of, wait_until
from tests.programs import recorder
from tests.shell import (
    CONTAINER,
    SHELLS,
    shell,
    signals_until_the_barrier,
    terminal,
)
from tests.terminal.jobs import job_is_known, reporting_job

pytestmark = pytest.mark.itself

SUSPENDING = ["SIGTSTP", "SIGTTIN", "SIGTTOU"]


@pytest.mark.parametrize("name", SUSPENDING)
@pytest.mark.parametrize("where", ["PID 1", "a session leader", "an orphaned group", "a job"])
def test_without_a_terminal_they_are_forwarded_and_pyinit_goes_on(name: str, where: str) -> None:
    mode: Mode = "pid1" if where == "PID 1" else "subreaper"
    script = {"an orphaned group": '"$@" & sleep 0', "a job": 'set -m; "$@" & wait'}.get(where, 'exec "$@"')
    with started(*recorder(), init=["bash", "-c", script, "bash", str(PYINIT)], mode=mode) as run:
        run.up()
        pyinit = run.pid
        if where == "an orphaned group":
            run.wait()  # from here on pyinit has nobody in its session
        if where in ("an orphaned group", "a job"):
            pyinit = wait_until(lambda: [pid for pid in run.alive() if name_of(pid) == "pyinit"])[0]
        for _ in range(5):
            os.kill(pyinit, getattr(signal, name))
            assert run.line() == f"got {name}\n".encode()
            os.kill(pyinit, signal.SIGRTMIN)
            assert run.line() == b"got SIGRTMIN\n"  # it forwards, and so it is not stopped
        os.kill(pyinit, signal.SIGTERM)
        wait_until(lambda: not run.alive(), "the end")


@pytest.mark.parametrize("leader", [[str(PYINIT)], [*CONTAINER, str(PYINIT)]], ids=["subreaper", "pid1"])
@pytest.mark.parametrize("name", SUSPENDING)
def test_a_session_leader_on_a_terminal_forwards_it_only(leader: list[str], name: str) -> None:
    with terminal(*leader, *recorder()) as run:
        run.see("up\r\n")
        pyinit = os.getsid(run.foreground())
        os.kill(pyinit, getattr(signal, name))
        assert signals_until_the_barrier(run, pyinit) == [name]
        os.kill(pyinit, signal.SIGTERM)
        assert run.wait() == 0


@pytest.mark.parametrize("name", SUSPENDING)
@pytest.mark.parametrize("option", ["", "-n"])
def test_under_a_shell_a_command_that_handles_it_goes_on_and_so_does_pyinit(name: str, option: str) -> None:
    with reporting_job(f"pyinit {option}") as (run, pyinit):
        for _ in range(3):
            os.kill(pyinit, getattr(signal, name))
            assert signals_until_the_barrier(run, pyinit) == [name]


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("signum", SUSPENDING)
@pytest.mark.parametrize("option", ["", "-r USR1:{signum}", "-n"])
def test_under_a_shell_a_command_that_stops_for_it_is_a_stopped_job(name: str, option: str, signum: str) -> None:
    need(name)
    with shell(*SHELLS[name]) as run:
        run.start(f"pyinit {option.format(signum=signum[3:])} cat")
        run.echoes("hello")
        pyinit = run.pyinit()
        job_is_known(pyinit)
        os.kill(pyinit, signal.SIGUSR1 if "USR1" in option else getattr(signal, signum))
        assert "Stopped" in run.prompt()
        assert state_of(pyinit) == "T"
        assert run.foreground() == run.pid
        run.start("fg")
        run.echoes("again")
        assert state_of(pyinit) in "SR"
        os.kill(pyinit, signal.SIGTERM)
        run.prompt()
        assert run.status() == 143
        run.leave()


@pytest.mark.parametrize("option", ["-r TSTP:0", "-r TSTP:USR1"])
def test_under_a_shell_what_does_not_stop_the_command_does_not_stop_pyinit(option: str) -> None:
    with reporting_job(f"pyinit {option}") as (run, pyinit):
        os.kill(pyinit, signal.SIGTSTP)
        assert signals_until_the_barrier(run, pyinit) == (["SIGUSR1"] if "USR1" in option else [])
