"""Every test starts from the same signal dispositions, however the suite was started."""

import signal


def pytest_configure() -> None:
    """Undo what nohup(1), or a shell's `make test &`, has the suite ignore: its children would inherit that."""
    for signum in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # these two are CPython's own doing
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
