"""Runs a program where an init lives, through cell.c, and talks to the command below it, command.c.

Both are compiled at the start of a run. What Python does here is never inside a time that is measured: cell.c and
command.c take the times, with CLOCK_MONOTONIC, which is one clock for all processes of a machine.
"""

import os
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

import psutil

from .contenders import PID1, SUBREAPER

PATIENCE = 60.0  # seconds to wait for any single answer
# A container's: no LANG, no PYTHON*.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
SOURCES = Path(__file__).parent
CHILD = "no namespace"
ROLE_NAMES = {PID1: "pid1", SUBREAPER: "subreaper", CHILD: "child"}


class CellError(Exception):
    """A program did not do what it is measured for, with what it said on stderr."""


class Finish(NamedTuple):
    """How a program ended; times in nanoseconds. `reported` is the first time that the command wrote down, or 0."""

    begin: int
    end: int
    status: int
    reports: int
    reported: int
    left: int


class Lab:
    """The compiled helpers, in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.command = str(directory / "command")
        self._cell = str(directory / "cell")
        for program in (self.command, self._cell):
            source = SOURCES / f"{Path(program).name}.c"
            # Static: else the dynamic linker would take most of the command's start.
            subprocess.run(["gcc", "-O2", "-static", "-o", program, source], check=True)

    def cell(self, role: str, words: list[str]) -> "Cell":
        """Start `words` in `role`; to be used in a with statement."""
        return Cell(self._cell, role, words)


class Cell:
    """A running program in its role. Leaving the with block ends everything in it."""

    def __init__(self, cell: str, role: str, words: list[str]) -> None:
        self._role = role
        # What messages call it: the output of a run shows no path of the machine.
        self._name = " ".join(Path(word).name if word[:1] == "/" else word for word in words)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed in __exit__
        # Sockets instead of pipes, because they have a time limit.
        self._control, control = socket.socketpair()
        self._streams, streams = socket.socketpair()
        with control, streams:
            self._process = subprocess.Popen(
                [cell, str(control.fileno()), ROLE_NAMES[role], *words],
                stdin=streams.fileno(),
                stdout=streams.fileno(),
                stderr=self._errors,
                pass_fds=[control.fileno()],
                env=ENVIRONMENT,
                cwd="/",
            )
        self._control.settimeout(PATIENCE)
        self._streams.settimeout(PATIENCE)
        self._answers = self._control.makefile("r")
        self._lines = self._streams.makefile("r")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # cell.c kills its program when our end of the socket closes; SIGKILL is for when it listens no more.
        for closing in (self._answers, self._control, self._lines, self._streams):
            closing.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._errors.close()

    def ready(self) -> Self:
        """Wait until the command runs."""
        self._read(self._lines)
        return self

    def ask(self, order: str) -> list[int]:
        """Send an order to the command; return the numbers of its answer."""
        self._streams.sendall(f"{order}\n".encode())
        return [int(word) for word in self._read(self._lines).split()]

    def forward(self, count: int, gap_us: int, limit_ms: int = 60_000) -> list[int]:
        """Send SIGUSR1 up to `count` times; return the nanoseconds until the command's handler ran."""
        return self._order(f"forward {count} {gap_us} {limit_ms}")

    def early(self, after_us: int, limit_ms: int) -> bool:
        """Send SIGTERM `after_us` microseconds after the exec of the program; whether it has ended `limit_ms` later."""
        return self._order(f"early {after_us} {limit_ms}") == [1]

    def finish(self, signum: int = 0) -> Finish:
        """Wait for the program's end, after sending it `signum` unless that is 0."""
        return Finish(*self._order(f"finish {int(signum)}"))

    def pid(self) -> int:
        """Return the program's PID."""
        found = psutil.Process(self._process.pid)
        for _ in range(2 if self._role == SUBREAPER else 1):
            found = found.children()[0]
        return found.pid

    def settle(self) -> int:
        """Wait until the program sleeps and uses no CPU any more; return its PID.

        Longer than the 20 ms after which pyinit rests.
        """
        pid = self.pid()
        before, deadline = -1, time.monotonic() + PATIENCE
        while (used := cpu(pid)) != before or psutil.Process(pid).status() != psutil.STATUS_SLEEPING:
            if time.monotonic() > deadline:
                raise CellError(f"{self._name} never comes to rest")
            before = used
            time.sleep(0.05)
        return pid

    def _order(self, order: str) -> list[int]:
        self._control.sendall(f"{order}\n".encode())
        answer = self._read(self._answers)
        with suppress(ValueError):
            return [int(word) for word in answer.split()]
        raise CellError(f"{self._name}: {order}: {answer}")

    def _read(self, stream: TextIO) -> str:
        line = ""
        with suppress(TimeoutError):
            line = stream.readline()
        if not line:
            self._errors.seek(0)
            raise CellError(f"{self._name} as {self._role}: {self._errors.read().strip() or 'no answer'}")
        return line


def cpu(pid: int) -> int:
    """Return the nanoseconds of CPU that a process of one thread has used."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def memory(pid: int) -> dict[str, int]:
    """Return /proc/PID/smaps_rollup, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {words[0].rstrip(":"): int(words[1]) for words in map(str.split, lines)}


def succeeded(finish: Finish, what: str) -> Finish:
    """Return `finish` if the program left with 0; else raise CellError."""
    if finish.status:
        raise CellError(f"{what}: exit status {os.waitstatus_to_exitcode(finish.status)}")
    return finish
