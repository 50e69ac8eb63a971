"""Every test starts from the same signal dispositions, however the suite was started."""

import signal


def pytest_configure() -> None:
    """A shell has what it starts in the background, such as `make test &`, ignore SIGINT and SIGQUIT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
