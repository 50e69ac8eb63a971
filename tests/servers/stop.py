"""One stop of a real server: behind an init, in the exec form or behind a shell, signalled, and looked at afterwards.

Used by the tests beside this file and by tools.stops. Stops are independent of each other, so that many run at once.
"""

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness import DEADLINE, PYINIT, Mode, Started, all_pids, link, started, wait_until
from tests.servers.servers import OUTPUT, Server

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
    return Way((str(PYINIT), *options), place, shell, form)


@contextmanager
def running(kind: type[Server], way: Way) -> Iterator[tuple[Started, Server]]:
    """A server that is ready, in a directory that is gone afterwards; what it prints is in its file `out`."""
    with tempfile.TemporaryDirectory(prefix="pyinit-") as name, open(Path(name, OUTPUT), "wb") as out:
        directory = Path(name)
        directory.chmod(0o755)
        server = kind(directory)
        popen: dict[str, Any] = {"cwd": directory, "stdout": out, "stderr": subprocess.STDOUT}
        with started(*way.words(server), init=list(way.init), mode=way.mode, **popen) as run:
            try:
                server.begin()
                yield run, server
            finally:
                wait_until(lambda: kill_those_in(directory), "the end of the server")


def kill_those_in(directory: Path) -> bool:
    """SIGKILL for all that work in `directory`; whether nobody did. nginx overwrites what `started` looks for."""
    found = [pid for pid in all_pids() if Path(link(pid, "cwd")).is_relative_to(directory)]
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not found


def stop(
    kind: type[Server],
    way: Way,
    signum: int = signal.SIGTERM,
    patience: float | None = None,
    then: tuple[float, int] | None = None,
) -> Outcome:
    """Start it, send `signum` to the init, and wait; after `patience` seconds the init is killed, as engines do.

    `then` are seconds and a second signal, which is sent after them, as a preStop hook and an engine do.
    """
    with running(kind, way) as (run, server):
        run.send(signum)
        if then is not None:
            time.sleep(then[0])  # it is no wait for anything, but what the hook does
            with suppress(ProcessLookupError):
                run.send(then[1])
        server.stopping()
        killed = False
        try:
            run.wait(patience or DEADLINE)
        except subprocess.TimeoutExpired:
            if patience is None:
                raise
            run.send(signal.SIGKILL)
            killed = True
        return Outcome(server.kept() and not killed, run.wait(), (server.directory / OUTPUT).read_text())


def stops(
    kind: type[Server],
    ways: Sequence[Way],
    signum: int = signal.SIGTERM,
    patience: float | None = None,
    then: tuple[float, int] | None = None,
) -> list[Outcome]:
    """stop() for each of the ways, many at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda way: stop(kind, way, signum, patience, then), ways))
