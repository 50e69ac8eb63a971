"""7. In Docker: `docker run --rm IMAGE true` end to end, on the engine of DOCKER_HOST; IMAGE needs pyinit in PATH."""

import os
import shutil

from .cell import CHILD, CellError, Lab, succeeded
from .contenders import NOTHING, PYINIT
from .samples import Measure, Results, interleaved

WALL = Measure(7, "docker run --rm IMAGE true", "ms")
BUILT_IN = "docker --init"


def run(lab: Lab, results: Results, image: str | None, rounds: int) -> None:
    """Measure, or note why not."""
    docker = shutil.which("docker")
    if not image or not docker or "DOCKER_HOST" not in os.environ:
        results.note("In Docker: not run; it needs docker, DOCKER_HOST and --docker-image.")
        return
    start = [docker, "--host", os.environ["DOCKER_HOST"], "run", "--rm", "--network", "none"]
    jobs = [
        (NOTHING, [*start, "--entrypoint", "true", image]),
        (BUILT_IN, [*start, "--init", "--entrypoint", "true", image]),
        (PYINIT, [*start, "--entrypoint", "pyinit", image, "--", "true"]),
    ]
    try:
        for name, words in interleaved(jobs, rounds):
            with lab.cell(CHILD, words) as cell:
                finish = succeeded(cell.finish(), name)
            results.add(WALL, CHILD, name, (finish.end - finish.begin) / 1e6)
    except CellError as error:
        results.note(f"In Docker: {error}.")
