"""What is typed to, and the words that start pyinit there."""

from collections.abc import Iterator

import pytest

from tests.harness import PYINIT, Mode, need, need_namespaces
from tests.shell import CONTAINER, SHELLS, Shell, shell


@pytest.fixture
def bash() -> Iterator[Shell]:
    """An interactive bash."""
    need("bash")
    with shell(*SHELLS["bash"]) as run:
        yield run


@pytest.fixture
def pyinit() -> str:
    """What stands in front of a job."""
    return "pyinit"


@pytest.fixture(params=["pyinit", "pyinit -n"])
def either(request: pytest.FixtureRequest) -> str:
    """What stands in front of a job, without a PID namespace of its own and with one."""
    if request.param == "pyinit -n":
        need_namespaces()
    return str(request.param)


@pytest.fixture
def leader(mode: Mode) -> list[str]:
    """The words that make pyinit the leader of a terminal's session, as PID 1 and as a subreaper."""
    return [*CONTAINER, str(PYINIT)] if mode == "pid1" else [str(PYINIT)]
