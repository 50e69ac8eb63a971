"""8. As work grows: what an init does with 1 to 10,000 living orphans, by their number.

A signal costs the init's CPU (latency too, but that is item 3's). A crowd ignores the signal that is forwarded, so what
its size costs is finding and signalling it. It lives in sessions of its own, except for the scope `group`. At the end
it is drained; beside tini, which leaves at once and lets the kernel kill the namespace.
"""

from collections.abc import Sequence
from signal import SIGTERM
from typing import NamedTuple

from .cell import Cell, Lab, cpu
from .contenders import PID1, PYINIT, ROLES, Init
from .samples import Measure, Results, interleaved, spread

SIZES = (1, 10, 100, 1000, 3000, 10_000)
QUICK_SIZES = (1, 100, 1000)
SIGNAL, REAP, DRAIN = "CPU of a signal, scope {}", "CPU of reaping one", "SIGTERM to exit, none left"
SIGNALS, GAP_US, LIMIT_MS = 200, 100, 1000
ORPHANS = 50


class Curve(NamedTuple):
    """One contender in one role with one scope: `words` start it, `crowd` is where its crowd lives."""

    name: str
    role: str
    scope: str
    words: list[str]
    crowd: str


def measure(what: str, scope: str, size: int) -> Measure:
    """Return the measure of a point of a curve."""
    return Measure(8, what.format(scope), "ms" if what is DRAIN else "µs", size=size)


def run(lab: Lab, inits: list[Init], results: Results, sizes: Sequence[int], rounds: int) -> None:
    """Measure pyinit with each scope in each role, and tini for the scopes that it has, as PID 1."""
    jobs = [(curve, size) for curve in _curves(inits) for size in sizes]
    for curve, size in interleaved(jobs, rounds):
        with lab.cell(curve.role, [*curve.words, lab.command]) as cell:
            cell.ready().ask(f"crowd {size} {curve.crowd}")
            _point(cell, curve, size, results)


def _curves(inits: list[Init]) -> list[Curve]:
    curves = []
    for init in inits:
        if init.name == PYINIT:
            for scope in ("child", "group", "all"):
                crowd = "group" if scope == "group" else "session"
                words = [init.path, "--scope", scope, "--"]
                curves += [Curve(PYINIT, role, scope, words, crowd) for role in ROLES]
        elif init.name == "tini":
            curves.append(Curve("tini", PID1, "child", [init.path, "--"], "session"))
            curves.append(Curve("tini", PID1, "group", [init.path, "-g", "--"], "group"))
    return curves


def _point(cell: Cell, curve: Curve, size: int, results: Results) -> None:
    pid = cell.settle()
    before = cpu(pid)
    sent = len(cell.forward(SIGNALS, GAP_US, LIMIT_MS))
    cell.settle()
    results.add(measure(SIGNAL, curve.scope, size), curve.role, curve.name, (cpu(pid) - before) / 1e3 / sent)
    if curve.scope == "child":
        before = cpu(pid)
        cell.ask(f"single {ORPHANS}")
        cell.settle()
        results.add(measure(REAP, "", size), curve.role, curve.name, (cpu(pid) - before) / 1e3 / ORPHANS)
        finish = cell.finish(SIGTERM)
        results.add(measure(DRAIN, "", size), curve.role, curve.name, (finish.end - finish.begin) / 1e6)


def curve(results: Results, name: str, role: str, contender: str) -> list[tuple[int, float]]:
    """Return the points of a curve, as size and median, in the order of size."""
    points = []
    for (point, at), samples in results.samples.items():
        if point.name == name and at == role and contender in samples:
            points.append((point.size, spread(samples[contender]).median))
    return sorted(points)
