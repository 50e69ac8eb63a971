"""4. Reaping: command.c makes the orphans and says how their stay is measured."""

from .cell import Lab, cpu, memory
from .contenders import PID1, ROLES, Init
from .samples import Measure, Results, interleaved


class Flow:
    """The measures of a flow of `count` orphans."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.rate = Measure(4, f"{count:,} orphans: rate", "/s", higher_is_better=True)
        self.cpu = Measure(4, f"{count:,} orphans: CPU of the init", "µs each")
        self.longest = Measure(4, f"{count:,} orphans: longest a zombie stays", "ms")
        self.growth = Measure(4, f"{count:,} orphans: growth of private memory", "KiB")


FLOW = Flow(20_000)
FLOOD = Flow(200_000)
BURST = Measure(4, "1,000 at once: until all are gone", "ms")
BURST_LONGEST = Measure(4, "1,000 at once: longest a zombie stays", "ms")
SINGLE = Measure(4, "one alone: how long it stays", "µs")
WAVE, CAP = 100, 2000  # orphans made at a time; not yet reaped ones at which the generator waits


def run(lab: Lab, inits: list[Init], results: Results, rounds: int, flood: bool) -> None:
    """Measure each init in each role; the flood of 200,000, if wanted, once and as PID 1 alone, since it takes long."""
    jobs = [(role, init) for role in ROLES for init in inits if role in init.words]
    for role, init in interleaved(jobs, rounds):
        _burst(lab, role, init, results)
        _flow(lab, role, init, results, FLOW)
    if flood:
        for role, init in interleaved([job for job in jobs if job[0] == PID1], 1):
            _flow(lab, role, init, results, FLOOD)


def _flow(lab: Lab, role: str, init: Init, results: Results, flow: Flow) -> None:
    with lab.cell(role, [*init.words[role], lab.command]) as cell:
        pid = cell.ready().settle()
        used, held = cpu(pid), memory(pid)["Private_Dirty"]
        taken, longest = cell.ask(f"flow {flow.count} {WAVE} {CAP}")
        cell.settle()
        results.add(flow.cpu, role, init.name, (cpu(pid) - used) / 1e3 / flow.count)
        results.add(flow.growth, role, init.name, memory(pid)["Private_Dirty"] - held)
    results.add(flow.rate, role, init.name, flow.count / (taken / 1e9))
    results.add(flow.longest, role, init.name, longest / 1e6)


def _burst(lab: Lab, role: str, init: Init, results: Results) -> None:
    with lab.cell(role, [*init.words[role], lab.command]) as cell:
        cell.ready().settle()
        results.add(SINGLE, role, init.name, *(stay / 1e3 for stay in cell.ask("single 100")))
        for _ in range(5):
            taken, longest = cell.ask("burst 1000")
            results.add(BURST, role, init.name, taken / 1e6)
            results.add(BURST_LONGEST, role, init.name, longest / 1e6)
