"""How long the end of a stop may take, with a grace that is short by default; all places have their turn at once.

tests/unit looks at the times themselves, with a clock that it makes.
"""

import signal
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import BASE_PYTHON, Started, need_root, wait_until
from tests.stopping import DEAF, GRACE, Place, everywhere, hasty_pyinit, in_drain, recorder, stopping, up

LONG = GRACE + 1.4  # seconds: after two looks, which come a second apart


@pytest.fixture(scope="module", autouse=True)
def made() -> None:
    """Before threads ask for it."""
    hasty_pyinit()


def hasty(place: Place, *words: str, **popen: Any) -> AbstractContextManager[Started]:
    """As stopping(), with the short grace."""
    return stopping(place, *words, pyinit=hasty_pyinit(), **popen)


def test_a_server_behind_a_shell_has_all_the_time_that_it_needs(tmp_path: Path) -> None:
    def check(place: Place) -> None:
        file = tmp_path / place
        with hasty(place, "sh", "-c", '"$@"; true', "sh", *recorder(file, LONG)) as run:
            up(run)
            run.send(signal.SIGTERM)
            run.wait()
            assert file.read_text() == "SIGTERM"

    everywhere(check)


def test_a_drain_that_nobody_asked_for_is_bounded_by_the_grace(tmp_path: Path) -> None:
    def check(place: Place) -> None:
        file = tmp_path / place
        script = '"$@" & read _; exit 7'
        words = recorder(file, 1000)
        with hasty(place, "sh", "-c", script, "sh", *words, stdin=subprocess.PIPE) as run:
            up(run)
            began = time.monotonic()
            run.release()
            assert run.wait() == 7
            assert time.monotonic() - began >= GRACE
            assert run.alive() == []

    everywhere(check)


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "unasked"])
def test_who_ignores_the_signal_does_not_hold_up_the_end_beyond_the_grace(asked: bool) -> None:
    def check(place: Place) -> None:
        with hasty(place, "sh", "-c", f"({DEAF}) & read _; exit 7", stdin=subprocess.PIPE) as run:
            up(run)
            began = time.monotonic()
            run.send(signal.SIGTERM) if asked else run.release()
            assert run.wait() == (143 if asked else 7)
            assert time.monotonic() - began >= GRACE
            assert run.alive() == []

    everywhere(check)


def test_the_init_of_a_nested_namespace_drops_the_signal_and_does_not_hold_up_the_end_either() -> None:
    def check(place: Place) -> None:
        nested = "unshare --pid --fork --mount-proc sh -c 'echo up; sleep 1000; true'"
        need_root()
        with hasty(place, "sh", "-c", f"{nested} & wait") as run:
            up(run)
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert run.alive() == []

    everywhere(check)


def test_who_begins_to_ignore_the_signal_because_of_it_is_not_deaf(tmp_path: Path) -> None:
    """A handler that keeps itself from being disturbed."""
    file = tmp_path / "saved"
    saver = (
        "import signal, sys, time\n"
        "def told(*_):\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"    time.sleep({LONG})\n"
        "    open(sys.argv[1], 'w').write('saved')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, told)\n"
        "print('up', flush=True)\n"
        "while True: time.sleep(0.05)"
    )
    with hasty("subreaper", "sh", "-c", '"$@"; true', "sh", BASE_PYTHON, "-ISc", saver, str(file)) as run:
        up(run)
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert file.read_text() == "saved"


def test_a_first_stop_signal_in_a_drain_that_began_by_itself_lifts_its_bound(tmp_path: Path) -> None:
    """A preStop hook ends the command; then the kubelet sends SIGTERM."""

    def check(place: Place) -> None:
        file = tmp_path / place
        words = recorder(file, LONG)
        with hasty(place, "sh", "-c", '"$@" & read _; exit 7', "sh", *words, stdin=subprocess.PIPE) as run:
            up(run)
            run.release()
            in_drain(run, place)
            run.send(signal.SIGTERM)
            assert run.wait() == 7
            assert file.read_text() == "SIGTERM"

    everywhere(check)


def test_a_reader_behind_a_deaf_writer_is_told_at_once(tmp_path: Path) -> None:
    def check(place: Place) -> None:
        file = tmp_path / place
        script = f'({DEAF}) | (read line; "$@"); true'
        with stopping(place, "sh", "-c", script, "sh", *recorder(file, 0.1)) as run:
            up(run)
            run.send(signal.SIGTERM)
            wait_until(lambda: file.exists() and file.read_text() == "SIGTERM", "it to be told")
            assert run.process.poll() is None, "it was told when the grace of the deaf one was over"
            run.send(signal.SIGTERM)
            assert run.wait() == 143

    everywhere(check)


def test_who_takes_the_signal_late_has_all_its_time(tmp_path: Path) -> None:
    """A server that blocks SIGTERM while it works, beyond the grace, and saves then."""
    code = (
        "import os, signal, sys, time\n"
        "def told(*_):\n"
        "    time.sleep(0.3)\n"
        "    open(sys.argv[1], 'w').write('saved')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, told)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "print('up', flush=True)\n"
        f"time.sleep({LONG})\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})\n"
        "while True: time.sleep(0.05)"
    )

    def check(place: Place) -> None:
        file = tmp_path / place
        with hasty(place, "sh", "-c", '"$@"; true', "sh", BASE_PYTHON, "-ISc", code, str(file)) as run:
            up(run)
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert file.read_text() == "saved"

    everywhere(check)


def test_who_waits_for_a_signal_that_it_ignores_has_all_its_time(tmp_path: Path) -> None:
    """While a process is in sigtimedwait(2), /proc shows the signal as ignored, and not as blocked."""

    def check(place: Place) -> None:
        file = tmp_path / place
        words = ["sh", "-c", '(trap "" TERM; exec "$@"); true', "sh", *recorder(file, LONG)]
        with hasty(place, *words) as run:
            up(run)
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert file.read_text() == "SIGTERM"

    everywhere(check)


def test_who_is_stopped_by_the_terminal_meanwhile_does_not_hold_up_the_end() -> None:
    """SIGTTOU, because it restores the terminal from the background."""
    script = "(trap 'kill -STOP $(exec sh -c \"echo \\$PPID\")' TERM; echo up; while :; do sleep 0.1; done) & wait"

    def check(place: Place) -> None:
        with hasty(place, "sh", "-c", script) as run:
            up(run)
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert run.alive() == []

    everywhere(check)
