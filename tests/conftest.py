"""What every level shares: the same signal dispositions, however the suite was started; `mode`, PID 1 and a subreaper.

And `sh`, an interactive shell.
"""

import signal
from collections.abc import Iterator

import pytest

from tests.harness import Mode, need, need_root
from tests.shell import SHELLS, Shell, shell


@pytest.fixture(autouse=True)
def default_dispositions() -> None:
    """Undo what nohup(1), `make test &` or a library has the suite ignore, which its children would inherit."""
    for signum in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # these two are CPython's own doing
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)


@pytest.fixture(params=["pid1", "subreaper"])
def mode(request: pytest.FixtureRequest) -> Mode:
    """Where pyinit runs."""
    if request.param == "pid1":
        need_root()
    chosen: Mode = request.param
    return chosen


@pytest.fixture(params=SHELLS)
def sh(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """An interactive shell, bash and dash."""
    need(request.param)
    with shell(*SHELLS[request.param]) as run:
        yield run
