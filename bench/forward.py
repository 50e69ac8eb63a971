"""3. Forwarding: from just before kill(2) on the init to the first line of the command's handler."""

from .cell import Lab
from .contenders import NOTHING, PID1, ROLES, Init
from .samples import Measure, Results, interleaved, percentile

MEDIAN = Measure(3, "kill(2) to handler, median", "µs")
SLOWEST = Measure(3, "kill(2) to handler, 99th percentile", "µs")
BATCHES = 10
GAP_US = 100  # between two signals, so that each finds init and command at rest


def run(lab: Lab, inits: list[Init], results: Results, count: int) -> None:
    """Send each init `count` signals in batches; each batch gives one sample of the median and of the percentile."""
    jobs = [(role, init.name, init.words[role]) for role in ROLES for init in inits if role in init.words]
    jobs.append((PID1, NOTHING, []))
    for role, name, words in interleaved(jobs, BATCHES):
        with lab.cell(role, [*words, lab.command]) as cell:
            cell.ready().settle()
            times = [nanoseconds / 1e3 for nanoseconds in cell.forward(count // BATCHES, GAP_US)]
        results.add(MEDIAN, role, name, percentile(times, 50))
        results.add(SLOWEST, role, name, percentile(times, 99))
