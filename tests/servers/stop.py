"""One stop of a real server: behind an init, in the exec form or behind a shell, signalled, and looked at afterwards.

Used by the tests beside this file and by tools.stops. Stops are independent of each other, so that many run at once.
"""

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.harness import PYINIT, Mode, Started, all_pids, started, wait_until
from tests.servers.servers import Server

SHELLS = {"dash": ["dash", "-c"], "bash": ["bash", "-c"], "busybox": ["busybox", "sh", "-c"]}
FORMS = ("{}", "{}; true", "cd . && {}", "{} & wait", "{} | cat", "({}; true); true")
PIPELINES = ("{} | cat", "exec > >(cat) 2>&1; {}; true", "exec > >(cat) 2>&1; exec {}")  # in bash
AT_ONCE = 8


class Way(NamedTuple):
    """How a server is started: the words of the init, where that runs, and the shell and what it is told to do."""

    init: tuple[str, ...]
    mode: Mode
    shell: str = ""  # none: the exec form
    form: str = "{}"

    def words(self, server: Server) -> list[str]:
        """The command behind the init."""
        return [*SHELLS[self.shell], self.form.format(shlex.join(server.words))] if self.shell else server.words


class Outcome(NamedTuple):
    """What a stop has led to; `kept` is whether the server lost nothing, and was not left to the SIGKILL either."""

    kept: bool
    status: int
    printed: str


def behind_pyinit(place: Mode, *options: str, shell: str = "", form: str = "{}") -> Way:
    """The way behind pyinit in one of its places."""
    launcher = ["--pid-namespace"] if place == "launcher" else []
    return Way((str(PYINIT), *launcher, *options, "--"), "pid1" if place == "pid1" else "subreaper", shell, form)


@contextmanager
def running(kind: type[Server], way: Way) -> Iterator[tuple[Started, Server]]:
    """A server that is ready, in a directory that is gone afterwards; what it prints is in its file `out`."""
    with tempfile.TemporaryDirectory(prefix="pyinit-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        server = kind(directory)
        with (
            open(directory / "out", "wb") as out,
            started(
                *way.words(server),
                init=list(way.init),
                mode=way.mode,
                cwd=directory,
                stdout=out,
                stderr=subprocess.STDOUT,
            ) as run,
        ):
            try:
                server.begin()
                yield run, server
            finally:
                wait_until(lambda: kill_those_in(directory), "the end of the server")


def kill_those_in(directory: Path) -> bool:
    """SIGKILL for all that work in `directory`; whether nobody did. nginx overwrites what `started` looks for."""
    found = [pid for pid in all_pids() if works_in(pid, directory)]
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not found


def works_in(pid: int, directory: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(directory)
    except OSError:
        return False


def stop(kind: type[Server], way: Way, signum: int = signal.SIGTERM, patience: float | None = None) -> Outcome:
    """Start it, send `signum` to the init, and wait; after `patience` seconds the init is killed, as engines do."""
    with running(kind, way) as (run, server):
        run.send(signum)
        server.stopping()
        try:
            status = run.process.wait(patience or 60)
        except subprocess.TimeoutExpired:
            if patience is None:
                raise
            run.send(signal.SIGKILL)
            run.process.wait()
            status = -signal.SIGKILL
        kept = server.kept() and status != -signal.SIGKILL
        return Outcome(kept, status if status >= 0 else 128 - status, (server.directory / "out").read_text())


def stops(
    kind: type[Server], ways: Sequence[Way], signum: int = signal.SIGTERM, patience: float | None = None
) -> list[Outcome]:
    """stop() for each of the ways, many at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda way: stop(kind, way, signum, patience), ways))
