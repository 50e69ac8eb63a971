"""Dockerfile.example in one engine, on Debian's own Python: it is built, it runs, and it stops by itself.

`make test-all` looks at much more of it, on an image that is laid out as the official ones of Python are.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.base import BUILD_STAGE, DOCKERFILE, SUITE, TOOLS, build, import_debian
from tests.engines.engine import BY_ITSELF, Container, Docker, until
from tests.harness import need, need_root
from tools.cache import cached, key

BASE = "pyinit-smoke-base"
PACKAGES = ("ca-certificates", "python3", "python3-dev", "python3-pip")


@pytest.fixture
def docker() -> Iterator[Docker]:
    """A Docker engine with BASE, and with the steps of Dockerfile.example that need the network in its build cache."""
    need_root()
    need(*TOOLS)
    images = cached(f"smoke-{key(SUITE, *PACKAGES, DOCKERFILE.read_text().partition('COPY')[0])}.tar", make_images)
    with Docker() as engine:
        engine("load", "--quiet", "--input", str(images))
        yield engine


def make_images(target: Path) -> None:
    """Make both images from the network, and save them there."""
    with Docker(online=True) as docker:
        import_debian(docker, BASE, *PACKAGES)
        build(docker, BUILD_STAGE, "--target=build", "--network=host", base=BASE)
        docker("save", "--output", str(target), BASE, BUILD_STAGE)


def test_dockerfile_example_is_built_and_stops_by_itself_in_shell_form(docker: Docker) -> None:
    build(docker, "pyinit-example", "--network=none", f"--cache-from={BUILD_STAGE}", base=BASE)
    container = Container(docker, "pyinit-example")
    until(lambda: "python3" in container.names(), "the server runs, behind its shell")
    assert container.exec("cat", "/proc/1/comm") == "pyinit"
    assert container.exec("id", "--user") == "1000"
    assert container.stop() < BY_ITSELF
    assert container.exit_code == 143
