"""Programs that launch themselves, as PID 1 of a namespace: nothing is lost by a stop, and no zombie is left."""

import signal

import pytest

from tests.harness import children_of, name_of, need_root, settled, state_of, wait_until
from tests.servers.programs import PROGRAMS, ConfiguredGunicorn, Program
from tests.servers.servers import Request
from tests.servers.stop import Way, running


@pytest.mark.parametrize("kind", PROGRAMS, ids=lambda kind: str(kind.__name__))
def test_a_program_that_launches_itself_keeps_what_it_has(kind: type[Program]) -> None:
    need_root()
    with running(kind, Way(("env",), "pid1")) as (run, program):
        settled(run.pid)
        wait_until(lambda: "Z" not in [state_of(pid) for pid in children_of(run.pid)], "every zombie to be reaped")
        run.send(signal.SIGTERM)
        assert run.wait() == kind.status, (program.directory / "out").read_text()
        assert program.kept()
        assert run.alive() == []


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR2"])
def test_gunicorn_that_launches_itself_reloads_and_starts_a_new_master(name: str) -> None:
    """Both read the settings once more, which call launch(): there it does nothing."""
    need_root()
    with running(ConfiguredGunicorn, Way(("env",), "pid1")) as (run, server):
        assert isinstance(server, ConfiguredGunicorn)
        run.send(getattr(signal, name))
        wait_until(lambda: server.has_logged(f"Handling signal: {name[3:].lower()}"), "the signal")
        wait_until(lambda: server.workers() > 2, "new workers")
        assert server.kept()
        assert Request(server.directory / "gunicorn.sock").answered(server.END)
        assert [name_of(pid) for pid in run.alive()].count("pyinit") == 1
        run.send(signal.SIGTERM)
        assert run.wait() == 0
        assert run.alive() == []
