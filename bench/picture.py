"""The results as an SVG picture: bars for what has one figure, lines for what grows. Readable on light and on dark."""

import math
from html import escape

from . import forward, growth, reap, rest, start, stop
from .contenders import PID1, PYINIT, SUBREAPER
from .report import number, ordered
from .samples import Measure, Results

WIDTH = 860
PANEL_WIDTH, PANEL_HEIGHT, GAP = 400, 180, 20
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13px }
.faint { fill: #57606a; font-size: 11px }
.bar { fill: #afb8c1 } .own { fill: #1f6feb }
.axis { stroke: #d0d7de; fill: none } .line { fill: none; stroke-width: 2 }
.c0 { stroke: #1f6feb } .c1 { stroke: #bf8700 } .c2 { stroke: #1a7f37 } .c3 { stroke: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .faint { fill: #9198a1 } .bar { fill: #545d68 } .own { fill: #4493f8 } .axis { stroke: #3d444d }
.c0 { stroke: #4493f8 } .c1 { stroke: #d29922 } .c2 { stroke: #3fb950 } .c3 { stroke: #ab7df8 }
}"""
BARS = [
    (start.WALL, "Start: init -- true, ms"),
    (forward.MEDIAN, "Forwarding a signal, median, µs"),
    (reap.FLOW.cpu, "Reaping: CPU of the init for one orphan, µs"),
    (rest.PRIVATE, "At rest: private memory, KiB"),
    (stop.ALONE, "SIGTERM to the end of the init, ms"),
]
CURVES = [
    (PYINIT, PID1, "pyinit, PID 1"),
    (PYINIT, SUBREAPER, "pyinit, subreaper"),
    ("tini", PID1, "tini, PID 1: the kernel kills all"),
]


def svg(results: Results) -> str:
    """Return the picture; a panel whose figures are missing is left out."""
    panels = [_bars(measure, title, results) for measure, title in BARS if (measure, PID1) in results.samples]
    curves = [(label, growth.curve(results, growth.DRAIN, role, name)) for name, role, label in CURVES]
    curves = [(label, points) for label, points in curves if len(points) > 1]
    if curves:
        panels.append(_lines("SIGTERM to the end, ms, by number of descendants", curves))
    placed = []
    for index, panel in enumerate(panels):
        x, y = index % 2 * (PANEL_WIDTH + GAP) + GAP, index // 2 * (PANEL_HEIGHT + GAP) + GAP
        placed.append(f'<g transform="translate({x},{y})">\n{panel}\n</g>')
    height = -(-len(panels) // 2) * (PANEL_HEIGHT + GAP) + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">'
    title = "<title>pyinit beside tini, dumb-init and catatonit, as PID 1; shorter is better</title>"
    return "\n".join([head, title, f"<style>{STYLE}\n</style>", *placed, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _bars(measure: Measure, title: str, results: Results) -> str:
    left, room = 80, PANEL_WIDTH - 80 - 60
    spreads = {name: results.of(measure, PID1, name) for name in ordered(results.samples[measure, PID1])}
    medians = {name: found.median for name, found in spreads.items() if found}
    longest = max(medians.values()) or 1
    lines = [_text(0, 12, title, "title")]
    for index, (name, median) in enumerate(medians.items()):
        y, width = 24 + index * 22, max(1.0, room * median / longest)
        kind = "own" if name == PYINIT else "bar"
        lines.append(_text(left - 8, y + 12, name, anchor="end"))
        lines.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" height="16" rx="2" class="{kind}"/>')
        lines.append(_text(left + width + 6, y + 12, number(median), "faint"))
    return "\n".join(lines)


def _lines(title: str, curves: list[tuple[str, list[tuple[int, float]]]]) -> str:
    """Draw curves on logarithmic axes, one tick a decade."""
    left, top, right, bottom = 50.0, 28.0, PANEL_WIDTH - 10.0, PANEL_HEIGHT - 20.0
    every = [point for _, points in curves for point in points]
    (x_low, x_high), (y_low, y_high) = (_decades([point[axis] for point in every]) for axis in (0, 1))

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (math.log10(x) - x_low) / (x_high - x_low), (math.log10(y) - y_low) / (y_high - y_low)
        return left + across * (right - left), bottom - up * (bottom - top)

    lines = [_text(0, 12, title, "title")]
    for decade in range(y_low, y_high + 1):
        _, y = at(10.0**x_low, 10.0**decade)
        lines.append(f'<path d="M{left:.0f} {y:.1f}H{right:.0f}" class="axis"/>')
        lines.append(_text(left - 6, y + 4, number(10.0**decade), "faint", "end"))
    for decade in range(x_low, x_high + 1):
        x, _ = at(10.0**decade, 10.0**y_low)
        lines.append(_text(x, bottom + 15, number(10.0**decade), "faint", "middle"))
    for index, (label, points) in enumerate(curves):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(*point) for point in points))
        lines.append(f'<path d="M{path}" class="line c{index}"/>')
        lines.append(f'<path d="M{left + 12:.0f} {top + 10 + index * 18:.0f}h18" class="line c{index}"/>')
        lines.append(_text(left + 36, top + 14 + index * 18, label))
    return "\n".join(lines)


def _decades(values: list[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
