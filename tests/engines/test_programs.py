"""Programs that launch themselves as the CMD of a container that has no ENTRYPOINT: a stop loses nothing."""

import time
from pathlib import Path

import pytest

from tests.engines.base import SERVERS
from tests.engines.engine import BY_ITSELF, Docker, Run, until
from tests.harness import children_of, name_of, state_of
from tests.servers.programs import PROGRAMS, Program


@pytest.fixture(scope="session")
def servers(docker: Docker, example: str) -> str:
    """An image with pyinit and what the programs take from PyPI, and no ENTRYPOINT."""
    install = "RUN python3 -m pip install --no-index --find-links /wheels --break-system-packages pyinit-pid1"
    return docker.image("pyinit-programs", f"FROM {SERVERS}\nCOPY --from={example} /wheels /wheels\n{install}")


@pytest.mark.parametrize("kind", PROGRAMS, ids=lambda kind: str(kind.__name__))
def test_a_program_that_launches_itself_keeps_what_it_has(
    run: Run, servers: str, kind: type[Program], tmp_path: Path
) -> None:
    program = kind(tmp_path)
    words = ["python3", *program.words[1:]]
    container = run("--volume", f"{tmp_path}:/srv", "--workdir", "/srv", servers, *words)
    program.begin()
    init = container.pid
    assert name_of(init) == "pyinit"
    until(lambda: "Z" not in map(state_of, children_of(init)), "every zombie is reaped")
    began = time.monotonic()
    container.docker("stop", container.id)
    assert time.monotonic() - began < BY_ITSELF
    assert container.exit_code == kind.status, container.logs()
    assert program.kept()
