"""TSTP, TTIN and TTOU sent by kill(1): forwarded, and pyinit suspends itself where a shell could continue it."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.behaviour.shell import CONTAINER, SHELLS, reporter, shell, signals_until_the_barrier, terminal
from tests.harness import PYINIT, Mode, Started, need, started, state_of, wait_until

SUSPENDING = ["SIGTSTP", "SIGTTIN", "SIGTTOU"]


@contextmanager
def job(*options: str) -> Iterator[Started]:
    """A pyinit in a process group that somebody in its session could continue."""
    with started(*options, *reporter(), process_group=0) as run:
        assert run.line() == b"reporting\n"
        yield run


@pytest.mark.parametrize("name", SUSPENDING)
@pytest.mark.parametrize("rewritten", ["", "USR1", "0"])
def test_pyinit_suspends_itself_until_sigcont_whatever_it_forwards(name: str, rewritten: str) -> None:
    forwarded = {"": name, "USR1": "SIGUSR1", "0": ""}[rewritten]
    with job(*(["-r", f"{name}:{rewritten}"] if rewritten else [])) as run:
        for _ in range(5):
            run.send(getattr(signal, name))
            if forwarded:
                assert run.line() == f"got {forwarded}\n".encode()
            wait_until(lambda: state_of(run.pid) == "T", "pyinit to suspend itself")
            run.send(signal.SIGCONT)
            assert run.line() == b"got SIGCONT\n"
        run.send(signal.SIGTERM)
        assert run.wait() == 0


@pytest.mark.parametrize("name", SUSPENDING)
@pytest.mark.parametrize("where", ["PID 1", "a session leader", "an orphaned group"])
def test_nobody_could_continue_it_and_so_it_is_forwarded_only(name: str, where: str) -> None:
    mode: Mode = "pid1" if where == "PID 1" else "subreaper"
    lonely = ["setsid", "sh", "-c", '"$@" & sleep 0', "sh", str(PYINIT)]
    init = lonely if where == "an orphaned group" else [str(PYINIT)]
    with started(*reporter(), init=init, mode=mode, start_new_session=where == "a session leader") as run:
        assert run.line() == b"reporting\n"
        pyinit = run.pid
        if where == "an orphaned group":
            run.wait()  # it is setsid's and then sh's: from here on pyinit has nobody in its session
            pyinit = next(pid for pid in run.alive() if int(os.readlink(f"/proc/{pid}/cwd") == "/"))
        for _ in range(5):
            os.kill(pyinit, getattr(signal, name))
            assert run.line() == f"got {name}\n".encode()
            os.kill(pyinit, signal.SIGRTMIN)
            assert run.line() == b"got the barrier\n"  # it forwards, and so it is not stopped
        os.kill(pyinit, signal.SIGTERM)
        wait_until(lambda: not run.alive(), "the end")


@pytest.mark.parametrize("leader", [[str(PYINIT)], [*CONTAINER, str(PYINIT)]], ids=["subreaper", "pid1"])
@pytest.mark.parametrize("name", SUSPENDING)
def test_a_session_leader_on_a_terminal_forwards_it_only(leader: list[str], name: str) -> None:
    with terminal(*leader, *reporter()) as run:
        run.see("reporting\r\n")
        pyinit = os.getsid(run.foreground())
        os.kill(pyinit, getattr(signal, name))
        assert signals_until_the_barrier(run, pyinit) == [name]
        os.kill(pyinit, signal.SIGTERM)
        assert run.wait() == 0


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("option", ["", "-r TSTP:0", "-r TSTP:USR1", "-n"])
def test_under_a_shell_kill_tstp_suspends_the_job_and_fg_continues_it(name: str, option: str) -> None:
    need(name)
    with shell(*SHELLS[name]) as run:
        words = " ".join(f"'{word}'" for word in reporter())
        run.enter(f"pyinit {option} {words}")
        run.see("reporting\r\n")
        pyinit = run.pyinit()
        os.kill(pyinit, signal.SIGTSTP)
        assert "Stopped" in run.prompt()
        assert state_of(pyinit) == "T"
        assert run.foreground() == run.pid
        run.start("fg")
        run.see("got SIGCONT\r\n")
        assert re.match(r"S|R", state_of(pyinit))
        wait_until(lambda: run.foreground() not in (run.pid, pyinit), "the command in the foreground")
        os.kill(pyinit, signal.SIGTERM)
        run.prompt()
        assert run.status() == 0
        run.leave()
