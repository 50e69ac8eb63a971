"""--pid-namespace on a terminal, without a shell around it, or killed; the rest is in tests/terminal."""

import os
import signal

import pytest

from tests.copies import NOBODY
from tests.harness import children_of, need, need_root, pid_one_below, state_of, wait_until
from tests.namespace.launching import LAUNCHER, somebody
from tests.programs import recorder
from tests.shell import (
    CTRL_BACKSLASH,
    CTRL_C,
    CTRL_Z,
    PROMPT,
    Shell,
    Terminal,
    command_of,
    signals_until_the_barrier,
    terminal,
)

BASH_INSIDE = ["bash", "--norc", "--noprofile", "-i"]


def test_a_suspended_one_that_is_killed_leaves_nothing(sh: Shell) -> None:
    sh.start("pyinit -n sh -c 'trap \"\" TERM; cat'")
    sh.echoes("hello")
    launcher = sh.pyinit()
    assert "Stopped" in sh.suspend()
    os.kill(launcher, signal.SIGKILL)
    sh.lose_jobs()
    sh.leave()


@pytest.mark.parametrize(("key", "name"), [(CTRL_C, "SIGINT"), (CTRL_BACKSLASH, "SIGQUIT")])
def test_a_key_reaches_the_command_once(key: str, name: str) -> None:
    with terminal(*LAUNCHER, *recorder()) as run:
        run.see("up\r\n")
        assert run.foreground() == command_of(run.pid) == os.getpgid(command_of(run.pid))
        for _ in range(3):
            run.type(key)
            run.see(f"got {name}\r\n")
            assert signals_until_the_barrier(run, run.pid) == []


def test_with_g_a_signal_reaches_what_the_command_has_started() -> None:
    with terminal(*LAUNCHER, "-g", "sh", "-c", "trap 'exit 5' TERM; sleep 1000 & echo up; wait; wait") as run:
        run.see("up")
        run.the("sleep")  # before its exec it is a shell, which may lose the signal
        os.kill(run.pid, signal.SIGTERM)
        assert run.wait() == 5


def test_a_window_size_reaches_the_command_once() -> None:
    with terminal(*LAUNCHER, *recorder()) as run:
        run.see("up\r\n")
        assert run.foreground() == command_of(run.pid) == os.getpgid(command_of(run.pid))
        run.resize(30, 100)
        run.see("got SIGWINCH\r\n")
        assert signals_until_the_barrier(run, run.pid) == []


def job_control_works(run: Terminal) -> None:
    """In the bash that has just shown its first prompt: start a job, suspend it, bring it back, end it."""
    own = run.foreground()
    run.enter("cat")
    wait_until(lambda: run.foreground() != own, "cat in the foreground")
    run.echoes("hello")
    run.type(CTRL_Z)
    assert "Stopped" in run.see_text(PROMPT)
    assert run.foreground() == own
    run.enter("fg")
    wait_until(lambda: run.foreground() != own, "cat in the foreground")
    run.echoes("again")
    run.type(CTRL_C)
    run.see_text(PROMPT)
    assert run.foreground() == own
    run.enter("exit 9")


@pytest.mark.parametrize("user", ["self", "nobody"])
def test_bash_has_job_control_behind_a_launcher_that_leads_the_session(user: str) -> None:
    need("bash")
    if user == "self":
        with terminal(*LAUNCHER, *BASH_INSIDE) as run:
            see_first_prompt(run)
            job_control_works(run)
            assert run.wait() == 9
        return
    need_root()
    with somebody(NOBODY, NOBODY) as other, terminal(*other.launcher, *BASH_INSIDE) as run:
        see_first_prompt(run)
        job_control_works(run)
        assert run.wait() == 9


def see_first_prompt(run: Terminal) -> None:
    before = run.see_text(PROMPT)
    assert "process group" not in before
    assert "job control" not in before


def test_a_launcher_that_leads_the_session_continues_its_command() -> None:
    with terminal(*LAUNCHER, "sh", "-c", "cat; true") as run:
        # If Ctrl-Z stops the child before its exec, dash stays in vfork(2), and nobody sees the stop.
        run.echoes("hello")
        command = wait_until(lambda: command_of(run.pid), "the command")
        assert run.foreground() == command == os.getpgid(command)
        run.type(CTRL_Z)
        run.echoes("still here")
        assert state_of(run.pid) != "T"


def test_the_terminal_comes_back_from_an_inner_that_was_killed(sh: Shell) -> None:
    sh.start("sh -c 'pyinit -n cat; read line; echo script: $line'")
    sh.echoes("hello")
    script = wait_until(lambda: [pid for pid in children_of(sh.pid) if state_of(pid) != "Z"], "the script")[0]
    os.kill(pid_one_below(sh.pyinit(script)), signal.SIGKILL)
    wait_until(lambda: not children_of(script), "the end of the launcher")
    sh.enter("mine")
    sh.see("script: mine\r\n")
    sh.prompt()
    sh.leave()
