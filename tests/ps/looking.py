"""What the tests of pyinit-ps share: looking at a namespace, and making one to look at."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema

from tests.harness import (
    CHECKOUT,
    state_of,
    wait_until,
)

PS = str(Path(sys.executable).with_name("pyinit-ps"))
SCHEMA = json.loads((CHECKOUT / "pyinit/ps/schema.json").read_text())
ALONE: dict[str, Any] = {"init": ["env"], "mode": "pid1"}  # for started(): the words are PID 1 themselves
FOR_A_MOMENT = 0.5  # seconds in which what dies of a signal has died


def run_ps(*words: str | int, **run: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([PS, *map(str, words)], capture_output=True, text=True, check=False, **run)


def look(*words: str | int) -> dict[str, Any]:
    """The document of one look, which keeps to the schema."""
    done = run_ps("--json", *words)
    assert done.stderr == "", done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert done.returncode == 0
    return document["namespaces"][0]  # type: ignore[no-any-return]


def problems(pid: int, *words: str) -> list[tuple[str, list[int]]]:
    """Kind and PIDs of what is found in the namespace of `pid`, as problems."""
    return [(found["kind"], found["pids"]) for found in look(*words, pid)["findings"] if found["is_problem"]]


def effects(pid: int, *words: str) -> dict[int, str]:
    return {process["pids"][0]: process["effect"] for process in look(*words, pid)["processes"]}


def survives(pid: int, signum: int = signal.SIGTERM) -> bool:
    """Whether a process is still there some time after the signal."""
    os.kill(pid, signum)
    try:
        wait_until(lambda: state_of(pid) in ("", "Z"), deadline=FOR_A_MOMENT)
    except AssertionError:
        return True
    return False
