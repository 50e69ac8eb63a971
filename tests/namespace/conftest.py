"""The launcher with and without root."""

from collections.abc import Iterator

import pytest

from tests.copies import NOBODY
from tests.harness import need_namespaces, need_root
from tests.namespace.launching import LAUNCHER, somebody


@pytest.fixture(autouse=True)
def a_machine_with_pid_namespaces() -> None:
    """Skip each test of this level on a machine without."""
    need_namespaces()


@pytest.fixture(params=["self", "nobody"])
def launcher(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The words that start the launcher, as this user and as nobody, who needs a user namespace."""
    if request.param == "self":
        yield LAUNCHER
        return
    need_root()
    with somebody(NOBODY, NOBODY) as user:
        yield user.launcher
