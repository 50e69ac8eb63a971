"""2. At rest: what an init with an idle command holds, and how often it wakes up.

RSS and PSS count pages of the interpreter that this benchmark's own Python shares; private dirty is the honest figure.
"""

import time
from contextlib import ExitStack

import psutil

from .cell import Cell, CellError, Lab, memory
from .contenders import FLOOR, PID1, ROLES, Init
from .samples import Measure, Results, interleaved

PRIVATE = Measure(2, "private dirty", "KiB")
PSS = Measure(2, "PSS", "KiB")
RSS = Measure(2, "RSS", "KiB")
THREADS = Measure(2, "threads", "")
DESCRIPTORS = Measure(2, "descriptors, of 4 inherited", "")
WAKE_UPS = Measure(2, "wake-ups in 10 s", "")
FIELDS = {PRIVATE: "Private_Dirty", PSS: "Pss", RSS: "Rss"}
# The signal module's C half alone: `signal` itself would import enum.
IDLE = ["-I", "-S", "-c", "import _signal; print(flush=True); _signal.pause()"]


def run(lab: Lab, inits: list[Init], python: str, results: Results, rounds: int, seconds: float) -> None:
    """Measure memory one init at a time, `rounds` times, then the wake-ups of all of them in the same `seconds`."""
    jobs = [
        (role, init.name, [*init.words[role], lab.command]) for role in ROLES for init in inits if role in init.words
    ]
    jobs.append((PID1, FLOOR, [python, *IDLE]))
    for role, name, words in interleaved(jobs, rounds):
        with lab.cell(role, words) as cell:
            pid = cell.ready().settle()
            used, process = memory(pid), psutil.Process(pid)
            for measure, field in FIELDS.items():
                results.add(measure, role, name, used[field])
            results.add(THREADS, role, name, process.num_threads())
            results.add(DESCRIPTORS, role, name, process.num_fds())
    with ExitStack() as cells:
        running = [(role, name, cells.enter_context(lab.cell(role, words))) for role, name, words in jobs]
        _wake_ups(running, results, seconds)


def _wake_ups(running: list[tuple[str, str, Cell]], results: Results, seconds: float) -> None:
    processes = [psutil.Process(cell.ready().settle()) for _, _, cell in running]
    before = [sum(process.num_ctx_switches()) for process in processes]
    time.sleep(seconds)
    for (role, name, _), process, count in zip(running, processes, before, strict=True):
        if not process.is_running():
            raise CellError(f"{name} as {role} ended by itself")
        results.add(WAKE_UPS, role, name, (sum(process.num_ctx_switches()) - count) * 10 / seconds)
