"""The matrices: `mode`, PID 1 and a subreaper; `place`, that and -n; `launcher`, -n with or without root; shells."""

from collections.abc import Iterator

import pytest

from tests.behaviour.pid_namespace import LAUNCHER, NOBODY, somebody
from tests.behaviour.shell import CONTAINER, SHELLS, Shell, shell
from tests.behaviour.stopping import PLACES, Place
from tests.harness import PYINIT, Mode, need, need_root


@pytest.fixture(params=["pid1", "subreaper"])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Where pyinit runs."""
    if request.param == "pid1":
        need_root()
    chosen: Mode = request.param
    return chosen


@pytest.fixture(params=["self", "nobody"])
def launcher(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The words that start the launcher, as this user and as nobody, who needs a user namespace."""
    if request.param == "self":
        yield LAUNCHER
        return
    need_root()
    with somebody(NOBODY, NOBODY) as user:
        yield user.launcher


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """Where pyinit runs: as PID 1, as a subreaper, or twice, with -n."""
    if request.param != "subreaper":
        need_root()
    chosen: Place = request.param
    return chosen


@pytest.fixture(params=SHELLS)
def sh(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """An interactive shell, bash and dash."""
    need(request.param)
    with shell(*SHELLS[request.param]) as run:
        yield run


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
    return str(request.param)


@pytest.fixture
def leader(mode: Mode) -> list[str]:
    """The words that make pyinit the leader of a terminal's session, as PID 1 and as a subreaper."""
    return [*CONTAINER, str(PYINIT)] if mode == "pid1" else [str(PYINIT)]
