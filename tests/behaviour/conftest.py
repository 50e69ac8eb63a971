"""The mode matrix: a test that takes `mode` runs with pyinit as PID 1 of a namespace and as a subreaper."""

import os

import pytest

from tests.harness import Mode


@pytest.fixture(params=["pid1", "subreaper"])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Where pyinit runs."""
    if request.param == "pid1" and os.geteuid() != 0:
        from tests.harness import missing

        missing("needs root")
    chosen: Mode = request.param
    return chosen
