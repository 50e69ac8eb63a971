"""7. In Docker: `docker run --rm IMAGE`, with `true` and with a Python program, by the image of Dockerfile.example."""

import os
import shutil

import pytest

from tests.engines import base
from tests.engines.engine import Docker

from .cell import CHILD, CellError, Lab, succeeded
from .contenders import NOTHING, PYINIT
from .program import LAUNCH
from .samples import Measure, Results, interleaved

WALL = Measure(7, "docker run --rm IMAGE true", "ms")
PROGRAM = Measure(7, "docker run --rm IMAGE python3 -c 'print(1)'", "ms")
BUILT_IN = "docker --init"


def run(lab: Lab, results: Results, rounds: int) -> None:
    """Measure, or note why not."""
    missing = [tool for tool in base.TOOLS if not shutil.which(tool)]
    if os.geteuid() or missing:
        results.note(f"In Docker: not run; it needs {', '.join(missing) or 'root'}.")
        return
    try:
        with Docker() as engine:
            base.load(engine)
            _measure(lab, results, engine, base.example(engine), rounds)
    except (CellError, pytest.fail.Exception) as error:
        results.note(f"In Docker: {error}.")


def _measure(lab: Lab, results: Results, engine: Docker, image: str, rounds: int) -> None:
    start = engine.client("run", "--rm", "--network=none")
    python = [*start, "--entrypoint=python3"]
    jobs = [
        (WALL, NOTHING, [*start, "--entrypoint=true", image]),
        (WALL, BUILT_IN, [*start, "--init", "--entrypoint=true", image]),
        (WALL, PYINIT, [*start, image, "true"]),
        (PROGRAM, NOTHING, [*python, image, "-c", "print(1)"]),
        (PROGRAM, BUILT_IN, [*python, "--init", image, "-c", "print(1)"]),
        (PROGRAM, PYINIT, [*start, image, "python3", "-c", "print(1)"]),
        (PROGRAM, LAUNCH, [*python, image, "-c", "import pyinit; pyinit.launch(); print(1)"]),
    ]
    for measure, name, words in interleaved(jobs, rounds):
        with lab.cell(CHILD, words) as cell:
            finish = succeeded(cell.finish(), name)
        results.add(measure, CHILD, name, (finish.end - finish.begin) / 1e6)
