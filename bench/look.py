"""10. Looking: pyinit-ps at a namespace of 10,000 processes, beside `ps -ef`; and its memory with a tenth of them."""

import resource
import shutil
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

from .cell import Lab
from .contenders import PID1, Init
from .samples import Measure, Results, interleaved

OWN, PEER = "pyinit-ps", "ps -ef"
SIZES = (1_000, 10_000)


def wall(size: int) -> Measure:
    return Measure(10, f"{size:,} processes", "ms", size=size)


def peak(size: int) -> Measure:
    return Measure(10, f"{size:,} processes: memory at most", "MiB", size=size)


def run(lab: Lab, inits: list[Init], results: Results, rounds: int) -> None:
    """Measure both, with each size of the crowd, behind an init that pyinit-ps has nothing to say against.

    What it has found to be a problem it looks at again for 0.4 s more, however many there are.
    """
    path = Path(sys.executable).with_name(OWN)
    if not path.exists() or not shutil.which("ps"):
        results.note(f"Looking: not run; it needs {OWN} beside this Python, and ps.")
        return
    for size in SIZES:
        with lab.cell(PID1, [*inits[0].words[PID1], lab.command]) as cell:
            pid = cell.ready().settle()
            cell.ask(f"crowd {size} session")
            ways = [(OWN, [str(path), str(pid)]), (PEER, ["ps", "-ef"])]
            for name, words in interleaved(ways, rounds):
                began = time.monotonic_ns()
                subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
                results.add(wall(size), PID1, name, (time.monotonic_ns() - began) / 1e6)
            for name, words in ways:
                with get_context("spawn").Pool(1) as pool:
                    results.add(peak(size), PID1, name, pool.apply(_peak, (words,)) / 1024)


def _peak(words: list[str]) -> int:
    """The most memory that a program has had, in KiB; of a process that has no other children."""
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
