"""pyinit as the leader of a terminal's session, as `docker run -t` starts it, and what a terminal may do to it."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.harness import PYINIT, children_of, need, need_root, state_of, status_of, wait_until
from tests.programs import recorder
from tests.shell import (
    CTRL_BACKSLASH,
    CTRL_C,
    CTRL_D,
    CTRL_Z,
    SHELLS,
    Terminal,
    shell,
    signals_until_the_barrier,
    terminal,
)
from tests.terminal.jobs import cat_outlives_ctrl_z, reporting_job

pytestmark = pytest.mark.itself


@pytest.fixture
def reporting(leader: list[str]) -> Iterator[tuple[Terminal, int]]:
    """A terminal with a session leader pyinit that runs a reporter; and pyinit's PID."""
    with terminal(*leader, *recorder()) as run:
        run.see("up\r\n")
        yield run, os.getsid(run.foreground())


def end(reporting: tuple[Terminal, int]) -> None:
    """End the reporter and check that all is gone."""
    run, pyinit = reporting
    os.kill(pyinit, signal.SIGTERM)
    assert run.wait() == 0
    assert run.alive() == []


def test_cat_reads_and_ctrl_d_ends_it(leader: list[str]) -> None:
    with terminal(*leader, "cat") as run:
        run.echoes("hello")
        run.type(CTRL_D)
        assert run.wait() == 0
        assert run.alive() == []


def test_the_commands_exit_status_is_pyinits(leader: list[str]) -> None:
    with terminal(*leader, "sh", "-c", "read status; exit $status") as run:
        run.enter("3")
        assert run.wait() == 3
    with terminal(*leader, "cat") as run:
        run.echoes("hello")
        run.type(CTRL_C)
        assert run.wait() == 128 + signal.SIGINT


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_has_job_control(leader: list[str], name: str) -> None:
    need(name)
    with shell(*leader, *SHELLS[name]) as run:  # it has no complaint before its first prompt
        inner = run.foreground()
        for line in ("cat", "fg", "fg"):
            run.enter(line)
            wait_until(lambda: run.foreground() != inner, "cat in the foreground")
            run.echoes("hello")
            assert "Stopped" in run.suspend()
            assert run.foreground() == inner
        run.enter("fg")
        wait_until(lambda: run.foreground() != inner, "cat in the foreground")
        run.type(CTRL_D)
        run.prompt()
        run.enter("exit 5")
        assert run.wait() == 5
        assert run.alive() == []


@pytest.mark.parametrize(("key", "name"), [(CTRL_C, "SIGINT"), (CTRL_BACKSLASH, "SIGQUIT"), (CTRL_Z, "SIGTSTP")])
def test_a_key_reaches_the_command_exactly_once(reporting: tuple[Terminal, int], key: str, name: str) -> None:
    run, pyinit = reporting
    for _ in range(10):
        run.type(key)
        run.see(f"got {name}\r\n")
        assert signals_until_the_barrier(run, pyinit) == []
    end(reporting)


def test_a_new_window_size_reaches_the_command_exactly_once(reporting: tuple[Terminal, int]) -> None:
    run, pyinit = reporting
    for rows in range(30, 40):
        run.resize(rows, 132)
        run.see("got SIGWINCH\r\n")
        assert signals_until_the_barrier(run, pyinit) == []
    end(reporting)


def test_the_keys_reach_a_job_of_a_shell_exactly_once() -> None:
    with reporting_job("pyinit") as (run, pyinit):
        for key, name in ((CTRL_C, "SIGINT"), (CTRL_BACKSLASH, "SIGQUIT"), (CTRL_C, "SIGINT")):
            run.type(key)
            run.see(f"got {name}\r\n")
            assert signals_until_the_barrier(run, pyinit) == []
        run.resize(50, 100)
        run.see("got SIGWINCH\r\n")
        assert signals_until_the_barrier(run, pyinit) == []


def test_ctrl_z_does_not_hang_what_no_shell_could_continue(leader: list[str]) -> None:
    with terminal(*leader, "cat") as run:
        cat_outlives_ctrl_z(run, 10)


@pytest.mark.command_line
def test_ctrl_z_between_the_fork_and_the_exec_does_not_hang_pyinit() -> None:
    need("strace")
    slowly = ["-e", "trace=rt_sigprocmask", "-e", "inject=rt_sigprocmask:delay_exit=300000"]
    with terminal("strace", "-f", "-o", "/dev/null", *slowly, PYINIT, "cat") as run:
        run.forks()
        run.type(CTRL_Z)  # a shell could not continue this job: strace's parent is in another session
        run.echoes("hello")
        run.type(CTRL_D)
        assert run.wait() == 0


@pytest.mark.parametrize("where", ["a leader", "a job"])
def test_when_the_command_runs_pyinit_has_left_its_directory(leader: list[str], where: str, tmp_path: Path) -> None:
    words = ["sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path), *leader]
    if where == "a job":
        words = ["sh", "-c", 'cd "$0" && "$@"; exit', str(tmp_path), str(PYINIT)]
    for _ in range(5):
        with terminal(*words, "sh", "-c", "echo $(readlink /proc/$PPID/cwd) is it") as run:
            run.see("\\A/ is it\r\n")
            assert run.wait() == 0


def test_a_hang_up_ends_the_command_of_a_session_leader(leader: list[str], tmp_path: Path) -> None:
    with terminal(*leader, "sh", "-c", told(tmp_path)) as run:
        run.see("ready\r\n")
        run.hang_up()
        wait_until(lambda: run.alive() == [], "the end of everything")
        assert (tmp_path / "told").read_text() == "SIGHUP\n"


# dash sends no SIGHUP to its jobs, and the kernel none to those in the background.
HUNG_UP = [job for job in product(SHELLS, ("foreground", "stopped", "background")) if job != ("dash", "background")]


@pytest.mark.parametrize(("name", "where"), HUNG_UP)
def test_a_hang_up_ends_a_job_of_a_shell(name: str, where: str, tmp_path: Path) -> None:
    need(name)
    with shell(*SHELLS[name]) as run:
        line = f"pyinit -t 0.5 sh -c '{told(tmp_path)}'"
        run.enter(f"{line} &" if where == "background" else line)
        run.see("ready\r\n")
        if where == "stopped":
            run.suspend()
        pyinit = run.pyinit()
        run.hang_up()
        wait_until(lambda: not status_of(pyinit) or state_of(pyinit) == "Z", "the end of pyinit")
        wait_until(lambda: run.alive() == [], "the end of everything")
        assert (tmp_path / "told").read_text() == "SIGHUP\n"


def told(folder: Path) -> str:
    """A command for sh that notes once that it has got SIGHUP, and leaves a process that knows of no terminal."""
    trap = f'trap "trap \\"\\" HUP; echo SIGHUP >> {folder}/told; exit" HUP'
    trap += '; trap ":" TERM'  # which bash sends to a stopped job as well, at the same moment
    return f"{trap}; setsid sleep 1000 & echo ready; while :; do sleep 1000 & wait; done"


def test_a_command_whose_stdin_is_no_terminal_reads_dev_tty(leader: list[str]) -> None:
    words = ["sh", "-c", 'exec "$@" </dev/null', "sh", *leader] if len(leader) == 1 else [*leader]
    with terminal(*words, "sh", "-c", "cat; read line </dev/tty; echo $line-$line") as run:
        if len(leader) > 1:
            run.type(CTRL_D)
        run.enter("hello")
        run.see("hello-hello\r\n")
        assert run.wait() == 0


def test_a_job_whose_stdin_is_no_terminal_has_the_foreground_all_the_same() -> None:
    with shell(*SHELLS["dash"]) as run:
        run.start("echo piped | pyinit sh -c 'cat; read line </dev/tty; echo $line-$line'")
        run.see("piped\r\n")
        run.enter("hello")
        run.see("hello-hello\r\n")
        run.prompt()
        run.leave()


@pytest.mark.parametrize("device", ["none", "/dev/null"])
def test_without_a_dev_tty_stdin_is_the_terminal(device: str) -> None:
    need_root()
    hide = "mount -t tmpfs none /dev" if device == "none" else f"mount --bind {device} /dev/tty"
    with terminal("unshare", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh", PYINIT, "cat") as run:
        run.echoes("hello")
        assert os.getpgid(children_of(run.pid)[0]) == run.foreground() == children_of(run.pid)[0]
        run.type(CTRL_Z)
        run.echoes("again")
        run.type(CTRL_C)
        assert run.wait() == 128 + signal.SIGINT


def test_a_terminal_that_is_only_stdin_and_not_the_controlling_one_is_left_alone() -> None:
    need_root()
    with terminal("setsid", "--fork", "--wait", PYINIT, "cat") as run:
        run.echoes("hello")
        assert run.foreground() == run.pid
        run.type(CTRL_D)
        assert run.wait() == 0


@pytest.mark.parametrize("where", ["", "&"])
def test_with_tostop_set_messages_neither_stop_nor_block_pyinit(where: str) -> None:
    need("bash")
    with shell(*SHELLS["bash"]) as run:
        run.run("stty tostop")
        run.enter(f"pyinit -vv sh -c 'sleep 1000 & kill -s WINCH $PPID; exit 3' {where}".strip())
        run.see(r"drained in .*\r\n")
        run.enter("wait $!; echo status=$?" if where else "echo status=$?")
        run.see(r"status=3\r\n")
        run.prompt()
        run.leave()


def test_without_stderr_it_writes_to_no_terminal() -> None:
    with terminal("sh", "-c", f"exec {PYINIT} -v true 2>&-") as run:
        assert run.wait() == 0
        assert run.spawn.before == ""


def test_with_tostop_set_a_session_leaders_messages_are_seen(leader: list[str]) -> None:
    with terminal("sh", "-c", 'stty tostop; exec "$@"', "sh", *leader, "-v", "sh", "-c", "exit 3") as run:
        run.see(r"pyinit: .*exit 3.*\r\n")
        assert run.wait() == 3


def test_pyinit_takes_no_part_of_what_is_typed_and_adds_nothing(leader: list[str]) -> None:
    with terminal(*leader, "sh", "-c", "stty -echo; echo ready; cat") as run:
        run.see("ready\r\n")
        for line in range(500):
            run.enter(f"line {line}")
        run.type(CTRL_D)
        seen = re.findall(r"line (\d+)\r\n", run.see_text("line 499\r\n") + "line 499\r\n")
        assert seen == [str(line) for line in range(500)]
        assert run.wait() == 0


@pytest.mark.command_line
def test_in_a_namespace_without_a_session_of_its_own_the_command_reads(tmp_path: Path) -> None:
    need_root()
    with shell(*SHELLS["dash"]) as run:
        run.start("unshare --pid --fork --mount-proc pyinit cat")
        run.echoes("hello")
        run.type(CTRL_D)
        run.prompt()
        run.leave()


@pytest.mark.command_line
def test_in_a_namespace_without_a_session_of_its_own_a_background_job_never_takes_the_terminal() -> None:
    need_root()
    with shell(*SHELLS["dash"]) as run:
        run.run("unshare --pid --fork --mount-proc --kill-child pyinit sleep 1000 &")
        wait_until(lambda: run.named("sleep"), "the command")
        assert run.foreground() == run.pid
        assert run.run("echo here") == "here\n"
        subprocess.run(["kill", "-9", *map(str, run.named("pyinit"))], check=True)
