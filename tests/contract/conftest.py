"""Where pyinit stops."""

import pytest

from tests.harness import need_root
from tests.stopping import PLACES, Place


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """Where pyinit runs: as PID 1, as a subreaper, or twice, with -n."""
    if request.param != "subreaper":
        need_root()
    chosen: Place = request.param
    return chosen
