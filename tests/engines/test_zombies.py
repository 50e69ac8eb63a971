"""Zombies, counted from the host: what is left of 200 orphans in a container."""

import pytest

from tests.engines.base import BASE
from tests.engines.engine import AddTable, Container, Docker, Run, until
from tests.harness import children_of, name_of, state_of

ORPHANS = 200
MAKE_ORPHANS = f"i=0; while [ $i -lt {ORPHANS} ]; do (true &); i=$((i + 1)); done"
# A fork that fails is tried again: only zombies that nobody reaps make it fail for ever.
PIDS_LIMIT = 30
FORK_PAST_THE_LIMIT = """
import os, time
deadline = time.monotonic() + 60
orphans = 0
while orphans < 300 and time.monotonic() < deadline:
    try:
        if (pid := os.fork()) == 0:
            try:
                os.fork()
            except BlockingIOError:
                os._exit(1)
            os._exit(0)
        orphans += os.waitpid(pid, 0)[1] == 0
    except BlockingIOError:
        time.sleep(0.01)
print("orphans:", orphans)
"""


def zombies(container: Container) -> int:
    """The zombies among the children of the container's PID 1."""
    return sum(state_of(pid) == "Z" for pid in children_of(container.pid))


@pytest.fixture(scope="module")
def counted(docker: Docker, pyinit: str, table: AddTable) -> dict[str, int]:
    """The zombies left of the orphans by PID 1, which is sleep or pyinit."""
    found = {}
    for name, image in {"sleep": BASE, "pyinit": pyinit}.items():
        container = Container(docker, image, "sleep", "1000")
        try:
            container.exec("sh", "-c", MAKE_ORPHANS)
            mine = [] if name == "sleep" else ["sleep"]
            until(
                lambda: [name_of(pid) for pid in children_of(container.pid) if state_of(pid) != "Z"] == mine,  # noqa: B023
                "the end of the orphans",
            )
            if name == "pyinit":
                until(lambda: zombies(container) == 0, "all orphans are reaped")  # noqa: B023
            found[name] = zombies(container)
        finally:
            container.remove()
    table(
        "zombies, counted from the host",
        ["PID 1", "orphans", "zombies"],
        [[name, str(ORPHANS), str(count)] for name, count in found.items()],
    )
    return found


def test_sleep_as_pid_1_reaps_none_of_200_orphans(counted: dict[str, int]) -> None:
    assert counted["sleep"] == ORPHANS


def test_pyinit_as_pid_1_reaps_all_of_200_orphans(counted: dict[str, int]) -> None:
    assert counted["pyinit"] == 0


def test_orphans_do_not_use_up_the_pids_limit(run: Run, pyinit: str) -> None:
    container = run(f"--pids-limit={PIDS_LIMIT}", pyinit, "python3", "-c", FORK_PAST_THE_LIMIT)
    assert container.wait() == 0
    assert container.logs() == "orphans: 300\n"
