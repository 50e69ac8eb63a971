"""How much is tried, and how much came of it."""

from collections.abc import Callable

import pytest

from tests.harness import Rounds

Record = Callable[[str, object], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="grow this tree of processes, and no other")


@pytest.fixture(scope="session")
def trees(request: pytest.FixtureRequest, rounds: Rounds) -> list[int]:
    """The seeds of the trees to grow."""
    seed = request.config.getoption("--seed")
    return [seed] if seed is not None else list(range(rounds(20, 500)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each test that counted something."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, said in getattr(report, "user_properties", ()):
                if name == "faults" and report.when == "call":
                    terminalreporter.write_line(said)
