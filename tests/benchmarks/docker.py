"""7. In Docker: `docker run --rm IMAGE true` end to end, with the image of Dockerfile.example and the tests' engine."""

import os
import shutil

import pytest

from tests.engines import base
from tests.engines.engine import Docker

from .cell import CHILD, CellError, Lab, succeeded
from .contenders import NOTHING, PYINIT
from .samples import Measure, Results, interleaved

WALL = Measure(7, "docker run --rm IMAGE true", "ms")
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
    jobs = [
        (NOTHING, [*start, "--entrypoint=true", image]),
        (BUILT_IN, [*start, "--init", "--entrypoint=true", image]),
        (PYINIT, [*start, image, "true"]),
    ]
    for name, words in interleaved(jobs, rounds):
        with lab.cell(CHILD, words) as cell:
            finish = succeeded(cell.finish(), name)
        results.add(WALL, CHILD, name, (finish.end - finish.begin) / 1e6)
