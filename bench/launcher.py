"""6. The launcher: a PID namespace with its own /proc around `true`, made by pyinit, unshare(1) and bwrap(1)."""

import shutil

from .cell import CHILD, CellError, Lab, succeeded
from .contenders import PYINIT, Init
from .samples import Measure, Results, interleaved

WALL = Measure(6, "a PID namespace around true", "ms")
PEERS = {
    "unshare": ["-pf", "--mount-proc", "--kill-child", "true"],
    "bwrap": ["--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/", "--proc", "/proc", "true"],
}


def run(lab: Lab, inits: list[Init], results: Results, rounds: int) -> None:
    """Measure those that are installed and can make a namespace here; the rest is noted."""
    jobs = [(PYINIT, [init.path, "-n", "--", "true"]) for init in inits if init.name == PYINIT]
    for name, words in PEERS.items():
        path = shutil.which(name)
        if path:
            jobs.append((name, [path, *words]))
        else:
            results.note(f"{name} is not installed: not measured.")
    able = [job for job in jobs if _works(lab, *job, results)]
    for name, words in interleaved(able, rounds):
        with lab.cell(CHILD, words) as cell:
            finish = succeeded(cell.finish(), name)
        results.add(WALL, CHILD, name, (finish.end - finish.begin) / 1e6)


def _works(lab: Lab, name: str, words: list[str], results: Results) -> bool:
    try:
        with lab.cell(CHILD, words) as cell:
            succeeded(cell.finish(), name)
    except CellError as error:
        results.note(f"Launcher: {error}: not measured.")
        return False
    return True
