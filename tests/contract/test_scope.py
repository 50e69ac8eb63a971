"""--scope says whom a signal is forwarded to."""

import signal

import pytest

from tests.harness import Mode, Started, started, wait_until
from tests.programs import recorder

pytestmark = pytest.mark.itself

# Three reporters: the main child; one in its process group; one in a session of its own.
FAMILY = '"$@" & setsid "$@" & exec "$@"'


def got(run: Started, count: int) -> list[bytes]:
    """The next lines, sorted."""
    return sorted(run.line() for _ in range(count))


def family(*options: str) -> list[str]:
    return [*options, "sh", "-c", FAMILY, "sh", *recorder()]


@pytest.mark.parametrize(("scope", "receivers"), [("child", 1), ("group", 2), ("all", 3)])
def test_each_process_in_the_scope_gets_each_signal_once_and_no_other_does(
    mode: Mode, scope: str, receivers: int
) -> None:
    with started(*family("--scope", scope), mode=mode) as run:
        assert got(run, 3) == [b"up\n"] * 3
        for name in ("SIGUSR1", "SIGHUP", "SIGWINCH"):
            run.send(getattr(signal, name))
            assert got(run, receivers) == [f"got {name}\n".encode()] * receivers
            run.send(signal.SIGRTMIN)
            assert got(run, receivers) == [b"got SIGRTMIN\n"] * receivers
        run.send(signal.SIGTERM)
        assert run.wait() == 0
        assert run.alive() == []


def test_scope_all_reaches_what_was_started_since(mode: Mode) -> None:
    script = 'for _ in 1 2 3 4 5; do setsid sh -c "setsid \\"\\$@\\" & wait" sh "$@" & done; exec "$@"'
    with started("--scope", "all", "sh", "-c", script, "sh", *recorder(), mode=mode) as run:
        assert got(run, 6) == [b"up\n"] * 6
        run.send(signal.SIGWINCH)
        assert got(run, 6) == [b"got SIGWINCH\n"] * 6


def test_scope_all_ends_what_has_left_the_group_by_one_sigterm(mode: Mode) -> None:
    script = "setsid sleep 1000 & setsid sleep 1000 & echo ready; wait"
    with started("-t", "1000", "--scope", "all", "sh", "-c", script, mode=mode) as run:
        assert run.line() == b"ready\n"
        wait_until(lambda: len(run.alive()) >= 4, "the sleeps")
        run.send(signal.SIGTERM)
        assert run.wait() == 128 + signal.SIGTERM
        assert run.alive() == []
