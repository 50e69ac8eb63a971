"""11. The order of a drain: how long pyinit computes whose turn it is, beside the time in which it reads /proc.

The computing is about made families of 100 to 10,000 processes. The reading is measured with a real pipeline of 100,
and grows with the number of processes. While an adviser computes, PID 1 reaps and forwards.
"""

import subprocess
import time

from pyinit.family.proc import Process
from pyinit.stop.drain import Look
from pyinit.stop.order import Turn

from .contenders import PID1, PYINIT
from .samples import Measure, Results

SHAPES = ("pipeline", "chain", "crowd")
SIZES = (100, 1000, 10_000)
REAL = 100


def run(results: Results, rounds: int) -> None:
    """Measure each shape and size."""
    one = _reading() / REAL
    for shape in SHAPES:
        for size in SIZES:
            computing = Measure(11, f"{shape} of {size:,}: finding the order", "ms")
            results.add(computing, PID1, PYINIT, *(_computing(shape, size) for _ in range(rounds)))
            results.add(Measure(11, f"{shape} of {size:,}: reading /proc", "ms"), PID1, PYINIT, one * size)


def _computing(shape: str, size: int) -> float:
    """Return the milliseconds of CPU that one look takes after it has read /proc."""
    pids = range(2, size + 2)
    left = {pid: _made(pid, pid - 1 if shape == "chain" else 1) for pid in pids}
    readers, written = {}, {}
    if shape == "pipeline":
        readers = {pid: f"pipe:[{pid}]" for pid in pids if pid > 2}
        written = {pid: {f"pipe:[{pid + 1}]"} for pid in pids}
    began = time.process_time()
    Turn(left, list(left.values()), (), readers, written).due()
    return (time.process_time() - began) * 1e3


def _made(pid: int, parent: int) -> Process:
    fields = [b"0"] * 33
    fields[0], fields[1] = b"S", b"%d" % parent
    return Process(pid, fields)


def _reading() -> float:
    """Return the milliseconds in which a look reads what it needs of a real pipeline."""
    stages: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(REAL):
            stdin = stages[-1].stdout if stages else subprocess.DEVNULL
            stages.append(subprocess.Popen(["sleep", "1000"], stdin=stdin, stdout=subprocess.PIPE))
        began = time.perf_counter()
        look = Look()
        look.pipes(look.left.values())
        return (time.perf_counter() - began) * 1e3
    finally:
        for stage in stages:
            stage.kill()
            stage.wait()
            if stage.stdout is not None:
                stage.stdout.close()
