"""Swarm: a rolling update and a scale-down of a service, while clients keep asking it.

Three services go through the same at once: behind pyinit with CMD in exec form and in shell form, and in shell form
without pyinit. The replicas listen on Unix sockets in a directory that they share with the clients, so that the suite
needs no network and no port.
"""

import http.client
import json
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from tests.engines.base import BASE
from tests.engines.engine import AddTable, Docker, until

REPLICAS = 6
AFTER_SCALE_DOWN = 2
CLIENTS = 4
GRACE = 6  # seconds that a task has on SIGTERM: three times what it needs
SERVER = Path(__file__).with_name("swarm_server.py")
COMMANDS = {"exec form": '["python3", "/server.py"]', "shell form": "cd / && python3 /server.py"}
CASES = (("pyinit", "exec form"), ("pyinit", "shell form"), ("none", "shell form"))


class Outcome(NamedTuple):
    """What became of a service and its clients."""

    exit_codes: Counter[str]
    killed: int  # tasks that got SIGKILL
    answers: Counter[str]  # by version
    lost: int  # requests that were sent and got no answer


class Clients:
    """Clients that keep asking; each goes to the next replica that can be reached."""

    def __init__(self, sockets: Path) -> None:
        self.sockets = sockets
        self.answers: Counter[str] = Counter()
        self.lost: list[str] = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=[number]) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self, number: int) -> None:
        """A client's life."""
        turn = number
        while not self.over.is_set():
            turn += 1
            try:
                connection = connect(self.sockets / str(turn % REPLICAS + 1))
            except OSError:  # no such replica now: nothing was asked yet
                time.sleep(0.01)
                continue
            try:
                connection.request("GET", "/")
                self.answers[connection.getresponse().read().decode()] += 1
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
            finally:
                connection.close()

    def end(self) -> None:
        """Let the requests in hand finish."""
        self.over.set()
        for thread in self.threads:
            thread.join()


class Events:
    """What `docker events` tells of the containers of a service, while the context lasts."""

    def __init__(self, docker: Docker, service: str) -> None:
        filters = [f"--filter=label=com.docker.swarm.service.name={service}", "--filter=type=container"]
        argv = docker.client("events", *filters, "--format={{json .}}")
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self.read)

    def __enter__(self) -> Self:
        self.reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        self.reader.join()

    def read(self) -> None:
        """Until the client ends."""
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            self.lines.extend(stdout)

    def named(self, action: str) -> list[dict[str, str]]:
        """The attributes of the events so far, such as `die` with its `exitCode`."""
        events = [json.loads(line) for line in list(self.lines)]
        return [event["Actor"]["Attributes"] for event in events if event["Action"] == action]


def connect(path: Path) -> http.client.HTTPConnection:
    """An HTTP connection through a Unix socket."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


@pytest.fixture(scope="module")
def swarm(docker: Docker) -> Iterator[Docker]:
    """The engine as a swarm of one."""
    docker("swarm", "init", "--advertise-addr=127.0.0.1", "--task-history-limit=50")
    yield docker
    docker("swarm", "leave", "--force", check=False)


@pytest.fixture(scope="module")
def outcomes(swarm: Docker, pyinit: str, table: AddTable) -> dict[tuple[str, str], Outcome]:
    """All cases at once, and their table."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        found = pool.map(lambda case: play(swarm, pyinit if case[0] == "pyinit" else BASE, case), CASES)
        outcomes = dict(zip(CASES, found, strict=True))
    rows = [
        [
            init,
            form,
            str(outcome.exit_codes.total()),
            ", ".join(f"{count} x {code}" for code, count in sorted(outcome.exit_codes.items())),
            str(outcome.killed),
            str(outcome.answers.total()),
            str(outcome.lost),
        ]
        for (init, form), outcome in outcomes.items()
    ]
    header = ["init", "CMD", "tasks ended", "exit codes", "by SIGKILL", "requests answered", "lost"]
    table(f"Swarm: rolling update of {REPLICAS} replicas, scale-down to {AFTER_SCALE_DOWN}, removal", header, rows)
    return outcomes


def play(docker: Docker, image: str, case: tuple[str, str]) -> Outcome:
    """Create the service, update it, scale it down, remove it, while clients keep asking until the removal."""
    name = "-".join(case).replace(" ", "-")
    lines = [f"FROM {image}", "COPY swarm_server.py /server.py", f"CMD {COMMANDS[case[1]]}"]
    docker.image(name, "\n".join(lines), context=SERVER.parent)
    sockets = docker.directory / f"sockets-{name}"
    sockets.mkdir()
    with Events(docker, name) as events:
        try:
            create(docker, name, sockets)
            clients = Clients(sockets)
            try:
                docker("service", "update", "--quiet", "--env-add=VERSION=2", name)
                docker("service", "scale", f"{name}={AFTER_SCALE_DOWN}")
                until(lambda: len(tasks(docker, name)) == AFTER_SCALE_DOWN, f"{name} is scaled down")
            finally:
                clients.end()
        finally:
            docker("service", "rm", name, check=False)
        until(lambda: not tasks(docker, name), f"{name} is gone")
        until(lambda: len(events.named("die")) >= 2 * REPLICAS, f"the end of every task of {name}")
    return Outcome(
        exit_codes=Counter(event["exitCode"] for event in events.named("die")),
        killed=len({event["name"] for event in events.named("kill") if event["signal"] == "9"}),
        answers=clients.answers,
        lost=len(clients.lost),
    )


def create(docker: Docker, name: str, sockets: Path) -> None:
    """Start the service and wait until every replica can be reached."""
    options = [f"--name={name}", f"--replicas={REPLICAS}", "--network=host", "--no-resolve-image", "--quiet"]
    options += [f"--stop-grace-period={GRACE}s", f"--mount=type=bind,src={sockets},dst=/sockets"]
    options += ["--env=SLOT={{.Task.Slot}}", "--env=VERSION=1", "--restart-condition=none"]
    options += ["--update-parallelism=2", "--update-order=stop-first", "--update-monitor=1s", "--update-delay=0s"]
    docker("service", "create", *options, name)
    expected = {str(slot) for slot in range(1, REPLICAS + 1)}
    until(lambda: {path.name for path in sockets.iterdir()} == expected, f"all replicas of {name} listen")


def tasks(docker: Docker, name: str) -> list[str]:
    """The running containers of a service."""
    return docker("ps", "--quiet", f"--filter=label=com.docker.swarm.service.name={name}").split()


@pytest.mark.parametrize("form", COMMANDS)
def test_behind_pyinit_every_task_ends_by_itself(outcomes: dict[tuple[str, str], Outcome], form: str) -> None:
    outcome = outcomes["pyinit", form]
    # The shell in front of the server ends by the SIGTERM; pyinit waits for the server behind it.
    own_status = "143" if form == "shell form" else "0"
    assert outcome.exit_codes == {own_status: 2 * REPLICAS}
    assert outcome.killed == 0


@pytest.mark.parametrize("form", COMMANDS)
def test_behind_pyinit_no_request_is_lost(outcomes: dict[tuple[str, str], Outcome], form: str) -> None:
    outcome = outcomes["pyinit", form]
    assert outcome.lost == 0
    assert set(outcome.answers) == {"1", "2"}


def test_without_pyinit_a_shell_form_has_every_task_killed(outcomes: dict[tuple[str, str], Outcome]) -> None:
    outcome = outcomes["none", "shell form"]
    assert outcome.exit_codes == {"137": 2 * REPLICAS}
    assert outcome.killed == 2 * REPLICAS
