"""--pid-namespace: one life. However the launcher ends, all inside ends with it, and the other way round."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness import (
    Rounds,
    all_pids,
    children_of,
    files_of,
    link,
    name_of,
    pid_one_below,
    settled,
    started,
    state_of,
    wait_until,
)
from tests.namespace.launching import LAUNCHER
from tests.programs import recorder

LATEST = 0.03  # seconds
CLOSED = "exec 0<&- 1>&- 2>&-"


def in_namespace(namespace: str) -> list[int]:
    """The processes in a PID namespace, zombies not counted."""
    return [pid for pid in all_pids() if link(pid, "ns/pid") == namespace and state_of(pid) not in ("", "Z")]


def seconds_of_a_run() -> float:
    """How long a launcher takes here and now, from its start to its end."""
    began = time.monotonic()
    for _ in range(5):
        subprocess.run([*LAUNCHER, "true"], check=True)
    return (time.monotonic() - began) / 5


def kill_launchers(script: str, moments: list[float]) -> None:
    """Start a launcher for each moment and kill it then; check that nothing is left inside.

    A namespace is held open until then, so that its number means no other.
    """
    with started("1000", init=["sleep"]) as run:  # it lends its marker to the launchers
        name, _, value = run.marker.partition("=")

        def kill(moment: float) -> int | None:
            words = [*LAUNCHER, "--", "sh", "-c", script]
            with subprocess.Popen(words, env={**os.environ, name: value}, stdin=subprocess.DEVNULL) as process:
                time.sleep(moment)  # not a wait for anything: it is where in its life the launcher is killed
                try:
                    held = os.open(f"/proc/{process.pid}/ns/pid_for_children", os.O_RDONLY)
                except OSError:  # it has none yet, or has ended
                    held = None
                process.kill()
            return held

        with ThreadPoolExecutor(4) as pool:
            held = [fd for fd in pool.map(kill, moments) if fd is not None]
        try:
            wait_until(lambda: run.alive() == [run.pid], "the end of all that the killed launchers started", 20)
            own = os.stat("/proc/self/ns/pid").st_ino
            namespaces = {f"pid:[{os.fstat(fd).st_ino}]" for fd in held if os.fstat(fd).st_ino != own}
            # A process in the middle of an exec shows no environment: these may be a moment later than those.
            wait_until(lambda: not any(map(in_namespace, namespaces)), "the end of all in their namespaces", 20)
        finally:
            for fd in held:
                os.close(fd)


def test_sigkill_at_any_moment_of_the_start_leaves_nothing_inside(rounds: Rounds) -> None:
    """The command never ends by itself, ignores what it can, and has children in sessions of their own."""
    script = f"{CLOSED}; trap '' HUP INT TERM; setsid sleep 1000 & setsid sh -c 'sleep 1000 & sleep 1000' & sleep 1000"
    last = 1.3 * seconds_of_a_run()
    batches = rounds(1, 10)
    for batch in range(batches):
        kill_launchers(script, [last * n / (40 * batches) for n in range(batch, 40 * batches, batches)])


def test_pid_1_killed_at_any_moment_of_the_start_leaves_nothing_inside(rounds: Rounds) -> None:
    """One line says what has happened, and the status is 137."""
    with started("1000", init=["sleep"]) as run:  # it lends its marker to the launchers
        name, _, value = run.marker.partition("=")

        def kill(moment: float) -> tuple[int, bytes]:
            words = [*LAUNCHER, "--", "sh", "-c", f"{CLOSED}; setsid sleep 1000 & sleep 1000"]
            env = {**os.environ, name: value}
            with subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                first = wait_until(lambda: children_of(process.pid), "PID 1")[0]
                time.sleep(moment)  # not a wait for anything: it is where in its life it is killed
                os.kill(first, signal.SIGKILL)
                try:
                    return process.wait(20), process.communicate()[1]
                finally:
                    process.kill()  # or else a launcher that goes on would keep the test from failing

        kills = rounds(30, 300)
        with ThreadPoolExecutor(4) as pool:
            ends = set(pool.map(kill, [LATEST * n / kills for n in range(kills)]))
        wait_until(lambda: run.alive() == [run.pid], "the end of all that was inside", 20)
    assert ends == {(137, b"pyinit: PID 1 of the namespace has died, and everything in it\n")}


def test_sigkill_at_any_moment_of_the_end_leaves_nothing_inside(rounds: Rounds) -> None:
    script = f"{CLOSED}; trap '' TERM; sleep 1000 & sleep 0.0$(($$ % 3)); exit 3"
    took = seconds_of_a_run()
    kills = rounds(20, 200)
    kill_launchers(script, [took * (0.8 + n / kills) for n in range(kills)])


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_sigkill_to_the_launcher_ends_all_inside(launcher: list[str], state: str) -> None:
    script = "trap '' HUP INT TERM; (setsid sh -c 'sleep 1000 & sleep 1000' &); echo up; sleep 1000"
    with started("sh", "-c", script, init=launcher) as process:
        process.up()
        wait_until(lambda: len(process.alive()) >= 5, "all of it")
        if state == "stopped":
            process.send(signal.SIGSTOP)
        process.send(signal.SIGKILL)
        assert process.wait() == 128 + signal.SIGKILL
        wait_until(lambda: not process.alive(), "the end of all inside", 20)


def test_sigkill_to_the_outermost_of_three_launchers_ends_all_inside(launcher: list[str]) -> None:
    pyinit = launcher[-2:]
    script = "trap '' HUP INT TERM; echo up; sleep 1000"
    with started(*pyinit, "--", *pyinit, "--", "sh", "-c", script, init=launcher) as process:
        process.up()
        process.send(signal.SIGKILL)
        wait_until(lambda: not process.alive(), "the end of all inside", 20)


def test_sigkill_to_a_launcher_inside_another_is_the_status_of_the_outer(launcher: list[str]) -> None:
    with started(*launcher[-2:], "--", "sh", "-c", "echo up; sleep 1000", init=launcher) as process:
        process.up()
        second = process.command()
        os.kill(second, signal.SIGKILL)
        assert process.wait() == 128 + signal.SIGKILL
        wait_until(lambda: not process.alive(), "the end of all inside", 20)


def test_the_inner_killed_gives_137_and_ends_all_inside(launcher: list[str]) -> None:
    script = "(trap '' HUP INT TERM; exec setsid sleep 1000) & echo up; sleep 1000"
    with started("sh", "-c", script, init=launcher) as process:
        process.up()
        os.kill(pid_one_below(process.pid), signal.SIGKILL)
        assert process.wait() == 137
        wait_until(lambda: not process.alive(), "the end of all inside", 20)


@pytest.mark.parametrize("option", ["-t1", "-v"])  # in C, and in Python
@pytest.mark.parametrize("other", ["sleep 1000", "(sleep 0.05; exit 1)"])
def test_a_child_that_the_launcher_was_started_with_is_not_taken_for_pid_1(option: str, other: str) -> None:
    """It is neither waited for nor signalled: what the launcher ends is its namespace."""
    script = f'{other} <&- >&- 2>&- & echo $!; exec "$@"'
    words = ["sh", "-c", "sleep 0.2; echo up; read line; exit 3"]
    with started(
        *words, init=["sh", "-c", script, "sh", *LAUNCHER, option, "--"], stdin=-1, stdout=-1, stderr=-1
    ) as run:
        child = int(run.line())
        run.up()
        run.close_stdin()
        assert run.wait() == 3
        assert b"died" not in run.stderr.read()
        if other == "sleep 1000":
            assert state_of(child) == "S"


def test_no_signal_from_inside_ends_pid_1() -> None:
    script = "kill -KILL 1; kill -STOP 1; echo still here; exit 4"
    with started("sh", "-c", script, mode="launcher") as process:
        assert process.line() == b"still here\n"
        assert process.wait() == 4


def test_the_command_is_told_by_the_death_of_the_launchers_parent(launcher: list[str]) -> None:
    """With -p, as in prctl(2): the launcher's parent here is a shell that is killed."""
    words = [*launcher, "--parent-death-signal", "USR1", "--", *recorder("SIGKILL")]
    with started(*words, init=["sh", "-c", '"$@"; true', "sh"]) as process:
        process.up()
        process.send(signal.SIGKILL)
        assert process.got() == signal.SIGUSR1


def test_with_parent_death_signal_kill_nothing_outlives_the_parent(launcher: list[str]) -> None:
    words = [*launcher, "-p", "KILL", "--", "sh", "-c", "echo up; trap '' TERM; sleep 1000"]
    with started(*words, init=["sh", "-c", '"$@"; true', "sh"]) as process:
        process.up()
        process.send(signal.SIGKILL)
        wait_until(lambda: not process.alive(), "the end of all inside", 20)


def test_without_parent_death_signal_the_launcher_outlives_its_parent() -> None:
    words = [*LAUNCHER, "--", *recorder("SIGKILL")]
    with started(*words, init=["sh", "-c", '"$@"; true', "sh"]) as process:
        process.up()
        (launcher,) = children_of(process.pid)
        process.send(signal.SIGKILL)
        assert process.wait() == 137
        os.kill(launcher, signal.SIGUSR2)
        assert process.got() == signal.SIGUSR2


def test_sigstop_and_sigcont_to_the_launcher_lose_no_signal() -> None:
    with started(*recorder("SIGKILL"), mode="launcher") as process:
        process.up()
        process.send(signal.SIGSTOP)
        wait_until(lambda: state_of(process.pid) == "T")
        sent = [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGCONT, signal.SIGRTMIN, signal.SIGRTMAX]
        for signum in [*sent[:3], *sent[4:], signal.SIGCONT]:
            process.send(signum)
        assert {process.got() for _ in sent} == set(sent)


def test_a_descriptor_of_the_namespace_is_all_that_can_hold_it() -> None:
    """No process is left in the namespace of a launcher that has ended in the ordinary way."""
    with started(
        "sh", "-c", "setsid sleep 1000 & echo up; read line", mode="launcher", stdin=subprocess.PIPE
    ) as process:
        process.up()
        held = os.open(f"/proc/{process.command()}/ns/pid", os.O_RDONLY)
        namespace = link(process.command(), "ns/pid")
        assert len(in_namespace(namespace)) == 3
        process.close_stdin()
        process.wait()
        assert in_namespace(namespace) == []
        os.close(held)


def test_the_inner_of_the_launcher_that_rests_for_the_second_time_drains_all_the_same() -> None:
    script = "(trap 'echo told; exit' TERM; echo up; while :; do sleep 0.02; done) & read -r _; exit 7"
    with started("-a", "sh", "-c", script, mode="launcher", stdin=subprocess.PIPE) as run:
        run.up()
        inner, command = pid_one_below(run.pid), run.command()
        settled(inner)
        run.close_stdin()
        wait_until(lambda: command not in children_of(run.pid), "the command's end")
        settled(inner)
        run.send(signal.SIGTERM)
        assert run.line() == b"told\n"
        assert run.wait() == 7


def test_neither_pid_1_nor_the_launcher_holds_what_the_caller_had_open(tmp_path: Path) -> None:
    held = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    with started("sleep", "1000", mode="launcher", pass_fds=[held], cwd=tmp_path) as process:
        command = process.command()
        assert link(command, f"fd/{held}") == str(tmp_path / "file")
        assert link(command, "cwd") == str(tmp_path)
        for pid in (process.pid, pid_one_below(process.pid)):
            wait_until(lambda pid=pid: link(pid, "cwd") == "/")  # type: ignore[misc]
            wait_until(lambda pid=pid: str(tmp_path / "file") not in files_of(pid).values())  # type: ignore[misc]
            assert name_of(pid) == "pyinit"
        wait_until(lambda: len(files_of(command)) == 4, "the command to have loaded its libraries")
    os.close(held)


def test_the_launcher_imports_nothing_from_where_its_user_stands(tmp_path: Path) -> None:
    for name in ("ctypes", "fcntl", "sitecustomize", "select"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere"}
    with started("true", mode="launcher", env=env, cwd=tmp_path) as process:
        assert process.wait() == 0
