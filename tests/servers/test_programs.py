"""Programs that launch themselves, as PID 1 of a namespace: nothing is lost by a stop, and no zombie is left."""

import signal

import pytest

from tests.harness import children_of, need_root, settled, state_of, wait_until
from tests.servers.programs import PROGRAMS, Program
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
