"""5. Stopping: SIGTERM to the end of the init, with a command that it ends, and with a crowd that outlives the command.

The crowd is in sessions of its own, so no signal to the command's group reaches it. As PID 1 of a namespace, an init
that does not drain takes it along all the same: the kernel then kills each process, which gets no chance to end well.
What CPython alone takes to go, killed by the kernel, is shown as python3: it is the unmapping of its memory.
"""

from signal import SIGKILL, SIGTERM

from .cell import Lab
from .contenders import FLOOR, PID1, ROLES, Init
from .rest import IDLE
from .samples import Measure, Results, interleaved

ALONE = Measure(5, "SIGTERM to exit", "ms")
ONE = Measure(5, "SIGTERM to exit, 1 descendant", "ms")
CROWDED = Measure(5, "SIGTERM to exit, 1,000 descendants", "ms")
TOLD = Measure(5, "descendants that got a SIGTERM", "", higher_is_better=True)
LEFT = Measure(5, "descendants left alive", "")
CROWD = 1000


def run(lab: Lab, inits: list[Init], python: str, results: Results, rounds: int) -> None:
    """Measure each init in each role: `rounds` times alone, a third as often with the crowd."""
    jobs = [(role, init) for role in ROLES for init in inits if role in init.words]
    alone = [(role, init.name, SIGTERM, [*init.words[role], lab.command]) for role, init in jobs]
    alone.append((PID1, FLOOR, SIGKILL, [python, *IDLE]))
    for role, name, signum, words in interleaved(alone, rounds):
        with lab.cell(role, words) as cell:
            cell.ready().settle()
            finish = cell.finish(signum)
        results.add(ALONE, role, name, (finish.end - finish.begin) / 1e6)
    for role, init in interleaved(jobs, rounds):
        with lab.cell(role, [*init.words[role], lab.command]) as cell:
            cell.ready().ask("crowd 1 session")
            cell.settle()
            finish = cell.finish(SIGTERM)
        results.add(ONE, role, init.name, (finish.end - finish.begin) / 1e6)
    for role, init in interleaved(jobs, max(3, rounds // 3)):
        with lab.cell(role, [*init.words[role], lab.command]) as cell:
            cell.ready().ask(f"crowd {CROWD} session")
            cell.settle()
            finish = cell.finish(SIGTERM)
        results.add(CROWDED, role, init.name, (finish.end - finish.begin) / 1e6)
        results.add(TOLD, role, init.name, finish.reports)
        results.add(LEFT, role, init.name, finish.left)
    results.note(
        "Stopping: of these only pyinit drains. What the others leave is killed by the kernel where they are PID 1 and "
        "lives on where they are not."
    )
