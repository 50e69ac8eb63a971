"""What the tests of pyinit.launch() share: starting a Python program that imports the pyinit under test."""

import os
import subprocess
from typing import Any

from tests.harness import (
    PYINIT,
    PYTHON,
    Mode,
    started,
)

LIBRARY = next(PYINIT.parents[1].glob("lib/python3*/site-packages"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(LIBRARY)}
SUBREAPER = "import os, sys, signal, pyinit\npyinit.launch(subreaper=True)\n"
# Everything that a child could find changed, as a dictionary.
STATE = """
import json, os, signal, sys, threading
def state():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    names = "SigBlk", "SigIgn", "SigCgt", "Threads", "Umask", "NSsid"
    fds = {}
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}"), os.get_inheritable(fd)
        except OSError:
            pass  # it was the listing's own
    return {
        **{name: status.get(name) for name in names},
        "fds": fds, "cwd": os.getcwd(), "environment": dict(os.environ), "main": threading.main_thread().name,
        "handlers": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    }
"""
HAS_WAITER = (LIBRARY / "pyinit/native/waiter").exists()


def program(text: str, *words: str, mode: Mode = "pid1", init: tuple[str, ...] = (), **popen: Any) -> Any:
    """Start a Python program, as PID 1 or not; as started() otherwise. Not in the checkout, which has a pyinit too."""
    given: dict[str, Any] = {"env": ENVIRONMENT, "cwd": "/", **popen}
    return started("-c", text, *words, init=[*init, PYTHON], mode=mode, **given)


def run(text: str, *words: str, **started: Any) -> tuple[int, str]:
    """Run a program to its end: exit status and output."""
    with program(text, *words, stderr=subprocess.STDOUT, **started) as process:
        output = process.output().decode()
        return process.wait(), output
