"""Docker Compose and BuildKit, as Debian's next release has them: examples/compose.yaml and Dockerfile.example."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines import base
from tests.engines.engine import AddTable, Docker, until
from tests.engines.test_example import LIMIT

FILE = base.REPOSITORY / "examples/compose.yaml"
FINISHING = 2.0  # seconds that the worker needs
GRACE = 30.0  # seconds: its stop_grace_period
STATUSES = {"web": 143, "worker": 3}
# Where no registry and no network is.
OFFLINE = f"""
services:
  web:
    build:
      network: none
      args: {{BASE_IMAGE: {base.BASE}}}
      additional_contexts: {{build: "docker-image://{base.STAGE}"}}
"""
Compose = Callable[..., str]


@pytest.fixture
def compose(newer_docker: Docker, tmp_path: Path) -> Iterator[Compose]:
    """`docker compose` with these words, for a project that is down in the end."""
    offline = tmp_path / "offline.yaml"
    offline.write_text(OFFLINE)

    def run(*words: str) -> str:
        return newer_docker("compose", f"--file={FILE}", f"--file={offline}", *words)

    yield run
    run("down", "--timeout=0")


def test_compose_stops_every_service_within_its_grace_period(compose: Compose) -> None:
    compose("up", "--build", "--detach")
    until(lambda: "ready" in compose("logs", "worker"), "the worker runs")
    began = time.monotonic()
    compose("stop")
    assert FINISHING <= time.monotonic() - began < GRACE / 2
    services = [json.loads(line) for line in compose("ps", "--all", "--format=json").splitlines()]
    assert {service["Service"]: service["ExitCode"] for service in services} == STATUSES
    assert "finished" in compose("logs", "worker")


def test_compose_down_leaves_nothing(compose: Compose, newer_docker: Docker) -> None:
    def left() -> tuple[str, str]:
        return newer_docker("ps", "--all", "--quiet"), newer_docker("network", "ls", "--quiet")

    before = left()
    compose("up", "--build", "--detach")
    assert left() != before
    compose("down")
    assert left() == before


def test_buildkit_has_no_warning_about_dockerfile_example(newer_docker: Docker) -> None:
    words = ["--check", f"--file={base.DOCKERFILE}", f"--build-arg=BASE_IMAGE={base.BASE}", str(base.REPOSITORY)]
    assert newer_docker("build", *words) == "Check complete, no warnings found."


def test_pyinit_adds_as_little_by_buildkit(newer_docker: Docker, compose: Compose, table: AddTable) -> None:
    compose("build")
    sizes = (int(newer_docker("image", "inspect", "--format={{.Size}}", image)) for image in (base.BASE, "example"))
    without, with_pyinit = sizes
    added = (with_pyinit - without) / 1000
    table("Dockerfile.example, by BuildKit", ["image", "kB"], [["pyinit adds", f"{added:.0f}"]])
    assert 0 < added < LIMIT
