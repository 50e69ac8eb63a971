"""What every level shares: which tests a run has, the same signal dispositions, `mode`, and `sh`, a shell.

A run has one build of pyinit, and PYINIT_UNDER_TEST names it. Each build has its own places where pyinit runs, so that
each promise is looked at once as PID 1 and once as a subreaper, and each build has kept it. `--all` has all builds in
all places, and the tests marked `slow`.
"""

import signal
from collections.abc import Iterator

import pytest

from tests.harness import BUILD, MODES, Mode, Rounds, need, need_root
from tests.shell import SHELLS, Shell, shell

# Where pyinit runs, by build. A test that is about no place in particular is for the C program.
PAIRED = {"c": ("pid1", "launcher", None), "python": ("subreaper",), "itself": ("pid1", None)}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the build under test in every place, and what is slow")
    parser.addoption("--stress", action="store_true", help="repeat what may fail once in a hundred times")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests that are for this build, and mark those that --stress repeats."""
    others = [
        item for item in items if not is_for_this_build(item) or not (config.getoption("--all") or is_first(item))
    ]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in set(others)]
    for item in items:
        if "rounds" in getattr(item, "fixturenames", ()):
            item.add_marker("stress")


def is_for_this_build(item: pytest.Item) -> bool:
    """Whether the test means anything for the build under test, by its markers."""
    if BUILD == "itself":
        is_the_commands = item.get_closest_marker("command_line") or place_of(item) == "launcher"
        return bool(item.get_closest_marker("itself")) and not is_the_commands
    return BUILD == "c" or not item.get_closest_marker("c_program")


def is_first(item: pytest.Item) -> bool:
    """Whether the test is run without --all: the build is under test in this place, and it is not slow."""
    return place_of(item) in PAIRED[BUILD] and not item.get_closest_marker("slow")


def place_of(item: pytest.Item) -> str | None:
    """Where the test has pyinit run, if there is a choice."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return next((place for place in MODES if place in (params.get("mode"), params.get("place"))), None)


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> Rounds:
    """How often to do it: `rounds(5, 300)` is 5, and 300 with --stress."""
    stress = bool(request.config.getoption("--stress"))
    return lambda few, many: many if stress else few


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
