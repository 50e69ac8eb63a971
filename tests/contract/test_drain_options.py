"""The options that bound the drain, the signals that come during it, and what pyinit tells of it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.harness import (
    PYINIT,
    UNSHARE,
    Mode,
    Started,
    bound,
    children_of,
    has_taken_all,
    is_adviser,
    name_of,
    need,
    need_root,
    started,
    wait_until,
    waits_for_a_signal,
)
from tests.programs import compiled, recorder

# Leaves a process that ignores SIGTERM and holds stdout, says so, and ends with 7 when a line comes.
STUBBORN = 'trap "" TERM; sleep 1000 & trap - TERM; echo up; read line; exit 7'


@contextmanager
def draining(*words: str, mode: Mode) -> Iterator[Started]:
    """A pyinit whose main child has ended; what it left behind has reported that it is there."""
    with started(*words, mode=mode, stdin=subprocess.PIPE, phases=True) as run:
        run.up()
        run.release()
        run.enters("waiting" if "-a" in words else "draining")
        yield run


def behind(command: list[str]) -> list[str]:
    """A command that leaves `command` behind and ends with 7 when a line comes."""
    return ["sh", "-c", '"$@" & read line; exit 7', "sh", *command]


def has_acted(pyinit: int) -> bool:
    """Whether a pyinit, and then its adviser if it has one, has taken every signal, and waits for the next."""
    both = (pyinit, *filter(is_adviser, children_of(pyinit)))
    return all(has_taken_all(pid) and waits_for_a_signal(pid) for pid in both)


def test_what_ignores_sigterm_has_the_grace_and_no_more(mode: Mode) -> None:
    """Of those whose drains begin at the same time, each ends when its grace is over, and before the next one."""
    graces = ["0", bound(0.5), bound(3)]
    with ExitStack() as stack:
        words = ["sh", "-c", STUBBORN]
        runs = [stack.enter_context(started("-t", grace, *words, mode=mode, stdin=subprocess.PIPE)) for grace in graces]
        for run in runs:
            run.up()
        began = time.monotonic()
        for run in runs:
            run.release()
        for number, run in enumerate(runs, 1):
            assert run.wait() == 7
            assert time.monotonic() - began >= float(graces[number - 1])
            assert run.alive() == []
            assert [other.process.poll() for other in runs[number:]] == [None] * len(runs[number:])


# Sends pyinit real-time signals for ever, faster than it can forward them.
FLOOD = f"while :; do {{}} $PPID 1000000 {int(signal.SIGRTMIN)}; done 2>/dev/null"


@pytest.mark.parametrize(("option", "script"), [("-t", "({} &)"), ("-k", "kill -TERM $PPID; {}")])
def test_a_flood_of_signals_delays_no_deadline(mode: Mode, option: str, script: str) -> None:
    flood = script.format(FLOOD.format(compiled("sender")))
    with (
        started(option, "0.3", "sh", "-c", f"trap '' TERM {int(signal.SIGRTMIN)}; {flood}", mode=mode) as run,
    ):
        assert run.wait() == (0 if option == "-t" else 137)
        assert run.alive() == []


def test_no_grace_means_no_sigterm(mode: Mode) -> None:
    with started("-t", "0", *behind(recorder()), mode=mode, stdin=subprocess.PIPE) as run:
        run.up()
        run.release()
        assert run.wait() == 7
        assert run.output() == b""
        assert run.alive() == []


@pytest.mark.parametrize("before", [[], ["SIGTERM", "SIGTERM"], ["SIGQUIT", "SIGTERM"]], ids=str)
def test_the_second_sigint_in_a_drain_ends_the_grace(mode: Mode, before: list[str]) -> None:
    with draining("-t", "1000", "sh", "-c", STUBBORN, mode=mode) as run:
        left = run.alive()
        for name in [*before, "SIGINT"]:
            run.send(getattr(signal, name))
            wait_until(lambda: has_acted(run.pid), "it to be taken")
            assert run.alive() == left
        run.send(signal.SIGINT)
        assert run.wait() == 7
        assert run.alive() == []


def test_other_signals_go_to_all_descendants_while_the_drain_lasts(mode: Mode) -> None:
    with draining("-t", "1000", *behind(["setsid", *recorder("SIGUSR2")]), mode=mode) as run:
        for name in ("SIGTERM", "SIGCONT"):
            assert run.line() == f"got {name}\n".encode()
        for name in ("SIGUSR1", "SIGHUP", "SIGWINCH"):
            run.send(getattr(signal, name))
            assert run.line() == f"got {name}\n".encode()
        run.send(signal.SIGUSR2)
        assert run.wait() == 7


def test_wait_all_waits_for_a_daemon_that_forks_twice(mode: Mode, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    daemon = f"setsid sh -c '(echo ready; read line < {fifo}; echo done) & exit 3' & wait $!; exit 7"
    with started("-a", "-t", "0", "sh", "-c", daemon, mode=mode) as run:
        assert run.line() == b"ready\n"
        wait_until(
            lambda: len(children_of(run.pid)) == 1 and len(run.alive()) == 2 + (mode == "pid1"), "the daemon alone"
        )
        assert run.process.poll() is None
        fifo.write_text("end\n")
        assert run.output() == b"done\n"
        assert run.wait() == 7
        assert run.alive() == []


def test_with_wait_all_a_stop_signal_starts_the_drain(mode: Mode) -> None:
    with draining("-a", "-t", "0.5", "sh", "-c", STUBBORN, mode=mode) as run:
        run.send(signal.SIGTERM)
        assert run.wait() == 7
        assert run.alive() == []


def test_with_wait_all_a_second_stop_signal_ends_the_grace(mode: Mode) -> None:
    with draining("-a", "-t", "1000", *behind(recorder("SIGKILL")), mode=mode) as run:
        run.send(signal.SIGINT)
        assert run.line() == b"got SIGTERM\n", "it does not catch SIGINT, but waits for it"
        run.send(signal.SIGINT)
        assert run.wait() == 7
        assert run.alive() == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_kill_after_ends_a_command_that_ignores_the_stop_signal(mode: Mode, name: str) -> None:
    script = 'trap "" TERM INT; setsid sleep 1000 & echo ready; while :; do sleep 1000; done'
    with started("-k", "0.3", "sh", "-c", script, mode=mode, stderr=-1) as run:
        assert run.line() == b"ready\n"
        began = time.monotonic()
        run.send(getattr(signal, name))
        assert run.wait() == 128 + signal.SIGKILL
        assert time.monotonic() - began >= 0.3
        assert run.alive() == []
        assert run.stderr.read() == b"", "the C program says so if it ends them three seconds late"


def test_kill_after_counts_from_the_first_stop_signal_and_from_no_other(mode: Mode) -> None:
    with started("-k", "1.5", *recorder("SIGKILL"), mode=mode) as run:
        run.up()
        run.send(signal.SIGUSR1)
        assert run.line() == b"got SIGUSR1\n"
        run.send(signal.SIGTERM)
        assert run.line() == b"got SIGTERM\n"

        def ended() -> bool:
            with suppress(ProcessLookupError):
                run.send(signal.SIGTERM)
            return run.process.poll() is not None

        wait_until(ended, "the end")
        assert run.wait() == 128 + signal.SIGKILL


def test_without_kill_after_a_command_may_take_its_time(mode: Mode) -> None:
    with started("-t", "0", *recorder("SIGUSR1"), mode=mode) as run:
        run.up()
        for _ in range(5):
            run.send(signal.SIGTERM)
            assert run.line() == b"got SIGTERM\n"
        run.send(signal.SIGUSR1)
        assert run.wait() == 0


def test_verbose_tells_the_story_of_a_shutdown(mode: Mode) -> None:
    script = 'sleep 1000 & trap "" TERM; sh -c "echo ready; while :; do sleep 1000; done" & read line; exit 7'
    with started(
        "-v", "-t", "0.3", "sh", "-c", script, mode=mode, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.line() == b"ready\n"
        wait_until(lambda: [name_of(pid) for pid in run.alive()].count("sleep") == 2, "the sleeps")
        run.release()
        story = run.process.communicate(timeout=60)[1].decode()
    assert re.search(r"ended: exit 7\n", story), story
    assert re.search(r"still there: 3: PID .*\d+ \(sleep\)", story), story
    assert re.search(r"PID \d+ \(sleep\) went: killed by SIGTERM\n", story), story
    assert re.search(r"PID \d+ \(sh\) went: killed by SIGKILL\n", story), story
    assert re.search(r"drained in \d+\.\d+ s\n", story), story


def test_without_verbose_a_drain_is_silent(mode: Mode) -> None:
    with started("-t", "0.3", "sh", "-c", STUBBORN, mode=mode, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.up()
        run.release()
        assert run.process.communicate(timeout=60) == (b"", b"")


def test_a_process_that_came_in_by_nsenter_does_not_delay_the_end() -> None:
    need_root()
    need("nsenter")
    for options in (["-t", "1000"], ["-t", "1000", "-a"]):
        with started(
            *options,
            "sh",
            "-c",
            "sleep 1000 & echo ready; read line; kill $!; exit 7",
            mode="pid1",
            stdin=subprocess.PIPE,
        ) as run:
            assert run.line() == b"ready\n"
            entered = ["nsenter", "-t", str(run.pid), "-p", "-m", "sh", "-c", 'trap "" TERM; echo in; sleep 1000']
            with subprocess.Popen(entered, stdout=subprocess.PIPE) as guest:
                assert guest.stdout is not None
                assert guest.stdout.readline() == b"in\n"
                run.release()
                assert run.wait() == 7
                assert guest.wait(60) != 0


@pytest.mark.parametrize("orphans", ["", "true & wait; "])
def test_without_descendants_the_end_costs_no_scan_and_no_timer(mode: Mode, tmp_path: Path, orphans: str) -> None:
    need("strace")
    trace = tmp_path / "trace"
    init = [*(UNSHARE if mode == "pid1" else []), str(PYINIT)]
    with started("-o", trace, "-f", *init, "sh", "-c", f"{orphans}exit 7", init=["strace"]) as run:
        assert run.wait() == 7
    lines = [line.split(None, 1) for line in trace.read_text().splitlines()]
    # In the order of their ends: the command, pyinit, and for PID 1 unshare.
    ends = [(index, pid) for index, (pid, what) in enumerate(lines) if what == "+++ exited with 7 +++"]
    (end, _), (_, pyinit) = ends[:2]
    calls = [what for pid, what in lines[end:] if pid == pyinit and not what.startswith(("---", "+++", "<..."))]
    names = [call.split("(")[0] for call in calls]
    # From the first wait on: a quick command may have ended before pyinit had settled.
    costs = {*names[names.index("wait4") :]}
    assert costs <= {"wait4", "exit_group", "rt_sigtimedwait", "rt_sigtimedwait_time64"}, calls
    waits = [what for pid, what in lines[end:] if pid == pyinit and "sigtimedwait" in what]
    assert not [wait for wait in waits if "tv_sec=" in wait], waits
