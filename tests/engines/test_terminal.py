"""A real terminal through `docker run -it`: job control, Ctrl-C, Ctrl-Z, window sizes."""

import itertools
import uuid
from collections.abc import Callable, Iterator

import pexpect
import pytest

from tests.engines.engine import PATIENCE, Docker, until
from tests.harness import name_of, proc
from tests.programs import RECORDER


class Terminal:
    """`docker run --interactive --tty` of a command under pyinit, in a terminal of 24 by 80."""

    def __init__(self, docker: Docker, image: str, *command: str) -> None:
        self.docker = docker
        self.name = f"terminal-{uuid.uuid4().hex}"
        words = ["run", "--interactive", "--tty", "--rm", "--network=none", f"--name={self.name}", "--env=PS1=$ "]
        argv = docker.client(*words, image, *command)
        self.client = pexpect.spawn(argv[0], argv[1:], encoding="utf-8", timeout=PATIENCE, dimensions=(24, 80))

    def expect(self, text: str) -> str:
        """Wait for `text`; what came before it."""
        self.client.expect_exact(text)
        return str(self.client.before)

    def answer(self, line: str) -> str:
        """What a shell that is at its prompt prints for a line."""
        self.client.sendline(line)
        return self.expect("$ ").partition("\r\n")[2].replace("\r\n", "\n")

    def foreground(self) -> str:
        """The name of the leader of the terminal's foreground process group; see tpgid in proc(5)."""
        first = self.docker("inspect", "--format", "{{.State.Pid}}", self.name)
        return name_of(int(proc(first, "stat").decode().rpartition(")")[2].split()[5]))

    def exit_status(self) -> int | None:
        """The exit status of the client, which is the container's."""
        self.client.expect(pexpect.EOF)
        self.client.close()
        return self.client.exitstatus

    def close(self) -> None:
        """End the client and remove the container."""
        self.client.close(force=True)
        self.docker("rm", "--force", self.name, check=False)


@pytest.fixture
def terminal(docker: Docker, pyinit: str) -> Iterator[Callable[..., Terminal]]:
    """Runs commands in terminals; they end with the test."""
    terminals = []

    def spawn(*command: str) -> Terminal:
        terminals.append(Terminal(docker, pyinit, *command))
        return terminals[-1]

    yield spawn
    for each in terminals:
        each.close()


def test_an_interactive_shell_has_job_control(terminal: Callable[..., Terminal]) -> None:
    shell = terminal("bash", "--norc", "--noprofile", "--noediting")
    assert "no job control" not in shell.expect("$ ")
    shell.client.sendline("sleep 1000")
    until(lambda: shell.foreground() == "sleep", "sleep is in the foreground")
    shell.client.send("\x1a")
    shell.expect("Stopped")
    shell.expect("$ ")
    assert "Stopped" in shell.answer("jobs")
    shell.client.sendline("fg")
    until(lambda: shell.foreground() == "sleep", "sleep is in the foreground again")
    shell.client.send("\x03")
    shell.expect("$ ")
    assert shell.answer("echo $?") == "130\n"
    assert shell.answer("jobs") == ""
    shell.client.sendline("exit 7")
    assert shell.exit_status() == 7


def test_a_command_in_a_terminal_is_in_its_foreground(terminal: Callable[..., Terminal]) -> None:
    in_front = "set -- $(cat /proc/$$/stat); test $5 = $8"  # its group is the terminal's; see proc(5)
    command = terminal("sh", "-c", f"{in_front} && echo ready; read line; echo read $line")
    command.expect("ready")
    command.client.sendline("this")
    command.expect("read this")
    assert command.exit_status() == 0


def test_ctrl_c_reaches_the_command_once(terminal: Callable[..., Terminal]) -> None:
    command = terminal("python3", "-c", RECORDER)
    command.expect("up")
    command.client.send("\x03")
    command.expect("got SIGINT")
    command.docker("kill", "--signal=RTMIN", command.name)  # taken after all others
    assert "SIGINT" not in command.expect("got SIGRTMIN")
    command.docker("kill", "--signal=TERM", command.name)
    assert command.exit_status() == 0


def test_ctrl_c_ends_a_shell_form_command_and_its_container(terminal: Callable[..., Terminal]) -> None:
    command = terminal("sh", "-c", "echo ready; sleep 1000; :")
    command.expect("ready")
    command.client.send("\x03")
    assert command.exit_status() == 130


def test_ctrl_backslash_reaches_the_command(terminal: Callable[..., Terminal]) -> None:
    command = terminal("sh", "-c", "trap 'echo got QUIT; exit 4' QUIT; echo ready; while :; do sleep 0.1; done")
    command.expect("ready")
    command.client.send("\x1c")
    command.expect("got QUIT")
    assert command.exit_status() == 4


def test_a_command_that_nobody_could_continue_ignores_ctrl_z(terminal: Callable[..., Terminal]) -> None:
    command = terminal("sh", "-c", "echo ready; read line; echo read $line")
    command.expect("ready")
    command.client.send("\x1a")
    command.client.sendline("this")
    command.expect("read this")
    assert command.exit_status() == 0


def test_a_new_window_size_reaches_the_command(terminal: Callable[..., Terminal]) -> None:
    command = terminal("sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done")
    command.expect("ready")
    rows = itertools.count(31)

    def resized() -> bool:
        # Docker's client asks for the size and then for SIGWINCH: it may miss a change in between.
        command.client.setwinsize(next(rows), 117)
        return bool(command.client.expect([pexpect.TIMEOUT, r"3\d 117"], timeout=1))

    until(resized, "the command tells the new size")
    command.client.send("\x03")
    assert command.exit_status() == 130
