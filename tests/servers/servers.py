"""Real servers, each with something that a stop can lose: how it is started, when it is ready, and what it has kept.

Used by the tests beside this file and by tools.stops, which makes the README's table. Everything of a server lies in a
directory of its own, its socket too, so that any number of them can run at once.
"""

import os
import pwd
import shutil
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from tests.harness import PYTHON, need, wait_until
from tests.programs import build_directory, saver

OUTPUT = "out"  # the file in its directory that has what it prints
SAVING = 0.2  # seconds that the first three need for saving
WORK = 1.0  # seconds that a request or a task takes
TEMPLATE = threading.Lock()


class Server(ABC):
    """A server in `directory`. `needs` are the programs that it takes.

    It makes the file `begun` when a stop could lose something, and `done` when nothing has been lost.
    """

    needs: tuple[str, ...] = ()
    done = "done"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    @abstractmethod
    def words(self) -> list[str]:
        """The command that starts it, and what that needs in the directory."""

    def begin(self) -> None:
        """Wait until it is ready, and give it what a stop could lose."""
        wait_until((self.directory / "begun").exists, "begun")

    def stopping(self) -> None:
        """Be told of the stop, as a client of it; most of them do nothing about it."""
        return

    def kept(self) -> bool:
        """Whether nothing was lost; it has ended."""
        return (self.directory / self.done).exists()


class Careful(Server):
    """Saves on the first SIGTERM and dies of a second, as Go's signal.NotifyContext followed by stop() does."""

    done, way = "saved", "dies"

    @property
    def words(self) -> list[str]:
        return saver(self.directory / self.done, SAVING, self.way)

    def begin(self) -> None:
        """It says up. Then the end of its pipeline runs too, and is no longer a shell that is about to become that."""
        wait_until(lambda: b"up\n" in (self.directory / OUTPUT).read_bytes(), "up")


class Python(Careful):
    """The same with a handler that restores SIG_DFL."""

    way = "handles"


class Tolerant(Careful):
    """Saves for longer, and does not mind a second signal, as most servers do."""

    way, saving = "ignores", 1.0

    @property
    def words(self) -> list[str]:
        return saver(self.directory / self.done, self.saving, self.way)


class Interrupted(Server):
    """Saves on KeyboardInterrupt, as a Python program does that people end by Ctrl-C."""

    @property
    def words(self) -> list[str]:
        (self.directory / "script.py").write_text(
            "import time\n"
            "try:\n"
            "    open('begun', 'w').close()\n"
            "    while True: time.sleep(0.05)\n"
            "except KeyboardInterrupt:\n"
            f"    time.sleep({SAVING})\n"
            "    open('done', 'w').close()\n"
        )
        return [PYTHON, "script.py"]


class Node(Server):
    """The same in node: process.once."""

    needs = ("node",)

    @property
    def words(self) -> list[str]:
        (self.directory / "server.js").write_text(
            "const fs = require('fs')\n"
            "const save = () => { fs.writeFileSync('done', ''); process.exit() }\n"
            f"process.once('SIGTERM', () => setTimeout(save, {SAVING * 1000}))\n"
            "fs.writeFileSync('begun', '')\n"
            "setInterval(() => {}, 1000)\n"
        )
        return ["node", "server.js"]


class Redis(Server):
    """A value that is in memory only."""

    needs = ("redis-server",)

    @property
    def words(self) -> list[str]:
        options = ["--port", "0", "--unixsocket", "redis.sock", "--save", "3600", "1", "--dir", str(self.directory)]
        return ["redis-server", *options]

    def begin(self) -> None:
        with connected(self.directory / "redis.sock") as client:
            client.sendall(b"SET key the-value\r\n")
            assert client.recv(16) == b"+OK\r\n"

    def kept(self) -> bool:
        dump = self.directory / "dump.rdb"
        return dump.exists() and b"the-value" in dump.read_bytes()


class Request:
    """A slow request over a Unix socket, from a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.answer = b""
        self.client = connected(path)
        self.client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self) -> None:
        try:
            while chunk := self.client.recv(65536):
                self.answer += chunk
        except ConnectionError:
            pass
        finally:
            self.client.close()  # gunicorn waits for that

    def answered(self, end: bytes) -> bool:
        """Whether it was answered, to the last byte."""
        self.thread.join()
        return self.answer.endswith(end)


class Gunicorn(Server):
    """A request in flight."""

    END = b"the end of the answer"
    log = "log"

    @property
    def words(self) -> list[str]:
        (self.directory / "app.py").write_text(
            "import os, time\n"
            "open(f'ready-{os.getpid()}', 'w').close()\n"
            "def app(environ, start_response):\n"
            f"    start_response('200 OK', [('Content-Length', '{len(self.END)}')])\n"
            "    if environ['PATH_INFO'] == '/slow':\n"
            "        open('begun', 'w').close()\n"
            f"        time.sleep({WORK})\n"
            f"    return [{self.END!r}]\n"
        )
        options = ["--bind", "unix:gunicorn.sock", "--chdir", str(self.directory), "--workers", "2"]
        options += ["--log-file", str(self.directory / self.log), "--no-control-socket"]
        return [PYTHON, "-m", "gunicorn", *options, "app:app"]

    def begin(self) -> None:
        """A worker loads the application when its handlers are there: a SIGTERM before is lost to it."""
        wait_until(lambda: len(list(self.directory.glob("ready-*"))) == 2, "both workers")
        self.request = Request(self.directory / "gunicorn.sock")
        super().begin()

    def kept(self) -> bool:
        return self.request.answered(self.END)

    def has_logged(self, words: str) -> bool:
        return words in (self.directory / self.log).read_text()

    def workers(self) -> int:
        """How many have been started so far."""
        return (self.directory / self.log).read_text().count("Booting worker")


class Nginx(Server):
    """A download in flight."""

    needs = ("nginx",)
    SIZE = 50_000

    @property
    def words(self) -> list[str]:
        (self.directory / "slow").write_bytes(b"x" * (self.SIZE - 1) + b"!")
        user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {self.directory}/{kind};" for kind in kinds)
        (self.directory / "nginx.conf").write_text(
            f"{user} daemon off; pid {self.directory}/pid; error_log {self.directory}/log notice; worker_processes 2;\n"
            f"events {{}}\nhttp {{ access_log off; {places}\n"
            f"server {{ listen unix:{self.directory}/nginx.sock; root {self.directory};\n"
            f"limit_rate {int(self.SIZE / WORK)}; limit_rate_after 1; }} }}\n"
        )
        return ["nginx", "-c", str(self.directory / "nginx.conf"), "-e", str(self.directory / "log")]

    def begin(self) -> None:
        self.request = Request(self.directory / "nginx.sock")
        wait_until(lambda: self.request.answer, "the download")

    def kept(self) -> bool:
        return self.request.answered(b"!")


class Celery(Server):
    """A task that runs."""

    @property
    def words(self) -> list[str]:
        for folder in ("queue", "control"):
            (self.directory / folder).mkdir()
        (self.directory / "tasks.py").write_text(
            "import time\n"
            "from celery import Celery\n"
            "app = Celery('tasks', broker='filesystem://')\n"
            "app.conf.broker_transport_options = dict("
            "data_folder_in='queue', data_folder_out='queue', control_folder='control', polling_interval=0.05)\n"
            "app.conf.worker_hijack_root_logger = False\n"
            "@app.task\n"
            "def work():\n"
            "    open('begun', 'w').close()\n"
            f"    time.sleep({WORK})\n"
            "    open('done', 'w').close()\n"
        )
        # Queued before the worker runs: it may find a message in a file that has not been written yet, and lose it.
        subprocess.run([PYTHON, "-c", "import tasks; tasks.work.delay()"], cwd=self.directory, check=True)
        options = ["--concurrency", "1", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        return [PYTHON, "-m", "celery", "--workdir", str(self.directory), "--app", "tasks", "worker", *options]


class Postgres(Server):
    """A session with a transaction that has not been committed; run as another user, because it refuses root."""

    needs = ("setpriv",)
    USER = 65534

    @property
    def words(self) -> list[str]:
        data = self.directory / "data"
        shutil.copytree(template(), data)
        subprocess.run(["chown", "-R", str(self.USER), self.directory], check=True)
        options = ["-D", str(data), "-k", str(self.directory), "-c", "listen_addresses=", "-c", "shared_buffers=1MB"]
        return [*as_user(self.USER), str(postgres("postgres")), *options]

    def begin(self) -> None:
        ready = [str(postgres("pg_isready")), "--quiet", "--host", str(self.directory)]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL")
        self.session = subprocess.Popen(
            [postgres("psql"), "-h", self.directory, "-U", "postgres", "-qAt", "-v", "ON_ERROR_STOP=1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.session.stdin
        assert self.session.stdout
        print("BEGIN; CREATE TABLE kept (x int); SELECT 1;", file=self.session.stdin, flush=True)
        assert self.session.stdout.readline() == "1\n"

    def stopping(self) -> None:
        """Commit, and end the session."""
        self.said = self.session.communicate("COMMIT; SELECT 'committed';\n")[0]

    def kept(self) -> bool:
        """Whether the transaction was committed, and the server shut down cleanly."""
        return "committed" in self.said and self.is_clean()

    def is_clean(self) -> bool:
        """Whether there is nothing to recover at the next start."""
        words = [postgres("pg_controldata"), self.directory / "data"]
        state = subprocess.run(words, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
        return "Database cluster state:               shut down\n" in state.stdout


def postgres(program: str) -> Path:
    """Where Debian has PostgreSQL's programs; elsewhere they are in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    if not found:
        need(program)
    return found[-1] if found else Path(shutil.which(program) or "")


def template() -> Path:
    """A data directory as initdb makes it, once a session."""
    directory = build_directory() / "postgres"
    with TEMPLATE:
        if directory.exists():
            return directory
        directory.mkdir()
        os.chown(directory, Postgres.USER, -1)
        words = [str(postgres("initdb")), "-D", str(directory), "-A", "trust", "-U", "postgres", "-N"]
        subprocess.run([*as_user(Postgres.USER), *words], check=True, capture_output=True, cwd="/")
    return directory


def as_user(uid: int) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


def connected(path: Path) -> socket.socket:
    """A connection to the Unix socket `path`, as soon as somebody listens there."""

    def attempt() -> socket.socket | None:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(str(path))
        except OSError:
            client.close()
            return None
        return client

    return wait_until(attempt, f"somebody listening on {path}")  # type: ignore[return-value]


def needs(servers: Sequence[type[Server]]) -> list[str]:
    """The programs that they take, all together."""
    return sorted({program for server in servers for program in server.needs})
