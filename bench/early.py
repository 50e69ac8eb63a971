"""1. Start, too: a SIGTERM soon after the exec of the init. The kernel drops what PID 1 neither blocks nor handles.

The first comes 0.2 ms after the descriptors that the exec closes are closed: the kernel itself is not done before.
"""

from .cell import Lab
from .contenders import PID1, Init
from .samples import Measure, Results, interleaved

LOST = Measure(1, "SIGTERM 0.2 to 10 ms after the exec: lost", "of all")
STEP_US, STEPS = 200, 50
PATIENCE_MS = 100  # until it counts as lost


def run(lab: Lab, inits: list[Init], results: Results, rounds: int) -> None:
    """Send one to each init `rounds` times, as PID 1, and count those that have not ended it."""
    lost = dict.fromkeys((init.name for init in inits), 0)
    jobs = [(init, number % STEPS + 1) for number in range(rounds) for init in inits]
    for init, step in interleaved(jobs, 1):
        with lab.cell(PID1, [*init.words[PID1], lab.command]) as cell:
            lost[init.name] += not cell.early(step * STEP_US, PATIENCE_MS)
    for name, count in lost.items():
        results.add(LOST, PID1, name, count)
    results.note(f"A SIGTERM soon after the exec: {rounds:,} for each init.")
