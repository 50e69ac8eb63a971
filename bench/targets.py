"""The targets of pyinit, held against the results of one run. Shown, never asserted."""

import math
from collections.abc import Callable
from typing import NamedTuple

from . import early, forward, growth, look, program, reap, rest, start, stop
from .contenders import NOTHING, PEERS, PID1, PYINIT, ROLES
from .samples import Measure, Results, Spread

TINI = "tini"


class Verdict(NamedTuple):
    """A target, what was measured in the words of the target, and whether it is met."""

    target: str
    role: str
    measured: str
    met: bool


def verdicts(results: Results) -> list[Verdict]:
    """Return a verdict for each target whose figures are there."""
    found = _start(results)
    for role in ROLES:
        for flow in (reap.FLOW, reap.FLOOD):
            text = f"{flow.count:,} orphans: "
            found += _beside(results, role, f"{text}rate ≥ the best's, within the noise", flow.rate, _at_least)
            found += _beside(results, role, f"{text}CPU for each ≤ the best's, within the noise", flow.cpu, _at_most)
        text = "longest a zombie stays ≤ the best's, within the noise"
        found += _beside(results, role, f"1,000 orphans at once: {text}", reap.BURST_LONGEST, _at_most)
        found += _beside(results, role, f"20,000 orphans: {text}", reap.FLOW.longest, _at_most)
        found += _beside(results, role, "forwarding, median ≤ the best's, within the noise", forward.MEDIAN, _at_most)
        found += _rest(results, role)
        found += _beside(results, role, "private memory < the best's", rest.PRIVATE, _below)
        found += _beside(results, role, "RSS < the best's", rest.RSS, _below)
        found += _beside(results, role, "stopping ≤ the best's, within the noise", stop.ALONE, _at_most)
        found += _linear(results, role)
    return found + _program(results) + _look(results)


def _start(results: Results) -> list[Verdict]:
    found = []
    for role in ROLES:
        found += _beside(results, role, "start at most 0.8 of the fastest peer's", start.WALL, _at_most_four_fifths)
    lost = results.of(early.LOST, PID1, PYINIT)
    if lost:
        found.append(Verdict("no early SIGTERM is lost", PID1, f"{lost.median:.0f}", lost.median == 0))
    one = results.of(stop.ONE, PID1, PYINIT)
    if one:
        found.append(Verdict("a stop with one leftover: at most 12 ms", PID1, f"{one.median:.1f} ms", one.median <= 12))
    return found


def _program(results: Results) -> list[Verdict]:
    alone, own = results.of(program.FIRST, PID1, NOTHING), results.of(program.FIRST, PID1, program.LAUNCH)
    found = []
    if alone and own:
        added = own.median - alone.median
        found.append(Verdict("launch() adds at most 1.5 ms to the first line", PID1, f"{added:.1f} ms", added <= 1.5))
    for measure in (program.OWN_PRIVATE, program.OWN_RSS, program.STOP):
        own, tini = results.of(measure, PID1, program.LAUNCH), results.of(measure, PID1, TINI)
        if own and tini:
            text = f"launch(): {measure.name} ≤ tini's, within the noise"
            found.append(Verdict(text, PID1, *_at_most(own, tini)))
    return found


def _look(results: Results) -> list[Verdict]:
    measure = look.wall(look.SIZES[-1])
    own, ps = results.of(measure, PID1, look.OWN), results.of(measure, PID1, look.PEER)
    if not own or not ps:
        return []
    ratio = own.median / ps.median
    return [Verdict("pyinit-ps at 10,000 processes < 2 x ps -ef", PID1, f"{ratio:.2f} x", ratio < 2)]


def _beside(
    results: Results, role: str, target: str, measure: Measure, judge: Callable[[Spread, Spread], tuple[str, bool]]
) -> list[Verdict]:
    own = results.of(measure, role, PYINIT)
    peers = [spread for name in PEERS if (spread := results.of(measure, role, name))]
    if not own or not peers:
        return []
    best = (max if measure.higher_is_better else min)(peers, key=lambda spread: spread.median)
    return [Verdict(target, role, *judge(own, best))]


def _noise(own: Spread, peer: Spread) -> float:
    """The larger spread of the two, and a tenth where there is too little to tell."""
    return max(own.iqr, peer.iqr) if min(own.samples, peer.samples) >= 5 else peer.median / 10


def _at_least(own: Spread, peer: Spread) -> tuple[str, bool]:
    return f"{own.median / peer.median:.2f} x", own.median >= peer.median - _noise(own, peer)


def _at_most(own: Spread, peer: Spread) -> tuple[str, bool]:
    return f"{own.median / peer.median:.2f} x", own.median <= peer.median + _noise(own, peer)


def _at_most_four_fifths(own: Spread, peer: Spread) -> tuple[str, bool]:
    return f"{own.median / peer.median:.2f} x", own.median <= 0.8 * peer.median


def _below(own: Spread, peer: Spread) -> tuple[str, bool]:
    return f"{own.median:.0f} to {peer.median:.0f} KiB", own.median < peer.median


def _rest(results: Results, role: str) -> list[Verdict]:
    found = []
    wake_ups, threads = results.of(rest.WAKE_UPS, role, PYINIT), results.of(rest.THREADS, role, PYINIT)
    if wake_ups and threads:
        found.append(Verdict("at rest: no wake-up", role, f"{wake_ups.median:.0f}", wake_ups.median == 0))
        found.append(Verdict("at rest: 1 thread", role, f"{threads.median:.0f}", threads.median == 1))
    return found


def _linear(results: Results, role: str) -> list[Verdict]:
    """What the kernel needs to end as many processes is not linear either: tini as PID 1 leaves that to it."""
    own, kernel = _exponent(results, role, PYINIT), _exponent(results, PID1, TINI)
    if own is None or kernel is None:
        return []
    target = "a drain that is linear: exponent ≤ 1.1, or the kernel's own + 0.1"
    return [Verdict(target, role, f"{own:.2f}, kernel {kernel:.2f}", own <= max(1.1, kernel + 0.1))]


def _exponent(results: Results, role: str, contender: str) -> float | None:
    """Time ~ size^exponent, from a tenth of the largest crowd to the largest: well above the fixed cost."""
    points = dict(growth.curve(results, growth.DRAIN, role, contender))
    large = max(points, default=0)
    if large // 10 not in points:
        return None
    return math.log10(points[large] / points[large // 10])
