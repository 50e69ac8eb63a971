"""How much is tried, and how much came of it."""

from collections.abc import Callable

import pytest

Record = Callable[[str, object], None]
TREES, SOME_TREES = 500, 40


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-fault", action="store_true", help="let every system call fail, and grow every tree")
    parser.addoption("--seed", type=int, help="grow this tree of processes, and no other")


@pytest.fixture(scope="session")
def every_fault(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--every-fault"))


@pytest.fixture(scope="session")
def trees(request: pytest.FixtureRequest, every_fault: bool) -> list[int]:
    """The seeds of the trees to grow."""
    seed = request.config.getoption("--seed")
    return [seed] if seed is not None else list(range(TREES if every_fault else SOME_TREES))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each test that counted something."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, said in getattr(report, "user_properties", ()):
                if name == "faults" and report.when == "call":
                    terminalreporter.write_line(said)
