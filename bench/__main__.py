"""`python -m bench`: measures what is installed, prints a table, writes JSON and a picture where told to."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from . import (
    docker,
    early,
    forward,
    growth,
    launcher,
    look,
    machine,
    order,
    picture,
    program,
    reap,
    report,
    rest,
    start,
    stop,
)
from .cell import CellError, Lab
from .contenders import Init, installed, interpreter
from .samples import Results
from .targets import verdicts

NAMES = (
    "start",
    "early",
    "rest",
    "forward",
    "reap",
    "stop",
    "launcher",
    "docker",
    "growth",
    "program",
    "look",
    "order",
)


class Effort(NamedTuple):
    """How much to measure."""

    rounds: int
    early_rounds: int
    memory_rounds: int
    idle_seconds: float
    signals: int
    reap_rounds: int
    flood: bool
    stop_rounds: int
    sizes: tuple[int, ...]
    growth_rounds: int


FULL = Effort(100, 1000, 5, 10.0, 10_000, 9, True, 45, growth.SIZES, 3)
QUICK = Effort(15, 50, 1, 5.0, 1_000, 1, False, 9, growth.QUICK_SIZES, 1)


def main() -> int:
    """Run what was asked for."""
    options = _options()
    if not shutil.which("gcc"):
        sys.exit("the benchmark needs gcc, for the small programs that take the times")
    # So that a plain kill runs the with blocks too, which end what was started.
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    os.sync()  # a program that was installed just now has dirty pages, which would count as memory of its own
    results = Results()
    inits = installed(results.notes)
    python = interpreter(inits)
    facts = machine.describe(inits, python)
    with tempfile.TemporaryDirectory() as directory:
        lab = Lab(Path(directory))
        for name, job in _jobs(lab, inits, python, results, options).items():
            if name not in options.only:
                continue
            begin = time.monotonic()
            try:
                job()
            except CellError as error:
                results.note(f"{name}: stopped: {error}")
            print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    found = verdicts(results)
    print(report.table(facts, results, found), end="")
    if options.json:
        options.json.write_text(report.document(facts, results, found))
    if options.svg:
        options.svg.write_text(picture.svg(results))
    return 0


def _jobs(
    lab: Lab, inits: list[Init], python: str, results: Results, options: argparse.Namespace
) -> dict[str, Callable[[], None]]:
    effort = QUICK if options.quick else FULL
    rounds = options.rounds or effort.rounds
    return {
        "start": partial(start.run, lab, inits, python, results, rounds),
        "early": partial(early.run, lab, inits, results, effort.early_rounds),
        "rest": partial(rest.run, lab, inits, python, results, effort.memory_rounds, effort.idle_seconds),
        "forward": partial(forward.run, lab, inits, results, effort.signals),
        "reap": partial(reap.run, lab, inits, results, options.rounds or effort.reap_rounds, effort.flood),
        "stop": partial(stop.run, lab, inits, python, results, options.rounds or effort.stop_rounds),
        "launcher": partial(launcher.run, lab, inits, results, rounds),
        "docker": partial(docker.run, lab, results, max(3, rounds // 5)),
        "growth": partial(growth.run, lab, inits, results, effort.sizes, effort.growth_rounds),
        "program": partial(program.run, lab, inits, results, rounds, options.rounds or effort.stop_rounds),
        "look": partial(look.run, lab, inits, results, max(3, rounds // 10)),
        "order": partial(order.run, results, max(3, rounds // 10)),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and no flood of orphans: under a minute")
    parser.add_argument("--only", type=_names, default=NAMES, metavar="NAME,…", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, help="rounds of start, reap, stop and launcher")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a picture")
    return parser.parse_args()


def _names(words: str) -> tuple[str, ...]:
    names = tuple(words.split(","))
    unknown = set(names) - set(NAMES)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(NAMES)}")
    return names


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
