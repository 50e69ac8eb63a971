"""9. A Python program that says one line: as PID 1 itself, with pyinit.launch() in it, and behind each init."""

import sys
from signal import SIGTERM

from .cell import Lab, memory, succeeded
from .contenders import NOTHING, PID1, PYINIT, Init
from .rest import FIELDS, PRIVATE, RSS
from .samples import Measure, Results, interleaved

LAUNCH = "launch()"
BEHIND = "pyinit --"
FIRST = Measure(9, "exec to the program's first line", "ms")
WALL = Measure(9, "exec to its end", "ms")
OWN_PRIVATE, OWN_RSS = PRIVATE._replace(item=9), RSS._replace(item=9)
STOP = Measure(9, "SIGTERM to exit", "ms")
# Descriptor 4 is for the time, as in command.c.
STAMP = "import os, sys, time; os.write(4, time.monotonic_ns().to_bytes(8, sys.byteorder)); print('ready', flush=True)"
LAUNCHING = "import pyinit; pyinit.launch()\n"
IDLE = "\nimport signal; signal.pause()"


def run(lab: Lab, inits: list[Init], results: Results, rounds: int, stop_rounds: int) -> None:
    """Measure the program `rounds` times to its end, and `stop_rounds` times at rest and stopped, but not as PID 1."""
    words = {init.name: init.words[PID1] for init in inits}
    behind = {BEHIND if name == PYINIT else name: [*start, sys.executable, "-c"] for name, start in words.items()}
    ways = {name: (start, "") for name, start in behind.items()}
    ways |= {NOTHING: ([sys.executable, "-c"], ""), LAUNCH: ([sys.executable, "-c"], LAUNCHING)}
    for name, (start, before) in interleaved(list(ways.items()), rounds):
        with lab.cell(PID1, [*start, before + STAMP]) as cell:
            finish = succeeded(cell.finish(), name)
        results.add(FIRST, PID1, name, (finish.reported - finish.begin) / 1e6)
        results.add(WALL, PID1, name, (finish.end - finish.begin) / 1e6)
    del ways[NOTHING]  # of SIGTERM, PID 1 does not die
    for name, (start, before) in interleaved(list(ways.items()), stop_rounds):
        with lab.cell(PID1, [*start, before + STAMP + IDLE]) as cell:
            used = memory(cell.ready().settle())
            finish = cell.finish(SIGTERM)
        results.add(OWN_PRIVATE, PID1, name, used[FIELDS[PRIVATE]])
        results.add(OWN_RSS, PID1, name, used[FIELDS[RSS]])
        results.add(STOP, PID1, name, (finish.end - finish.begin) / 1e6)
