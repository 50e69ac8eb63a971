"""Every test starts from the same signal dispositions, however the suite was started."""

import signal

import pytest


@pytest.fixture(autouse=True)
def default_dispositions() -> None:
    """Undo what nohup(1), `make test &` or a library has the suite ignore, which its children would inherit."""
    for signum in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # these two are CPython's own doing
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
