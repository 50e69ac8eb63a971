"""Real programs that launch themselves, each with something that a stop can lose, and with the two lines in its place.

Used by the tests beside this file, where they are PID 1 of a namespace, and by tests/engines, where they are the CMD of
a container. Everything that a program names is in its working directory.
"""

from tests.harness import PYTHON, wait_until
from tests.programs import SAVER
from tests.servers.servers import SAVING, WORK, Careful, Celery, Gunicorn, Request, Server

LAUNCH = "import pyinit\npyinit.launch()\n"
ORPHANS = 200


class Program(Server):
    """A server with its exit status after SIGTERM."""

    status = 0


class Script(Careful, Program):
    """A plain script that saves when it is told to stop."""

    @property
    def words(self) -> list[str]:
        (self.directory / "script.py").write_text(LAUNCH + SAVER)
        return [PYTHON, "script.py", "saved", str(SAVING), "handles"]


class ConfiguredGunicorn(Gunicorn, Program):
    """gunicorn, by the file of settings that it reads from its working directory."""

    log = "out"  # what it prints

    @property
    def words(self) -> list[str]:
        assert super().words  # writes the application
        (self.directory / "gunicorn.conf.py").write_text(f"{LAUNCH}bind = 'unix:gunicorn.sock'\nworkers = 2\n")
        return [PYTHON, "-m", "gunicorn", "--no-control-socket", "app:app"]


class Uvicorn(Program):
    """uvicorn with a request in flight, and two workers that are spawned, which import the program once more."""

    END = b"the end of the answer"

    @property
    def words(self) -> list[str]:
        (self.directory / "app.py").write_text(
            "import asyncio, os\n"
            "async def app(scope, receive, send):\n"
            "    if scope['type'] == 'lifespan':\n"
            "        await receive()\n"
            "        open(f'ready-{os.getpid()}', 'w').close()\n"
            "        await send({'type': 'lifespan.startup.complete'})\n"
            "        await receive()\n"
            "        return await send({'type': 'lifespan.shutdown.complete'})\n"
            "    open('begun', 'w').close()\n"
            f"    await asyncio.sleep({WORK})\n"
            "    await send({'type': 'http.response.start', 'status': 200})\n"
            f"    await send({{'type': 'http.response.body', 'body': {self.END!r}}})\n"
        )
        (self.directory / "serve.py").write_text(
            f"{LAUNCH}import uvicorn\n"
            "if __name__ == '__main__':\n"
            "    uvicorn.run('app:app', uds='uvicorn.sock', workers=2)\n"
        )
        return [PYTHON, "serve.py"]

    def begin(self) -> None:
        wait_until(lambda: len(list(self.directory.glob("ready-*"))) == 2, "both workers")
        self.request = Request(self.directory / "uvicorn.sock")
        super().begin()

    def kept(self) -> bool:
        return self.request.answered(self.END + b"\r\n0\r\n\r\n")  # in chunks


class CeleryWorker(Celery, Program):
    """Celery's worker, started by a script."""

    @property
    def words(self) -> list[str]:
        assert super().words  # writes the tasks, and queues one
        options = ["worker", "--concurrency=1", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        (self.directory / "worker.py").write_text(f"{LAUNCH}from tasks import app\napp.worker_main({options})\n")
        return [PYTHON, "worker.py"]


class DjangoCommand(Program):
    """A management command of Django that finishes what it works at."""

    @property
    def words(self) -> list[str]:
        commands = self.directory / "jobs/management/commands"
        commands.mkdir(parents=True)
        (self.directory / "settings.py").write_text("SECRET_KEY = 'x'\nINSTALLED_APPS = ['jobs']\n")
        (commands / "work.py").write_text(
            "import signal, time\n"
            "from django.core.management.base import BaseCommand\n"
            "class Command(BaseCommand):\n"
            "    def handle(self, **options):\n"
            "        told = []\n"
            "        signal.signal(signal.SIGTERM, lambda *_: told.append(1))\n"
            "        while not told:\n"
            "            open('begun', 'w').close()\n"
            f"            time.sleep({WORK})\n"
            "        open('done', 'w').close()\n"
        )
        (self.directory / "manage.py").write_text(
            f"{LAUNCH}import os, sys\n"
            "from django.core.management import execute_from_command_line\n"
            "if __name__ == '__main__':\n"
            "    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')\n"
            "    execute_from_command_line(sys.argv)\n"
        )
        return [PYTHON, "manage.py", "work"]


class Multiprocessing(Program):
    """Workers that die and leave orphans behind, and a pool of spawned ones that import the program once more."""

    status = 4

    @property
    def words(self) -> list[str]:
        (self.directory / "many.py").write_text(
            f"{LAUNCH}"
            "import multiprocessing, os, signal, sys, time\n"
            "def orphan(parent):\n"
            "    while os.getppid() == parent: time.sleep(0.01)\n"
            "    os.write(os.open('ended', os.O_WRONLY | os.O_APPEND | os.O_CREAT), b'.')\n"
            "    os._exit(0)\n"
            "def die():\n"
            "    own = os.getpid()\n"
            f"    for _ in range({ORPHANS // 4}):\n"
            "        if os.fork() == 0: orphan(own)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "def work(seconds):\n"
            "    open('begun', 'w').close()\n"
            "    time.sleep(seconds)\n"
            "    return seconds\n"
            "def stop(*_):\n"
            f"    if results.get() == [{WORK}] * 2: open('done', 'w').close()\n"
            f"    sys.exit({self.status})\n"
            "if __name__ == '__main__':\n"
            "    dying = [multiprocessing.get_context('fork').Process(target=die) for _ in range(4)]\n"
            "    for process in dying: process.start()\n"
            "    for process in dying: process.join()\n"
            "    pool = multiprocessing.get_context('spawn').Pool(2)\n"
            "    signal.signal(signal.SIGTERM, stop)\n"
            f"    results = pool.map_async(work, [{WORK}] * 2)\n"
            "    while True: time.sleep(0.05)\n"
        )
        return [PYTHON, "many.py"]

    def begin(self) -> None:
        ended = self.directory / "ended"
        wait_until(lambda: ended.exists() and ended.stat().st_size == ORPHANS, "the orphans' end")
        super().begin()


PROGRAMS = (Script, ConfiguredGunicorn, Uvicorn, CeleryWorker, DjangoCommand, Multiprocessing)
