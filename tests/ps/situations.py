"""Situations in which a container is asked to stop, and one stop of each: how it begins, and what becomes of it.

A stop is fine if PID 1 ends, and if every server that acts on the signal has saved. Each server writes a file when it
has saved, a while after the signal.
"""

import functools
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pyinit.ps import diagnosis, snapshot
from pyinit.ps.diagnosis import Finding
from tests.harness import PYINIT, Mode, Started, pid_one_below, started, state_of, wait_until
from tests.programs import saver

TERM, INT, QUIT, HUP, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1
PATIENCE = 0.5  # seconds after which a stop that is said to hang has not ended
SAVING = 0.2  # seconds that a server takes to save

NONE = ("env",)
OWN = (str(PYINIT), "--")
INITS = {
    "none": NONE,
    "tini": ("tini", "--"),
    "tini -g": ("tini", "-g", "--"),
    "dumb-init": ("dumb-init", "--"),
    "dumb-init -c": ("dumb-init", "-c", "--"),
    "catatonit": ("catatonit", "--"),
    "pyinit": OWN,
    "pyinit -g": (str(PYINIT), "-g", "--"),
    "pyinit -n": (str(PYINIT), "-n", "--"),
}
# What a program does with the signal; {signal} is its name without SIG, and {file} a file of the server's own.
SERVERS = ("handles", "waits", "blocks")
OTHERS = {
    "dies": "echo up; exec sleep 1000",
    "ignores": "trap '' {signal}; echo up; exec sleep 1000",
}
FORMS = {
    "exec": "",
    "shell": "{program}; true",
    "background": "{program} & wait",
    "trap ''": "trap '' {signal}; {program}; true",
    "trap": "trap 'exit 0' {signal}; {program}; true",
    "trap, wait": "trap 'exit 0' {signal}; {program} & wait",
    "subshell": "(cd /; {program}; true); true",
}


class Situation(NamedTuple):
    """An `init`, a `form` that is a shell script or a list of words, and a `program`; and the stop signal.

    `program` is a way of tests/programs/saver.py, one of OTHERS, or a shell script. {program} stands for it in `form`.
    `ups` is how many say that they are up.
    """

    init: tuple[str, ...]
    form: "str | tuple[str, ...]"
    program: str
    signum: signal.Signals = TERM
    shell: tuple[str, ...] = ("sh", "-c")
    ups: int = 1

    def __str__(self) -> str:
        init = " ".join([Path(self.init[0]).name, *self.init[1:]])
        form = " ".join([*self.shell, self.form]) if self.form and isinstance(self.form, str) else " ".join(self.form)
        return " ".join(f"{init} {form} [{self.program}] {self.signum.name}".split())

    @property
    def mode(self) -> Mode:
        """Where it runs."""
        return "subreaper" if self.init[1:2] == ("-n",) else "pid1"

    def words(self, directory: Path) -> list[str]:
        """The command behind the init."""
        program = self.program_words(directory)
        if not self.form:
            return program
        named = {"signal": self.signum.name.removeprefix("SIG"), "program": shlex.join(program)}
        if isinstance(self.form, str):
            return [*self.shell, self.form.format(**named)]
        return [word.format(**named) for word in self.form]

    def program_words(self, directory: Path) -> list[str]:
        """The words of the program alone."""
        if self.program in SERVERS:
            late = ["1000"] if self.program == "blocks" else []
            return saver(directory / "saved", SAVING, self.program, *late)
        script = OTHERS.get(self.program, self.program)
        return ["sh", "-c", script.format(signal=self.signum.name.removeprefix("SIG"))]


class Seen(NamedTuple):
    """What pyinit-ps found, and then what became of the stop: whether it ended, and whether the server has saved."""

    found: list[Finding]
    ended: bool
    saved: bool

    def problems(self) -> list[str]:
        """The kinds of its problems."""
        return [finding.kind for finding in self.found if finding.is_problem]

    def notes(self) -> list[str]:
        """The kinds of the rest."""
        return [finding.kind for finding in self.found if not finding.is_problem]


@contextmanager
def running(situation: Situation, directory: Path) -> Iterator[tuple[Started, int]]:
    """The situation, when all are up and at rest, and the PID of its PID 1."""
    with started(*situation.words(directory), init=list(situation.init), mode=situation.mode, cwd=directory) as run:
        run.up(situation.ups)
        pid_one = pid_one_below(run.pid) if situation.mode == "subreaper" else run.pid
        wait_until(lambda: all(state_of(pid) in "STZ" for pid in run.alive()), "all to be at rest")
        yield run, pid_one


@functools.cache  # the same advice for several inits makes the same situation
def seen(situation: Situation) -> Seen:
    """Look at a situation, stop it, and look at what became of it."""
    with tempfile.TemporaryDirectory(prefix="pyinit-") as name:
        file = Path(name, "saved")
        with running(situation, file.parent) as (run, pid_one):
            _, group = snapshot.around(pid_one, snapshot.everyone())
            found = diagnosis.lasting(group, situation.signum)
            saves = any(str(file) in one.words and one.acts_on(situation.signum) for one in group.values())
            ended = stops(run, situation.signum, hangs(found))
        return Seen(found, ended, file.exists() or not saves)


def following(advice: str, situation: Situation) -> Situation:
    """The situation with one piece of advice followed."""
    if advice.startswith("`pyinit --` "):
        return situation._replace(init=OWN)
    if advice == "a bound: `pyinit -k SECONDS --`":
        return situation._replace(init=(str(PYINIT), "-k", "0.3", "--"))
    if advice == "the exec form, or `exec` in the script":
        return situation._replace(form="")
    if advice == "a longer -t or -k":
        return situation._replace(init=OWN)
    if advice.startswith("a bound: `pyinit -r "):
        return situation._replace(init=(str(PYINIT), "-r", advice.split()[4], "-k", "0.3", "--"))
    if advice.endswith("without that rewriting"):
        return situation._replace(init=(situation.init[0], "--"))
    if advice.startswith("STOPSIGNAL SIG"):
        return situation._replace(signum=signal.Signals[advice.split()[1].rstrip(",")])
    assert advice.startswith("a handler for SIG")
    return situation._replace(form="", program="handles")


def hangs(found: list[Finding]) -> bool:
    """Whether the stop is said not to end, or may be."""
    return any(
        finding.kind in ("trap", "blocked")
        or (finding.is_problem and finding.kind in ("shell", "deaf-init", "deaf", "no-stop"))
        for finding in found
    )


def stops(run: Started, signum: int, may_hang: bool) -> bool:
    """Send the signal; whether it ended. If it need not end, PATIENCE says how long to wait for that."""
    run.send(signum)
    try:
        if may_hang:
            run.wait(PATIENCE)
        else:
            run.wait()
    except subprocess.TimeoutExpired:
        return False
    return True
