"""--pid-namespace on a terminal: what holds for a plain pyinit holds here, though PID 1 cannot be stopped."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.launching import LAUNCHER, NOBODY, somebody
from tests.behaviour.shell import (
    CTRL_BACKSLASH,
    CTRL_C,
    CTRL_D,
    CTRL_Z,
    PROMPT,
    SHELLS,
    Shell,
    Terminal,
    reporter,
    shell,
    signals_until_the_barrier,
    terminal,
    words_of,
)
from tests.harness import children_of, need, need_root, state_of, wait_until

BASH_INSIDE = ["bash", "--norc", "--noprofile", "-i"]


@pytest.fixture(params=SHELLS)
def sh(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """An interactive shell, bash and dash."""
    need(request.param)
    with shell(*SHELLS[request.param]) as run:
        yield run


def launcher_of(run: Shell, parent: int | None = None) -> int:
    """The PID of the launcher that `parent`, by default the shell, has started, once its command runs."""

    def find() -> list[int]:
        pids = children_of(parent or run.pid)
        return [pid for pid in pids if inner_child(pid) > 0 and b"pyinit" not in words_of(inner_child(pid))]

    return wait_until(find, "a launcher with its command")[0]


def suspended(launcher: int) -> bool:
    """Whether the launcher and the command with all below it is stopped; PID 1 in between never is."""
    inner = children_of(launcher)[0]
    below = children_of(inner)
    for pid in below:
        below += children_of(pid)
    return len(below) > 0 and {state_of(launcher), *map(state_of, below)} == {"T"} and state_of(inner) != "T"


@pytest.mark.parametrize("command", ["cat", "sh -c 'cat | cat'", "sh -c 'cat; exit 3'", "pyinit -n cat"])
def test_ctrl_z_suspends_the_whole_thing_and_fg_brings_it_back(sh: Shell, command: str) -> None:
    sh.start(f"pyinit -n {command}")
    sh.echoes("hello")
    if "pyinit" not in command:
        launcher = launcher_of(sh)
    assert "Stopped" in sh.suspend()
    assert sh.foreground() == sh.pid
    if "pyinit" not in command:
        assert suspended(launcher)
    assert "Stopped" in sh.run("jobs")
    sh.start("fg")
    sh.echoes("again")
    sh.type(CTRL_D)
    sh.prompt()
    assert sh.status() == (3 if "3" in command else 0)
    sh.leave()


def test_ctrl_z_and_fg_work_ten_times_in_a_row(sh: Shell) -> None:
    sh.start("pyinit -n cat")
    for turn in range(10):
        sh.echoes(f"turn {turn}")
        assert "Stopped" in sh.suspend()
        sh.start("fg")
    sh.echoes("last")
    sh.type(CTRL_D)
    sh.prompt()
    sh.leave()


def test_bg_lets_it_run_on_without_the_terminal(sh: Shell) -> None:
    sh.start("pyinit -n sleep 1000")
    launcher = launcher_of(sh)
    assert "Stopped" in sh.suspend()
    assert suspended(launcher)
    sh.run("bg")
    (inner,) = children_of(launcher)
    (command,) = children_of(inner)
    wait_until(lambda: [state_of(pid) for pid in (launcher, inner, command)] == ["S"] * 3, "all of it to go on")
    assert sh.foreground() == sh.pid
    sh.start("fg")  # bash continues no job that runs: the terminal is the launcher's then, who forwards what is typed
    sh.type(CTRL_C)
    sh.prompt()
    assert sh.status() == 128 + signal.SIGINT
    sh.leave()


def test_a_suspended_one_that_is_killed_leaves_nothing(sh: Shell) -> None:
    sh.start("pyinit -n sh -c 'trap \"\" TERM; cat'")
    sh.echoes("hello")
    launcher = launcher_of(sh)
    assert "Stopped" in sh.suspend()
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: sh.alive() == [sh.pid], "the end of all inside")
    sh.run("")
    sh.run("")
    sh.leave()


def test_a_background_job_stops_on_input_and_fg_lets_it_read(sh: Shell) -> None:
    sh.run("pyinit -n cat &")
    launcher = launcher_of(sh)
    wait_until(lambda: suspended(launcher), "cat to stop on input")
    assert sh.foreground() == sh.pid
    sh.start("fg")
    sh.echoes("hello")
    sh.type(CTRL_D)
    sh.prompt()
    assert sh.status() == 0
    sh.leave()


def test_a_running_background_job_that_fg_takes_gets_the_terminal_when_it_reads(sh: Shell, tmp_path: Path) -> None:
    """The shell continues no job that runs: the launcher is in the foreground, and the command wants to read."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    sh.run(f"pyinit -n sh -c 'read go < {fifo}; read line; echo $line-$line' &")
    launcher_of(sh)
    sh.start("fg")
    fifo.write_text("go\n")
    sh.enter("hello")
    assert sh.see("hello-hello\r\n", "Stopped", "stopped") == "hello-hello\r\n"
    sh.prompt()
    assert sh.status() == 0
    sh.leave()


@pytest.mark.parametrize(("key", "name"), [(CTRL_C, "SIGINT"), (CTRL_BACKSLASH, "SIGQUIT")])
def test_a_key_reaches_the_command_once(key: str, name: str) -> None:
    with terminal(*LAUNCHER, *reporter()) as run:
        run.see("reporting")
        wait_until(lambda: run.foreground() == inner_child(run.pid), "the command in the foreground")
        for _ in range(3):
            run.type(key)
            run.see(f"got {name}\r\n")
            assert signals_until_the_barrier(run, run.pid) == []


def inner_child(launcher: int) -> int:
    """The command's PID, for a launcher that is the program of a terminal."""
    inner = children_of(launcher)
    command = children_of(inner[0]) if inner else []
    return command[0] if command else -1


def test_ctrl_c_under_a_shell_ends_the_job_with_130(sh: Shell) -> None:
    sh.start("pyinit -n sleep 1000")
    launcher_of(sh)
    sh.type(CTRL_C)
    sh.prompt()
    assert sh.status() == 130
    sh.leave()


def test_a_window_size_reaches_the_command_once() -> None:
    with terminal(*LAUNCHER, *reporter()) as run:
        run.see("reporting")
        wait_until(lambda: run.foreground() == inner_child(run.pid), "the command in the foreground")
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


def test_bash_has_job_control_inside_and_can_be_suspended_outside(sh: Shell) -> None:
    sh.enter("pyinit -n bash --norc --noprofile -i")
    see_first_prompt(sh)
    sh.enter("suspend")
    sh.prompt()
    assert sh.foreground() == sh.pid
    assert "Stopped" in sh.run("jobs")
    sh.enter("fg")
    sh.prompt()
    job_control_works(sh)
    sh.prompt()
    assert sh.status() == 9
    sh.leave()


def test_a_session_leader_is_never_suspended() -> None:
    with terminal(*LAUNCHER, "sh", "-c", "echo up; cat") as run:
        run.see("up")
        wait_until(lambda: run.foreground() == inner_child(run.pid), "the command in the foreground")
        run.type(CTRL_Z)
        run.echoes("still here")
        assert state_of(run.pid) == "S"


def test_the_terminal_comes_back_from_an_inner_that_was_killed(sh: Shell) -> None:
    sh.start("sh -c 'pyinit -n cat; read line; echo script: $line'")
    sh.echoes("hello")
    script = wait_until(lambda: [pid for pid in children_of(sh.pid) if state_of(pid) != "Z"], "the script")[0]
    (inner,) = children_of(launcher_of(sh, script))
    os.kill(inner, signal.SIGKILL)
    wait_until(lambda: not children_of(script), "the end of the launcher")
    sh.enter("mine")
    sh.see("script: mine\r\n")
    sh.prompt()
    sh.leave()


def test_a_pipeline_with_a_launcher_in_it_stops_and_continues_as_one_job(sh: Shell) -> None:
    sh.start("pyinit -n cat | cat")
    sh.echoes("hello")
    assert "Stopped" in sh.suspend()
    sh.start("fg")
    sh.echoes("again")
    sh.type(CTRL_D)
    sh.prompt()
    sh.leave()


def test_sigtstp_from_kill_suspends_and_fg_continues(sh: Shell) -> None:
    sh.start("pyinit -n cat")
    sh.echoes("hello")
    launcher = launcher_of(sh)
    os.kill(launcher, signal.SIGTSTP)
    sh.prompt()
    wait_until(lambda: suspended(launcher), "all of it to stop")
    sh.start("fg")
    sh.echoes("again")
    sh.type(CTRL_D)
    sh.prompt()
    sh.leave()
