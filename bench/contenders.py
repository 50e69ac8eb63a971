"""Who takes part: the inits, how each is started in each role, and what the figures are held against."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from tests.harness import SCRIPT

PID1 = "PID 1"
SUBREAPER = "subreaper"
ROLES = (PID1, SUBREAPER)

PYINIT = "pyinit"
PEERS = ("tini", "tini-static", "dumb-init", "catatonit")
FLOOR = "python3"  # CPython alone: -I -S -c ''
NOTHING = "no init"


class Init(NamedTuple):
    """An init that is installed here: the words to start it with, before the command's, by role."""

    name: str
    path: str
    words: dict[str, list[str]]


def installed(notes: list[str]) -> list[Init]:
    """Return the inits found: pyinit beside this interpreter, the peers in PATH. Adds to `notes` what is missing."""
    beside = Path(sys.executable).with_name(PYINIT)
    paths = {PYINIT: str(beside) if beside.exists() else None}
    paths |= {name: shutil.which(name) for name in PEERS}
    found = []
    for name, path in paths.items():
        if path is None:
            notes.append(f"{name} is not installed{' beside this Python' if name == PYINIT else ''}: not measured.")
            continue
        words = {PID1: [path, "--"], SUBREAPER: [path, "--"]}
        if name.startswith("tini"):
            words[SUBREAPER] = [path, "-s", "--"]
        if name == "dumb-init":
            del words[SUBREAPER]
            notes.append("dumb-init is no subreaper: it adopts orphans as PID 1 only.")
        found.append(Init(name, path, words))
    return found


def interpreter(inits: list[Init]) -> str:
    """Return the Python that pyinit runs on, by the first line of its script; else this one."""
    for init in inits:
        if init.name == PYINIT:
            words = SCRIPT.read_text().splitlines()[0].removeprefix("#!").split()
            if words and "python" in Path(words[0]).name:
                return words[0]
    return sys.executable
