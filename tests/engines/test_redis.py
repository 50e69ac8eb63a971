"""The redis story: what `docker stop` does to a database, by the form of CMD and the shell, with and without pyinit.

Every row is a container of its own, with a real redis-server and a value that is in memory only; `docker stop` either
makes redis save it, or loses it. The rows are made once, for all tests of this file and for the table of the run.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.engines.base import BASE
from tests.engines.engine import BY_ITSELF, GRACE, AddTable, Container, Docker, until
from tests.harness import name_of

SERVER = "redis-server redis.conf"  # in /data, which is the working directory
CONFIG = "logfile /data/redis.log\nsave 3600 1\n"
COMMANDS = (SERVER, f"{SERVER} | cat", f"cd /data && {SERVER}", f"{SERVER} & wait")
SHELLS = {"dash": ["/bin/sh", "-c"], "bash": ["/bin/bash", "-c"], "busybox": ["/bin/busybox", "sh", "-c"]}
INITS = ("none", "pyinit")


class Case(NamedTuple):
    """A row of the table, before it has happened."""

    init: str
    shell: str  # "": the exec form
    command: str
    pyinit_in_shell: bool = False

    @property
    def name(self) -> str:
        """The case as an image's tag and a directory's name."""
        command = "".join(letter if letter.isalnum() else "-" for letter in self.command)
        return f"redis-{self.init}-{self.shell or 'exec'}-{command}-{self.pyinit_in_shell}".lower().replace("--", "-")

    def dockerfile(self, pyinit: str) -> str:
        """An image for it, from the image with pyinit or from the one without."""
        lines = [f"FROM {pyinit if self.init == 'pyinit' else BASE}", "WORKDIR /data"]
        if self.pyinit_in_shell:
            lines += ["ENTRYPOINT []", f"SHELL {json.dumps(['pyinit', '--', *SHELLS[self.shell]])}"]
        elif self.shell:
            lines.append(f"SHELL {json.dumps(SHELLS[self.shell])}")
        return "\n".join([*lines, f"CMD {self.command if self.shell else json.dumps(self.command.split())}"])


class Outcome(NamedTuple):
    """What happened to it."""

    inside: str  # PID 1, as the container names it
    outside: str  # the same process, as the host does
    told: bool  # redis got SIGTERM
    saved: bool
    seconds: float
    exit_code: int


CASES = [
    *[Case(init, "", SERVER) for init in INITS],
    *[Case(init, shell, command) for init in INITS for shell in SHELLS for command in COMMANDS],
    Case("pyinit", "dash", f"{SERVER} | cat", pyinit_in_shell=True),
]
BEHIND_PYINIT = [case for case in CASES if case.init == "pyinit"]


class Story:
    """One container's life."""

    def __init__(self, docker: Docker, case: Case, image: str, data: Path) -> None:
        self.data = data
        data.mkdir()
        Path(data, "redis.conf").write_text(CONFIG)
        self.container = Container(docker, f"--volume={data}:/data", docker.image(case.name, case.dockerfile(image)))

    def begin(self) -> None:
        """Write the value, once redis is there, and look at PID 1."""
        until(lambda: "Ready to accept connections" in self.log(), lambda: f"redis is ready: {self.log()!r}")
        assert self.container.exec("redis-cli", "set", "key", "the-value") == "OK"
        self.inside = self.container.exec("cat", "/proc/1/comm")
        first = self.container.pid
        self.outside = f"{first} {name_of(first)}"

    def end(self) -> Outcome:
        """Stop it and look at what is left."""
        seconds = self.container.stop()
        dump = self.data / "dump.rdb"
        return Outcome(
            inside=self.inside,
            outside=self.outside,
            told="Received SIGTERM scheduling shutdown" in self.log(),
            saved=dump.exists() and b"the-value" in dump.read_bytes(),
            seconds=seconds,
            exit_code=self.container.exit_code,
        )

    def log(self) -> str:
        """What redis has logged so far."""
        file = self.data / "redis.log"
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def outcomes(
    docker: Docker, pyinit: str, tmp_path_factory: pytest.TempPathFactory, table: AddTable
) -> dict[Case, Outcome]:
    """All the stories. Those without pyinit, which take ten seconds each, end together; the others one by one."""
    directory = tmp_path_factory.mktemp("redis")
    stories: dict[Case, Story] = {}
    found: dict[Case, Outcome] = {}
    try:
        for case in CASES:
            stories[case] = Story(docker, case, pyinit, directory / case.name)
        for story in stories.values():
            story.begin()
        slow = [case for case in CASES if case.init == "none"]
        with ThreadPoolExecutor(len(slow)) as pool:
            found.update(zip(slow, pool.map(lambda case: stories[case].end(), slow), strict=True))
        found.update({case: stories[case].end() for case in BEHIND_PYINIT})
    finally:
        for story in stories.values():
            story.container.remove()
    add_table(table, found)
    return found


def add_table(table: AddTable, outcomes: dict[Case, Outcome]) -> None:
    """The table that the run makes."""
    header = ["init", "form", "CMD", "PID 1", "on the host", "redis got TERM", "data", "stop", "exit"]
    rows = []
    for case, outcome in outcomes.items():
        rows.append(
            [
                'SHELL ["pyinit", ...]' if case.pyinit_in_shell else case.init,
                f"{case.shell} -c" if case.shell else "exec",
                case.command.replace(" redis.conf", ""),
                outcome.inside,
                outcome.outside,
                "yes" if outcome.told else "NO",
                "saved" if outcome.saved else "LOST",
                f"{outcome.seconds:.1f} s",
                str(outcome.exit_code),
            ]
        )
    table("docker stop and redis-server", header, rows)


@pytest.mark.parametrize("case", BEHIND_PYINIT, ids=lambda case: case.name)
def test_docker_stop_saves_the_data_of_a_redis_behind_pyinit(outcomes: dict[Case, Outcome], case: Case) -> None:
    outcome = outcomes[case]
    assert outcome.inside == "pyinit"
    assert outcome.outside.endswith(" pyinit")
    assert outcome.told
    assert outcome.saved
    assert outcome.seconds < BY_ITSELF


@pytest.mark.parametrize("case", BEHIND_PYINIT, ids=lambda case: case.name)
def test_pyinit_changes_no_exit_code_but_that_of_sigkill(outcomes: dict[Case, Outcome], case: Case) -> None:
    without = outcomes[Case("none", case.shell, case.command)]
    # A shell that had to be killed as PID 1 ends by the SIGTERM itself, behind pyinit.
    assert outcomes[case].exit_code == (143 if without.exit_code == 137 else without.exit_code)


def test_without_pyinit_some_shell_forms_lose_their_data_after_ten_seconds(outcomes: dict[Case, Outcome]) -> None:
    lost = {case: outcome for case, outcome in outcomes.items() if not outcome.saved}
    assert lost
    for case, outcome in lost.items():
        assert case.init == "none"
        assert not outcome.told
        assert outcome.seconds >= GRACE
        assert outcome.exit_code == 137
