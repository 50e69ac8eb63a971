"""Real servers behind a shell keep what they have when they are stopped. `make test-all` tries more of everything."""

import signal

import pytest

from tests.harness import Mode, need
from tests.servers.servers import Celery, Gunicorn, Redis, Server
from tests.servers.stop import behind_pyinit, stop


@pytest.mark.parametrize("kind", [Redis, Gunicorn, Celery])
def test_a_server_behind_a_shell_keeps_what_it_has(mode: Mode, kind: type[Server]) -> None:
    need(*kind.needs)
    outcome = stop(kind, behind_pyinit(mode, shell="dash", form="{}; true"))
    assert outcome.kept
    assert outcome.status in (0, 128 + signal.SIGTERM)
