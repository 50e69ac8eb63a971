"""Terminals for the tests: a pty with a program on it, and interactive shells that are typed to.

What is typed is what a keyboard sends, and what is read is what a person would see, the echo included.
"""

import os
import re
import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import pexpect

from tests.harness import (
    DEADLINE,
    MARKER,
    PYINIT,
    UNSHARE,
    Family,
    children_of,
    is_pid_one,
    makes_namespace,
    name_of,
    need_namespaces,
    state_of,
    wait_until,
)

ENTER, CTRL_C, CTRL_D, CTRL_BACKSLASH, CTRL_Z = "\r", "\x03", "\x04", "\x1c", "\x1a"
PROMPT = "go ahead> "
SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "dash": ["dash", "-i"]}

# As a container engine does with `-t`: PID 1 of the namespace is a session leader, and the pty is its terminal.
CONTAINER = [*UNSHARE, "setsid", "--ctty"]


class Terminal(Family):
    """A pty, and the program on it that is the leader of its session."""

    def __init__(self, spawn: "pexpect.spawn[str]", marker: str) -> None:
        assert spawn.pid is not None
        super().__init__(spawn.pid, marker)
        self.spawn = spawn
        self.pty: Any = spawn.ptyproc  # type: ignore[attr-defined]  # types-pexpect does not know it

    def type(self, keys: str) -> None:
        """Press keys; nothing is added to them."""
        self.spawn.send(keys)

    def enter(self, line: str) -> None:
        """Type a line."""
        if makes_namespace([line]):
            need_namespaces()
        self.type(line + ENTER)

    def see(self, *pattern: str) -> str:
        """Wait until what is on the screen since the last call matches one of the regular expressions; what matched."""
        self.spawn.expect(list(pattern))
        return str(self.spawn.match.group(0))  # type: ignore[union-attr]

    def see_text(self, text: str) -> str:
        """Wait for `text`; what came before it."""
        self.spawn.expect_exact(text)
        return str(self.spawn.before)

    def echoes(self, line: str) -> None:
        """Check that a cat in the foreground reads: the terminal echoes what is typed, and cat repeats it."""
        self.enter(line)
        self.see_text(f"{line}\r\n{line}\r\n")

    def wait(self) -> int:
        """The exit status of the program on the terminal, in a shell's terms; reads on until it ends."""
        self.spawn.expect(pexpect.EOF)
        self.spawn.wait()
        return self.spawn.exitstatus if self.spawn.signalstatus is None else 128 + int(self.spawn.signalstatus)  # type: ignore[return-value]

    def hang_up(self) -> None:
        """Pull the plug: close the pty's other side, as a dropped connection does."""
        self.pty.fileobj.close()

    def resize(self, rows: int, columns: int) -> None:
        self.spawn.setwinsize(rows, columns)

    def foreground(self) -> int:
        """The foreground process group."""
        return os.tcgetpgrp(self.spawn.child_fd)

    def named(self, name: str) -> list[int]:
        """Those called `name` in ps."""
        return [pid for pid in self.alive() if name_of(pid) == name]

    def the(self, name: str) -> int:
        """The PID of the only one called `name`, as soon as there is one."""
        return wait_until(lambda: pids[0] if len(pids := self.named(name)) == 1 else 0, f"one {name}")

    def forks(self) -> None:
        """Wait until the child of the program on the terminal, which is strace, has a child of its own."""
        wait_until(lambda: any(children_of(child) for child in children_of(self.pid)), "the fork")

    def pyinit(self, parent: int | None = None) -> int:
        """The PID of the pyinit that is a child of `parent`, by default of the terminal's program; its command runs."""
        return wait_until(lambda: [pid for pid in children_of(parent or self.pid) if command_of(pid)], "a pyinit")[0]


Kind = TypeVar("Kind", bound=Terminal)


class Shell(Terminal):
    """An interactive shell, with `pyinit` in its PATH. Made when its first prompt is there."""

    def prompt(self) -> str:
        """Wait for the prompt; what is on the screen since the last call."""
        return self.see_text(PROMPT)

    def run(self, line: str) -> str:
        """Have the shell run a line and wait for the prompt; what was printed, without the echo of the line."""
        self.enter(line)
        return self.prompt().partition("\r\n")[2].replace("\r\n", "\n")

    def start(self, line: str) -> None:
        """Have the shell run a line in the foreground; returns when what is typed goes to it, not to the shell."""
        self.enter(line)
        wait_until(lambda: self.foreground() != self.pid, f"{line} in the foreground")

    def status(self) -> int:
        """$? of the last line."""
        return int(self.run("echo $?"))

    def suspend(self) -> str:
        """Press Ctrl-Z and wait for the prompt; what was printed.

        A cat in the job that has not come to stop yet would still read what is typed next.
        """
        self.type(CTRL_Z)
        shown = self.prompt()
        wait_until(lambda: all(state_of(pid) == "T" for pid in self.named("cat")), "cat to stop")
        return shown

    def lose_jobs(self) -> None:
        """Wait until all of the shell's jobs have ended, and the shell knows it."""
        wait_until(lambda: self.alive() == [self.pid], "the end of the job")
        wait_until(lambda: all(state_of(child) in "ZX" for child in children_of(self.pid)), "a status to wait for")
        self.run("")

    def leave(self) -> None:
        """End the shell, and check that nothing is left of what it started."""
        self.enter("exit")
        assert self.see("exit\r\n", "You have .*jobs") == "exit\r\n"
        self.spawn.expect(pexpect.EOF)
        self.spawn.wait()
        assert self.alive() == []


def terminal(*words: str | os.PathLike[str], env: dict[str, str] | None = None) -> AbstractContextManager[Terminal]:
    """Run the words on a pty, as the leader of its session. In the end every process of it is killed."""
    return spawned(Terminal, words, env)


@contextmanager
def shell(*words: str, env: dict[str, str] | None = None) -> Iterator[Shell]:
    """An interactive shell on a pty; `words` are its words, such as SHELLS["bash"], perhaps with others before them."""
    with spawned(Shell, words, env) as run:
        before = run.prompt()
        assert "process group" not in before, before
        assert "job control" not in before, before
        yield run


@contextmanager
def spawned(kind: type[Kind], words: tuple[str | os.PathLike[str], ...], env: dict[str, str] | None) -> Iterator[Kind]:
    marker = uuid.uuid4().hex
    search = f"{PYINIT.parent}:{os.environ['PATH']}"
    unwanted = ("ENV", "BASH_ENV", "PROMPT_COMMAND", "HISTFILE", "INPUTRC")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    environment |= {"PATH": search, "PS1": PROMPT, "TERM": "dumb", "LC_ALL": "C", **(env or {}), MARKER: marker}
    program, *rest = [os.fspath(word) for word in words]
    if makes_namespace(words):
        need_namespaces()
    spawn: pexpect.spawn[str] = pexpect.spawn(
        shutil.which(program, path=search) or program,
        rest,
        env=environment,
        dimensions=(24, 200),
        timeout=DEADLINE,
        encoding="utf-8",
        codec_errors="replace",
    )
    spawn.delaybeforesend = None
    run = kind(spawn, marker)
    try:
        yield run
    finally:
        run.kill()
        run.hang_up()
        wait_until(run.kill, "the end of what the test started")
        if not run.pty.terminated:
            os.waitpid(run.pid, 0)
            run.pty.terminated = True


def command_of(pyinit: int) -> int:
    """The PID of what a pyinit runs; 0: not yet, or it is no pyinit."""
    pid = pyinit
    while name_of(pid) == "pyinit":
        children = [child for child in children_of(pid) if not is_pid_one(child)]
        if not children:
            return 0
        pid = children[0]
    # Looked at last: when the command of a program that launches itself begins, pyinit is an interpreter that starts.
    return pid if pid != pyinit and name_of(pyinit) == "pyinit" else 0


def signals_until_the_barrier(run: Terminal, pyinit: int) -> list[str]:
    """The signals that a reporter has got, and that pyinit still had to forward to it.

    pyinit takes signals one by one, in the order of their numbers: when the reporter has got the last of them all, it
    has got whatever came to pyinit before.
    """
    os.kill(pyinit, signal.SIGRTMIN)
    return re.findall(r"got (SIG\w+)\r\n", run.see_text("got SIGRTMIN\r\n"))
