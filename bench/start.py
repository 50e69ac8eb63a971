"""1. Start: from just before the exec of the init to its end with `true`, and to the command's first instruction."""

from .cell import Lab, succeeded
from .contenders import FLOOR, NOTHING, PID1, ROLES, Init
from .samples import Measure, Results, interleaved

WALL = Measure(1, "init -- true", "ms")
FIRST = Measure(1, "exec to the command's first instruction", "ms")


def run(lab: Lab, inits: list[Init], python: str, results: Results, rounds: int) -> None:
    """Measure each init in each role, the interpreter alone, and the command alone."""
    jobs: list[tuple[Measure, str, str, list[str]]] = [
        (WALL, PID1, NOTHING, ["true"]),
        (WALL, PID1, FLOOR, [python, "-I", "-S", "-c", ""]),
        (FIRST, PID1, NOTHING, [lab.command, "stamp"]),
    ]
    for role in ROLES:
        for init in inits:
            if role in init.words:
                jobs.append((WALL, role, init.name, [*init.words[role], "true"]))
                jobs.append((FIRST, role, init.name, [*init.words[role], lab.command, "stamp"]))
    for measure, role, name, words in interleaved(jobs, rounds):
        with lab.cell(role, words) as cell:
            finish = succeeded(cell.finish(), f"{name} as {role}")
        end = finish.end if measure is WALL else finish.reported
        results.add(measure, role, name, (end - finish.begin) / 1e6)
