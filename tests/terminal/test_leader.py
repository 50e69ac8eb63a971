"""pyinit leads the session of a terminal, as with `docker run -t`: the command's group, its stops, the foreground."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.harness import PYINIT, PYTHON, children_of, is_adviser, need, state_of, status_of, wait_until
from tests.programs import compiled, recorder
from tests.shell import CTRL_C, CTRL_D, CTRL_Z, Terminal, command_of, terminal

# The best-known way to end a script together with its children. Without a group of its own the script runs on.
KILLS_ITS_GROUP = "trap 'trap - TERM; kill -- -$$' INT TERM EXIT"


@pytest.fixture(params=["", "-t 5", "-v", "-g", "-n"])
def leading(leader: list[str], request: pytest.FixtureRequest) -> list[str]:
    """The words that make pyinit the leader, with options that keep Python or do not."""
    return [*leader, *request.param.split()]


def init_of(run: Terminal) -> int:
    """The pyinit that leads the session."""
    return wait_until(lambda: [pid for pid in run.named("pyinit") if os.getsid(pid) == pid and command_of(pid)])[0]


@pytest.mark.parametrize("key", ["kill", CTRL_C])
@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_a_script_that_kills_its_group_ends(leading: list[str], shell: str, key: str) -> None:
    need(shell)
    script = f"{KILLS_ITS_GROUP}; sleep 1000 & echo ready; while :; do sleep 0.05; done"
    with terminal(*leading, shell, "-c", script) as run:
        run.see("ready\r\n")
        if key == "kill":
            os.kill(init_of(run), signal.SIGTERM)
        else:
            run.type(key)
        assert run.wait() == 143
        assert run.alive() == []


def test_the_command_has_a_group_of_its_own_in_the_foreground_and_pyinit_has_not(leading: list[str]) -> None:
    with terminal(*leading, "cat") as run:
        pyinit, cat = init_of(run), run.the("cat")
        assert os.getpgid(cat) == cat == run.foreground() != os.getpgid(pyinit)
        assert os.getsid(cat) == pyinit


# Starts a program that reads in the foreground, and becomes what it is told to.
READS_IN_FRONT = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
if (pid := os.fork()) == 0:
    signal.pause()
os.setpgid(pid, pid)
os.tcsetpgrp(0, pid)
if os.fork() == 0:
    os.setpgid(0, pid)
    print("got", input(), flush=True)
    os._exit(0)
signal.signal(signal.SIGTTOU, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_leader_in_the_background_does_not_take_the_foreground() -> None:
    with terminal(PYTHON, "-c", READS_IN_FRONT, PYINIT, "sh", "-c", "echo up; sleep 1000") as run:
        run.see("up\r\n")
        run.enter("hello")
        run.see("got hello\r\n")


@pytest.mark.parametrize("signum", [signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGSTOP])
def test_a_command_that_stops_is_continued_with_its_group(leading: list[str], signum: signal.Signals) -> None:
    script = "sleep 1000 & echo up; while read -r line; do echo got $line; done"
    with terminal(*leading, "sh", "-c", script) as run:
        run.see("up\r\n")
        sleep = run.the("sleep")
        group = os.getpgid(sleep)
        assert os.getpgid(init_of(run)) != group
        for _ in range(3):
            os.killpg(group, signum)
            run.enter("hello")
            run.see("got hello\r\n")
            wait_until(lambda: state_of(sleep) == "S", "the other process of the group to go on")


@pytest.mark.parametrize("option", ["", "-g"])
def test_ctrl_z_between_the_fork_and_the_exec_does_not_hang_pyinit(option: str) -> None:
    need("strace")
    slowly = ["strace", "-f", "-o", "/dev/null", "-e", "trace=rt_sigprocmask"]
    slowly += ["-e", "inject=rt_sigprocmask:delay_exit=500000", "setsid", "--ctty"]
    with terminal(*slowly, PYINIT, *option.split(), "cat") as run:
        run.forks()
        while not run.named("cat"):
            run.type(CTRL_Z)
            time.sleep(0.05)  # not a wait: it is how often the key falls
        run.echoes("hello")
        run.type(CTRL_D)
        assert run.wait() == 0


def test_a_command_that_lost_the_foreground_gets_it_when_it_reads(leading: list[str]) -> None:
    """As after the death of an interactive shell that it had started."""
    loses = f"setsid -w true; {PYTHON} -c '{LOSES}'; cat"
    with terminal(*leading, "sh", "-c", loses) as run:
        run.see("lost\r\n")
        run.echoes("hello")
        run.type(CTRL_D)
        assert run.wait() == 0


# Its child takes the foreground and dies.
LOSES = """
import os, signal
if (pid := os.fork()) == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    print("lost", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


def test_a_traced_command_is_not_continued(leader: list[str]) -> None:
    with terminal(*leader, compiled("traced"), str(int(signal.SIGUSR1))) as run:
        pyinit = init_of(run)
        child = command_of(pyinit)
        wait_until(lambda: "sigtimedwait" in Path(f"/proc/{child}/wchan").read_text(), "the command to wait for it")
        os.kill(pyinit, signal.SIGUSR1)
        wait_until(lambda: state_of(child) == "t", "it to be stopped")
        os.kill(pyinit, signal.SIGWINCH)
        wait_until(lambda: int(status_of(pyinit)["ShdPnd"], 16) == 0, "pyinit to have looked")
        assert state_of(child) == "t"
        os.kill(child, signal.SIGKILL)
        assert run.wait() == 128 + signal.SIGKILL


def test_a_hang_up_reaches_the_command(leading: list[str], tmp_path: Path) -> None:
    """The kernel sends it to the session leader alone."""
    script = f"trap 'echo hup > {tmp_path}/told; exit' HUP; echo ready; while :; do sleep 0.05; done"
    with terminal(*leading, "sh", "-c", script) as run:
        run.see("ready\r\n")
        run.hang_up()
        wait_until(lambda: run.alive() == [], "the end")
        assert (tmp_path / "told").read_text() == "hup\n"


# Ignores SIGTERM and SIGINT, and outlives the command.
DEAF = "trap '' TERM INT; echo up; sleep 1000"


def in_drain(run: Terminal) -> int:
    """Wait until the command has ended and pyinit is in the foreground; pyinit."""
    pyinit = wait_until(lambda: [pid for pid in run.named("pyinit") if os.getsid(pid) == pid], "pyinit")[0]
    wait_until(lambda: run.foreground() == pyinit, "pyinit in the foreground")
    return pyinit


@pytest.mark.parametrize("options", ["-t 1000", "-t 1000 -v", "-t 1000 -n"])
def test_in_a_drain_ctrl_c_twice_kills(leader: list[str], options: str) -> None:
    with terminal(*leader, *options.split(), "sh", "-c", f"({DEAF}) & read _; echo main ends") as run:
        run.see("up\r\n")
        run.enter("")
        run.see("main ends\r\n")
        in_drain(run)
        for _ in range(2):  # the first one is the first that somebody has asked by
            wait_until(lambda: has_taken_int(run), "the first one to be taken")
            run.type(CTRL_C)
        assert run.wait() == 0
        assert run.alive() == []


def has_taken_int(run: Terminal) -> bool:
    """Whether no pyinit, and no adviser, has a SIGINT pending, and all of them wait."""
    inits = run.named("pyinit")
    inits += [pid for init in inits for pid in children_of(init) if is_adviser(pid)]
    return all(
        state_of(pid) == "S" and not int(status_of(pid).get("ShdPnd", "0"), 16) >> (signal.SIGINT - 1) & 1
        for pid in inits
    )


@pytest.mark.parametrize("options", ["-t 1000", "-t 1000 -v", "-t 1000 -n"])
def test_in_a_drain_ctrl_z_stops_nobody(leader: list[str], options: str) -> None:
    with terminal(*leader, *options.split(), "sh", "-c", f"({DEAF}) & read _; echo main ends") as run:
        run.see("up\r\n")
        run.enter("")
        run.see("main ends\r\n")
        pyinit = in_drain(run)
        sleep = run.the("sleep")
        run.type(CTRL_Z)
        run.type(CTRL_Z)
        time.sleep(0.2)  # it must not happen
        assert state_of(pyinit) == state_of(sleep) == "S"
        os.kill(sleep, signal.SIGKILL)
        assert run.wait() == 0


@pytest.mark.parametrize("options", ["", "-v"])
def test_in_a_drain_a_process_that_sets_the_terminal_can_do_so(leader: list[str], options: str, tmp_path: Path) -> None:
    """As vim(1) and less(1) do at their end. In the background the kernel stops them."""
    saves = (
        f"trap 'stty sane </dev/tty; echo saved > {tmp_path}/saved; exit' TERM; echo up; while :; do sleep 0.05; done"
    )
    with terminal(*leader, *options.split(), "sh", "-c", 'sh -c "$0"; true', saves) as run:
        run.see("up\r\n")
        os.kill(init_of(run), signal.SIGTERM)
        assert run.wait() == 143
        assert (tmp_path / "saved").read_text() == "saved\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGTSTP])
def test_a_signal_by_kill_is_forwarded_once(leading: list[str], signum: signal.Signals) -> None:
    with terminal(*leading, *recorder()) as run:
        run.see("up\r\n")
        os.kill(init_of(run), signum)
        if signum == signal.SIGTERM:
            assert run.wait() == 0
        else:
            run.see(f"got {signum.name}\r\n")
