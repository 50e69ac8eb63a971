"""Every orphan is adopted and reaped, however many there are."""

import os
import re
import signal

import pytest

from tests.harness import PYINIT, Mode, Rounds, Started, children_of, proc, started, state_of, wait_until
from tests.programs import compiled

pytestmark = pytest.mark.itself

PRIVATE_DIRTY = re.compile(r"^Private_Dirty: +(\d+) kB$", re.MULTILINE)


def alone(run: Started) -> bool:
    """Whether pyinit has no child but the command, zombies included."""
    return children_of(run.pid) == [run.main_child()]


def memory(pid: int) -> int:
    """What a process has for itself alone, in kB."""
    found = PRIVATE_DIRTY.search(proc(pid, "smaps_rollup").decode())
    assert found
    return int(found[1])


def test_thousands_of_orphans_are_reaped_and_leave_no_memory(mode: Mode, rounds: Rounds) -> None:
    script = f"echo up; read -r _; exec {compiled('orphans')} {rounds(2000, 20_000)}"
    with started("sh", "-c", script, mode=mode, stdin=-1) as run:
        run.up()
        wait_until(lambda: state_of(run.pid) == "S")
        before = memory(run.pid)
        run.stdin.write(b"go\n")
        assert run.line() == b"done\n"
        wait_until(lambda: alone(run), "no zombie")
        assert memory(run.pid) - before <= 256
        run.send(signal.SIGTERM)
        assert run.wait() == 143


def test_orphans_of_orphans_are_reaped_at_any_depth(mode: Mode) -> None:
    nested = "sleep 0.05"
    for _ in range(8):
        nested = f"({nested} &)"
    with started("sh", "-c", f"{nested}; (setsid sh -c '{nested}' &); exec sleep 1000", mode=mode) as run:
        wait_until(lambda: alone(run), "no orphan, no zombie")


def test_an_orphan_that_is_killed_or_stopped_and_killed_is_reaped(mode: Mode) -> None:
    with started("sh", "-c", "(sh -c 'kill -STOP $$; true' &); exec sleep 1000", mode=mode) as run:
        main = run.main_child()
        orphan = wait_until(lambda: [pid for pid in children_of(run.pid) if pid != main and state_of(pid) == "T"])[0]
        os.kill(orphan, signal.SIGKILL)
        wait_until(lambda: alone(run))


def test_a_subreaper_adopts_what_was_started_in_a_session_of_its_own() -> None:
    with started("sh", "-c", "(setsid sleep 1000 &); exec sleep 1000") as run:
        wait_until(lambda: len(children_of(run.pid)) == 2, "the orphan is pyinit's child")


@pytest.mark.parametrize("options", [["-w"], ["--warn-on-reap"], ["-vv"], ["-v", "-v"], ["-w", "-s"]], ids=str)
def test_each_orphan_reaped_is_told(mode: Mode, options: list[str]) -> None:
    script = "(sh -c 'exit 3' &); (sh -c 'kill -9 $$' &); exec sleep 1000"
    with started(*options, "sh", "-c", script, mode=mode, stderr=-1) as run:
        wait_until(lambda: alone(run) or None)
        stderr = run.stderr
        assert stderr is not None
        told: set[str] = set()
        while len(told) < 2:
            line = stderr.readline().decode()
            if found := re.fullmatch(r"pyinit: reaped orphan PID \d+: (.*)\n", line):
                told.add(found[1])
        assert told == {"exit 3", "killed by SIGKILL"}


def test_the_main_childs_end_is_not_told_as_an_orphans(capfd: pytest.CaptureFixture[str], mode: Mode) -> None:
    with started("-w", "true", mode=mode) as run:
        assert run.wait() == 0
    assert capfd.readouterr().err == ""


def test_children_that_pyinit_was_started_with_are_reaped_too(mode: Mode) -> None:
    """`sleep 1 & exec pyinit …` in an entrypoint script: its children become pyinit's by the exec."""
    init = ["sh", "-c", 'sleep 0.05 & exec "$@"', "sh", str(PYINIT), "--"]
    with started("sleep", "1000", init=init, mode=mode) as run:
        wait_until(lambda: [b"1000" in proc(pid, "cmdline") for pid in children_of(run.pid)] == [True])
