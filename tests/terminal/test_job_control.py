"""Under an interactive shell, a job with pyinit in front behaves like the job without it; with --pid-namespace too."""

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.harness import descendants_of, is_pid_one, need, state_of, wait_until
from tests.shell import CTRL_C, CTRL_D, CTRL_Z, SHELLS, Shell, command_of, shell

pytestmark = pytest.mark.itself

VIM = shutil.which("vim") or "vim.tiny"  # which is all that Debian 13's vim-tiny brings


def stopped(running: int) -> bool:
    """Whether a pyinit and everything below it is stopped; PID 1 of a namespace never is."""
    below = descendants_of(running)
    return below != [] and states([running, *below]) == {"T"}


def all_stopped(running: int) -> None:
    """Wait for that: a shell waits for its own child only, and a late one may still read what is typed."""
    wait_until(lambda: stopped(running), "the whole job to stop")


def states(pids: list[int]) -> set[str]:
    """The states of the processes, without those that are PID 1 of a namespace."""
    return {state_of(pid) for pid in pids if not is_pid_one(pid)}


def test_a_job_reads_the_terminal_and_ctrl_d_ends_it(sh: Shell, pyinit: str) -> None:
    sh.start(f"{pyinit} cat")
    sh.echoes("hello")
    sh.type(CTRL_D)
    sh.prompt()
    assert sh.status() == 0
    sh.leave()


def test_the_status_of_a_job_is_the_commands(sh: Shell, either: str) -> None:
    sh.run(f"{either} sh -c 'exit 3'")
    assert sh.status() == 3
    sh.run(f"{either} no-such-program")
    assert sh.status() == 127
    sh.leave()


def test_ctrl_c_ends_a_job(sh: Shell, pyinit: str) -> None:
    sh.start(f"{pyinit} cat")
    sh.echoes("hello")
    sh.type(CTRL_C)
    sh.prompt()
    assert sh.status() == 128 + signal.SIGINT
    sh.leave()


@pytest.mark.parametrize("command", ["cat", "sh -c 'cat | cat'", "sh -c 'cat; exit 3'", "pyinit cat", "pyinit -n cat"])
def test_ctrl_z_stops_the_job_and_fg_continues_it(sh: Shell, command: str, either: str) -> None:
    sh.start(f"{either} {command}")
    sh.echoes("hello")
    assert "Stopped" in sh.suspend()
    assert sh.foreground() == sh.pid
    all_stopped(sh.pyinit())
    assert "Stopped" in sh.run("jobs")
    sh.start("fg")
    sh.echoes("again")
    sh.type(CTRL_D)
    sh.prompt()
    assert sh.status() == (3 if "3" in command else 0)
    sh.leave()


def test_ctrl_z_and_fg_work_ten_times_in_a_row(sh: Shell, pyinit: str) -> None:
    sh.start(f"{pyinit} cat")
    for turn in range(10):
        sh.echoes(f"turn {turn}")
        assert "Stopped" in sh.suspend()
        sh.start("fg")
    sh.echoes("last")
    sh.type(CTRL_D)
    sh.prompt()
    sh.leave()


@pytest.mark.parametrize("command", ["cat", "sh -c 'cat | cat'", "sleep 1000"])
def test_a_stopped_job_that_is_sent_to_the_background_can_be_killed(sh: Shell, command: str, pyinit: str) -> None:
    sh.start(f"{pyinit} {command}")
    running = sh.pyinit()
    assert "Stopped" in sh.suspend()
    all_stopped(running)
    sh.run("bg")
    if "cat" in command:  # it wants to read, as before
        wait_until(lambda: stopped(running), "cat to stop on input")
    else:
        wait_until(lambda: state_of(running) == state_of(command_of(running)) == "S", "sleep to go on")
    sh.run("kill %1; kill -s CONT %1")  # bash's kill continues a stopped job by itself, dash's does not
    sh.lose_jobs()
    sh.leave()


def test_a_job_that_was_stopped_by_kill_stop_continues_with_fg(sh: Shell, pyinit: str) -> None:
    sh.start(f"{pyinit} cat")
    sh.echoes("hello")
    running = sh.pyinit()
    os.kill(command_of(running), signal.SIGSTOP)
    sh.prompt()
    assert stopped(running)
    sh.start("fg")
    sh.echoes("again")
    sh.type(CTRL_D)
    sh.prompt()
    sh.leave()


def test_a_pyinit_that_was_stopped_by_kill_stop_goes_on_with_fg(sh: Shell, pyinit: str) -> None:
    sh.start(f"{pyinit} sleep 1000")
    running = sh.pyinit()
    os.kill(running, signal.SIGSTOP)
    sh.prompt()
    sh.start("fg")
    wait_until(lambda: state_of(running) == "S", "pyinit to go on")
    sh.type(CTRL_C)
    sh.prompt()
    assert sh.status() == 128 + signal.SIGINT
    sh.leave()


def test_less_gives_the_terminal_back_and_gets_it_again(tmp_path: Path, pyinit: str) -> None:
    need("bash", "less")
    book = tmp_path / "book"
    book.write_text("".join(f"line {number} of it\n" for number in range(1000)))
    with shell(*SHELLS["bash"]) as run:
        run.start(f"TERM=xterm LESS= {pyinit} less {book}")
        run.see("line 3 of it")
        less = command_of(run.pyinit())
        for turn in range(100, 1000, 300):
            # less misses a signal that comes between its last look and its wait for a key, until the next key.
            wait_until(lambda: state_of(less) == "S", "less to wait for a key")
            run.suspend()
            assert "Stopped" in run.run("jobs")
            run.start("fg")
            run.type(f"{turn}g")
            run.see(f"line {turn} of it")
        run.type("q")
        run.prompt()
        assert run.status() == 0
        run.leave()


def holds(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text()


def test_vim_gives_the_terminal_back_and_gets_it_again(tmp_path: Path, pyinit: str) -> None:
    need("bash", VIM)
    letter = tmp_path / "letter"
    with shell(*SHELLS["bash"]) as run:
        run.start(f"TERM=xterm {pyinit} {VIM} -N -u NONE -i NONE {letter}")
        for turn in range(3):
            run.type(f"oturn {turn}\x1b:w\r")
            written = f"turn {turn}\n"
            wait_until(partial(holds, letter, written), "vim to write its file")
            run.suspend()
            assert "Stopped" in run.run("jobs")
            run.start("fg")
        run.type(":cq 5\r")
        run.prompt()
        assert run.status() == 5
        run.leave()


def test_a_background_job_never_takes_the_terminal(sh: Shell, pyinit: str) -> None:
    sh.run(f"{pyinit} sleep 1000 &")
    running = sh.pyinit()
    assert os.getpgid(command_of(running)) == os.getpgid(running) != sh.pid
    assert sh.foreground() == sh.pid
    assert sh.run("echo here") == "here\n"
    os.kill(running, signal.SIGTERM)
    sh.lose_jobs()
    assert sh.foreground() == sh.pid
    sh.leave()


def test_a_background_job_stops_on_input_and_fg_lets_it_read(sh: Shell, either: str) -> None:
    sh.run(f"{either} cat &")
    wait_until(lambda: stopped(sh.pyinit()), "cat to stop on input")
    assert sh.foreground() == sh.pid
    assert "Stopped" in sh.run("jobs")
    sh.start("fg")
    sh.echoes("hello")
    sh.type(CTRL_D)
    sh.prompt()
    assert sh.status() == 0
    sh.leave()


def test_a_background_job_that_fg_finds_running_can_read(sh: Shell, pyinit: str) -> None:
    sh.run(f"{pyinit} sh -c 'kill -s TSTP $$; read line; echo $line-$line' &")
    running = sh.pyinit()
    wait_until(lambda: stopped(running), "the command to stop itself")
    sh.run("bg")
    wait_until(lambda: stopped(running), "the command to stop on input")
    sh.start("fg")
    sh.enter("hello")
    sh.see("hello-hello\r\n")
    sh.prompt()
    sh.leave()


def test_a_running_background_job_that_fg_takes_gets_the_terminal_when_it_reads(
    sh: Shell, tmp_path: Path, pyinit: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    sh.run(f"{pyinit} sh -c 'read go < {fifo}; read line; echo $line-$line' &")
    sh.pyinit()
    sh.start("fg")
    fifo.write_text("go\n")
    sh.enter("hello")
    sh.see("hello-hello\r\n")
    sh.prompt()
    assert sh.status() == 0
    sh.leave()


def test_a_running_background_job_that_fg_takes_gets_what_is_typed(sh: Shell, pyinit: str) -> None:
    """bash continues no job that runs: pyinit itself is in the foreground, and forwards."""
    sh.run(f"{pyinit} sleep 1000 &")
    sh.pyinit()
    sh.start("fg")
    sh.type(CTRL_C)
    sh.prompt()
    assert sh.status() == 128 + signal.SIGINT
    sh.leave()


def test_the_status_of_a_background_job_is_the_commands(sh: Shell, pyinit: str) -> None:
    sh.run(f"{pyinit} sh -c 'exit 3' &")
    sh.run("wait $!")
    assert sh.status() == 3
    sh.leave()


def test_a_pipeline_with_pyinit_in_it_stops_and_continues_as_one_job(sh: Shell, pyinit: str) -> None:
    sh.start(f"{pyinit} cat | cat")
    sh.echoes("hello")
    assert "Stopped" in sh.suspend()
    wait_until(lambda: states([pid for pid in sh.alive() if pid != sh.pid]) == {"T"}, "the whole job to stop")
    sh.start("fg")
    sh.echoes("again")
    sh.type(CTRL_D)
    sh.prompt()
    sh.leave()


def test_the_terminal_comes_back_to_the_script_that_ran_pyinit(sh: Shell, pyinit: str) -> None:
    sh.start(f"sh -c '{pyinit} cat; read line; echo script: $line'")
    sh.echoes("hello")
    assert "Stopped" in sh.suspend()
    sh.start("fg")
    sh.echoes("again")
    sh.type(CTRL_D)
    wait_until(lambda: sh.named("pyinit") == [], "the end of pyinit")
    sh.enter("mine")
    sh.see("script: mine\r\n")
    sh.prompt()
    sh.leave()


@pytest.mark.command_line
def test_the_terminal_comes_back_from_a_command_that_was_killed(sh: Shell, pyinit: str) -> None:
    sh.start(f"sh -c '{pyinit} cat; read line; echo script: $line'")
    sh.echoes("hello")
    os.kill(sh.named("cat")[0], signal.SIGKILL)
    wait_until(lambda: sh.named("pyinit") == [], "the end of pyinit")
    sh.enter("mine")
    sh.see("script: mine\r\n")
    sh.prompt()
    sh.leave()


def test_a_pager_behind_pyinit_in_a_pipeline_gets_the_terminal(pyinit: str) -> None:
    need("bash", "less")
    with shell(*SHELLS["bash"]) as run:
        run.start(f"{pyinit} sh -c 'seq -f \"line %g of it\" 300; exec sleep 1000' | TERM=xterm LESS= less")
        assert run.see("line 3 of it", "Stopped") != "Stopped"
        run.type("100g")
        run.see("line 100 of it")
        run.type("q")
        wait_until(lambda: not run.named("less"), "the end of less")
        run.type(CTRL_C)  # for the command, which sleeps on
        run.prompt()


def test_an_interactive_shell_as_the_command_has_job_control_of_its_own(sh: Shell, either: str) -> None:
    sh.enter(f"{either} bash --norc --noprofile -i")
    greeting = sh.prompt()
    assert "process group" not in greeting
    assert "no job control" not in greeting
    inner = sh.foreground()
    assert inner != sh.pid
    sh.enter("cat")
    wait_until(lambda: sh.foreground() != inner, "cat in the foreground")
    sh.echoes("hello")
    assert "Stopped" in sh.suspend()
    assert sh.foreground() == inner
    sh.enter("fg")  # not kill %1: bash, with pyinit or without, may then miss the end of the job
    wait_until(lambda: sh.foreground() != inner, "cat in the foreground again")
    sh.echoes("again")
    sh.type(CTRL_D)
    sh.prompt()
    sh.run("suspend")
    assert sh.foreground() == sh.pid
    sh.enter("fg")
    sh.prompt()
    assert sh.foreground() == inner
    sh.enter("exit 9")
    sh.prompt()
    assert sh.status() == 9
    sh.leave()


def test_ctrl_z_before_fg_is_done_is_not_lost(bash: Shell, pyinit: str) -> None:
    bash.start(f"{pyinit} cat")
    bash.echoes("hello")
    for _ in range(10):
        bash.suspend()
        bash.start("fg")
        bash.type(CTRL_Z)
        bash.prompt()
        bash.start("fg")
        bash.echoes("hello")
    bash.type(CTRL_D)
    bash.prompt()
    bash.leave()
