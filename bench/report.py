"""The results as a table for people and as JSON for programs."""

import json
from collections.abc import Iterable

from .contenders import PEERS, PYINIT
from .samples import Measure, Results, Spread
from .targets import Verdict

TITLES = {
    1: "Start",
    2: "At rest, with a command that does nothing",
    3: "Forwarding a signal",
    4: "Reaping",
    5: "Stopping",
    6: "Launcher",
    7: "In Docker",
    8: "As work grows, by the number of living orphans",
    9: "A Python program",
    10: "Looking at a namespace",
    11: "The order of a drain",
}
HEAD = "median (distance between the quartiles); the last column is pyinit's median / the best peer's"


def table(machine: dict[str, str], results: Results, verdicts: list[Verdict]) -> str:
    """Return everything as text."""
    lines = [f"{name + ':':19}{value}" for name, value in machine.items()] + ["", HEAD]
    for item, title in TITLES.items():
        rows = {key: samples for key, samples in results.samples.items() if key[0].item == item}
        if rows:
            lines += ["", f"{item}. {title}"] + (_curves(results) if item == 8 else _block(results, list(rows)))
    lines += ["", "Targets"]
    lines += aligned([[v.target, v.role, v.measured, "yes" if v.met else "NO"] for v in verdicts])
    lines += ["", *results.notes] if results.notes else []
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """Return three significant digits, and every digit before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.3g}"


def ordered(names: Iterable[str]) -> list[str]:
    """Return contenders in the order of all tables: pyinit, its peers, what they are held against."""
    known = (PYINIT, *PEERS)
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def aligned(rows: list[list[str]]) -> list[str]:
    """Return the rows as lines, with their cells below each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [f"  {line}".rstrip() for line in lines]


def _block(results: Results, rows: list[tuple[Measure, str]]) -> list[str]:
    names = ordered(name for row in rows for name in results.samples[row])
    lines = [["", "", "", *names, "pyinit / best"]]
    for measure, role in sorted(rows, key=lambda row: row[1]):
        spreads = {name: results.of(measure, role, name) for name in names}
        cells = [_cell(spreads[name]) for name in names]
        lines.append([measure.name, role, measure.unit, *cells, _ratio(measure, spreads)])
    return aligned(lines)


def _cell(found: Spread | None) -> str:
    if not found:
        return "-"
    return number(found.median) + (f" ({number(found.iqr)})" if found.samples > 1 else "")


def _ratio(measure: Measure, spreads: dict[str, Spread | None]) -> str:
    own = spreads.get(PYINIT)
    others = [found.median for name, found in spreads.items() if found and name in (*PEERS, "unshare", "bwrap")]
    if not own or not others:
        return "-"
    best = max(others) if measure.higher_is_better else min(others)
    return f"{own.median / best:.2f}" if best else "-"


def _curves(results: Results) -> list[str]:
    points = {key: samples for key, samples in results.samples.items() if key[0].item == 8}
    sizes = sorted({measure.size for measure, _ in points})
    lines = [["", "", "", "", *(f"{size:,}" for size in sizes)]]
    curves = {(m.name, m.unit, role, name) for (m, role), samples in points.items() for name in samples}
    for what, unit, role, name in sorted(curves, key=lambda curve: (curve[0], curve[2], curve[3])):
        found = [results.of(Measure(8, what, unit, size=size), role, name) for size in sizes]
        lines.append([what, role, name, unit, *map(_cell, found)])
    return aligned(lines)


def document(machine: dict[str, str], results: Results, verdicts: list[Verdict]) -> str:
    """Return everything as one JSON document."""
    measures = []
    for (measure, role), samples in results.samples.items():
        spreads = {name: results.of(measure, role, name) for name in ordered(samples)}
        figures = {name: found._asdict() for name, found in spreads.items() if found}
        measures.append(measure._asdict() | {"role": role, "figures": figures})
    targets = [verdict._asdict() for verdict in verdicts]
    content = {"machine": machine, "measures": measures, "targets": targets, "notes": results.notes}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
