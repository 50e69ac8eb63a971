"""How long the end of a stop may take, with a grace that is short by default; all places have their turn at once.

tests/unit looks at the times themselves, with a clock that it makes.
"""

import functools
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.copies import copy_installation
from tests.harness import DEAF, MODES, Mode, Started, need_root, started, wait_until
from tests.programs import build_directory, saver

GRACE = 0.6  # seconds: the default of --grace, for the pyinit here
LONG = GRACE + 1.4  # seconds: after two looks, which come a second apart


@pytest.fixture(scope="module", autouse=True)
def made() -> None:
    """Before threads ask for it."""
    hasty_pyinit()


@functools.cache
def hasty_pyinit() -> str:
    """The path of a copy of the pyinit under test whose default of --grace is GRACE, so that nobody waits for 5 s."""
    home = build_directory() / "hasty"
    copy_installation(home)
    (base,) = home.rglob("pyinit/base/__init__.py")
    text = base.read_text()
    assert text.count("\nGRACE = 5.0 ") == 1
    base.write_text(text.replace("\nGRACE = 5.0 ", f"\nGRACE = {GRACE} "))
    return str(home / "bin/pyinit")


def hasty(place: Mode, *words: str, **popen: Any) -> AbstractContextManager[Started]:
    """Start it there."""
    return started(*words, init=[hasty_pyinit()], mode=place, **popen)


def everywhere(check: Callable[[Mode], None]) -> None:
    """Run a check that takes seconds in all places at once."""
    need_root()
    with ThreadPoolExecutor(len(MODES)) as pool:
        list(pool.map(check, MODES))


def test_a_server_behind_a_shell_has_all_the_time_that_it_needs(tmp_path: Path) -> None:
    def check(place: Mode) -> None:
        file = tmp_path / place
        with hasty(place, "sh", "-c", '"$@"; true', "sh", *saver(file, LONG)) as run:
            run.up()
            run.send(signal.SIGTERM)
            run.wait()
            assert file.read_text() == "SIGTERM"

    everywhere(check)


def test_a_drain_that_nobody_asked_for_is_bounded_by_the_grace(tmp_path: Path) -> None:
    def check(place: Mode) -> None:
        file = tmp_path / place
        script = '"$@" & read _; exit 7'
        words = saver(file, 1000)
        with hasty(place, "sh", "-c", script, "sh", *words, stdin=subprocess.PIPE) as run:
            run.up()
            began = time.monotonic()
            run.release()
            assert run.wait() == 7
            assert time.monotonic() - began >= GRACE
            assert run.alive() == []

    everywhere(check)


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "unasked"])
def test_who_ignores_the_signal_does_not_hold_up_the_end_beyond_the_grace(asked: bool) -> None:
    def check(place: Mode) -> None:
        with hasty(place, "sh", "-c", f"({DEAF}) & read _; exit 7", stdin=subprocess.PIPE) as run:
            run.up()
            began = time.monotonic()
            run.send(signal.SIGTERM) if asked else run.release()
            assert run.wait() == (143 if asked else 7)
            assert time.monotonic() - began >= GRACE
            assert run.alive() == []

    everywhere(check)


def test_the_init_of_a_nested_namespace_drops_the_signal_and_does_not_hold_up_the_end_either() -> None:
    def check(place: Mode) -> None:
        nested = "unshare --pid --fork --mount-proc sh -c 'echo up; sleep 1000; true'"
        need_root()
        with hasty(place, "sh", "-c", f"{nested} & wait") as run:
            run.up()
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert run.alive() == []

    everywhere(check)


def test_who_begins_to_ignore_the_signal_because_of_it_is_not_deaf(tmp_path: Path) -> None:
    """A handler that keeps itself from being disturbed."""
    file = tmp_path / "saved"
    with hasty("subreaper", "sh", "-c", '"$@"; true', "sh", *saver(file, LONG, "ignores")) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert file.read_text() == "SIGTERM"


def test_a_first_stop_signal_in_a_drain_that_began_by_itself_lifts_its_bound(tmp_path: Path) -> None:
    """A preStop hook ends the command; then the kubelet sends SIGTERM."""

    def check(place: Mode) -> None:
        file = tmp_path / place
        words = saver(file, LONG)
        with hasty(place, "sh", "-c", '"$@" & read _; exit 7', "sh", *words, stdin=-1, phases=True) as run:
            run.up()
            run.release()
            run.enters("draining")
            run.send(signal.SIGTERM)
            assert run.wait() == 7
            assert file.read_text() == "SIGTERM"

    everywhere(check)


def test_a_reader_behind_a_deaf_writer_is_told_at_once(tmp_path: Path) -> None:
    def check(place: Mode) -> None:
        file = tmp_path / place
        script = f'({DEAF}) | (read line; "$@"); true'
        with started("sh", "-c", script, "sh", *saver(file, 0.1), mode=place) as run:
            run.up()
            run.send(signal.SIGTERM)
            wait_until(lambda: file.exists() and file.read_text() == "SIGTERM", "it to be told")
            assert run.process.poll() is None, "it was told when the grace of the deaf one was over"
            run.send(signal.SIGTERM)
            assert run.wait() == 143

    everywhere(check)


def test_who_takes_the_signal_late_has_all_its_time(tmp_path: Path) -> None:
    """A server that blocks SIGTERM while it works, beyond the grace, and saves then."""

    def check(place: Mode) -> None:
        file = tmp_path / place
        with hasty(place, "sh", "-c", '"$@"; true', "sh", *saver(file, 0.3, "blocks", LONG)) as run:
            run.up()
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert file.read_text() == "SIGTERM"

    everywhere(check)


def test_who_was_made_to_ignore_the_signal_and_waits_for_it_has_all_its_time(tmp_path: Path) -> None:
    """It restores the default. While a process is in sigtimedwait(2), /proc does not show the signal as blocked."""

    def check(place: Mode) -> None:
        file = tmp_path / place
        words = ["sh", "-c", '(trap "" TERM; exec "$@"); true', "sh", *saver(file, LONG)]
        with hasty(place, *words) as run:
            run.up()
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert file.read_text() == "SIGTERM"

    everywhere(check)


def test_who_is_stopped_by_the_terminal_meanwhile_does_not_hold_up_the_end() -> None:
    """SIGTTOU, because it restores the terminal from the background."""
    # Again and again: the SIGCONT that follows the stop signal may come after the first time.
    stops = 'while :; do kill -STOP $(exec sh -c "echo \\$PPID"); done'
    script = f"(trap '{stops}' TERM; echo up; while :; do sleep 0.1; done) & wait"

    def check(place: Mode) -> None:
        with hasty(place, "sh", "-c", script) as run:
            run.up()
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert run.alive() == []

    everywhere(check)
