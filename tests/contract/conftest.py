"""Where pyinit runs."""

import pytest

from tests.harness import MODES, Mode, need_root


@pytest.fixture(params=MODES)
def place(request: pytest.FixtureRequest) -> Mode:
    """As PID 1, as a subreaper, or twice, with -n."""
    if request.param != "subreaper":
        need_root()
    chosen: Mode = request.param
    return chosen
