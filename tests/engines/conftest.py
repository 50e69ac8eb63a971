"""Fixtures: one engine for the whole run, its images, and the tables that the run makes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import base
from tests.engines.engine import AddTable, Container, Docker, Run
from tests.engines.root import Root
from tests.harness import need, need_root

TABLES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A Docker engine with the base image."""
    need_root()
    need(*base.TOOLS)
    with Docker() as engine:
        base.load(engine)
        yield engine


@pytest.fixture(scope="session")
def newer_root() -> Iterator[Root]:
    """Where the engines of Debian's next release are."""
    need_root()
    need(*base.TOOLS, "nsenter")
    with Root() as root:
        yield root


@pytest.fixture(scope="session")
def newer_docker(newer_root: Root) -> Iterator[Docker]:
    """A Docker engine of that release, which builds by BuildKit, with the base image and base.STAGE."""
    with Docker(inside=newer_root.inside) as engine:
        base.load(engine)
        base.build_stage(engine)
        engine.environment["DOCKER_BUILDKIT"] = "1"
        yield engine


@pytest.fixture(scope="session")
def example(docker: Docker) -> str:
    """The image that Dockerfile.example makes."""
    return base.example(docker)


@pytest.fixture(scope="session")
def pyinit(docker: Docker, example: str) -> str:
    """An image whose ENTRYPOINT is pyinit and whose user is root."""
    return docker.image("pyinit-root", f"FROM {example}\nUSER root\nWORKDIR /\nCMD []")


@pytest.fixture
def run(docker: Docker) -> Iterator[Run]:
    """`docker run --detach` with the words given; removed after the test, however that ends."""
    containers: list[Container] = []

    def start(*words: str) -> Container:
        containers.append(Container(docker, *words))
        return containers[-1]

    yield start
    for container in containers:
        container.remove()


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> AddTable:
    """Adds a table (title, header, rows) to the summary of the run."""
    tables = request.config.stash.setdefault(TABLES, [])

    def add(title: str, header: list[str], rows: list[list[str]]) -> None:
        widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
        cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [header, *rows]]
        lines = ["  ".join(row).rstrip() for row in cells]
        tables.append("\n".join([title, "", *lines, ""]))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables; write them to the file that PYINIT_TABLES names, too."""
    if tables := config.stash.get(TABLES, []):
        terminalreporter.section("what the engines did")
        terminalreporter.write_line("\n".join(tables))
        if name := os.environ.get("PYINIT_TABLES"):
            Path(name).write_text("\n".join(tables))
