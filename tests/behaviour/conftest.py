"""The matrices: `mode` is pyinit as PID 1 and a subreaper, `place` that and -n, `launcher` -n with and without root."""

from collections.abc import Iterator

import pytest

from tests.behaviour.launching import LAUNCHER, NOBODY, somebody
from tests.behaviour.stopping import PLACES, Place
from tests.harness import Mode, need_root


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
