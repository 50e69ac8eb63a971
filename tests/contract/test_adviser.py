"""The adviser may fail: then the C program ends what the command has left, and gives the command's status."""

import os
import resource
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.copies import copy_installation, in_mount_namespace
from tests.harness import (
    BASE_PYTHON,
    PYINIT,
    Mode,
    Started,
    bound,
    children_of,
    missing,
    need_root,
    proc,
    started,
    state_of,
    status_of,
    wait_until,
    waits_for_ever,
)
from tests.programs import saver

# One leftover saves for a while at SIGTERM, in a session of its own. The other has to be killed.
HEEDS = "setsid sh -c \"trap 'sleep 0.2; echo saved; exit' TERM; echo up; while :; do sleep 0.02; done\" &"
LEAVES = f"{HEEDS} (trap '' TERM; echo up; exec sleep 1000) & read -r _; exit 9"

TOO_LITTLE_FOR_PYTHON = (3_000_000, 3_000_000)  # bytes

pytestmark = pytest.mark.c_program


def adviser_of(run: Started) -> int:
    """The PID of the adviser, when its exec has happened."""

    def found() -> list[int]:
        return [pid for pid in children_of(run.pid) if b"--told=" in proc(pid, "cmdline")]

    return wait_until(found, "the adviser")[0]


def said(run: Started) -> list[str]:
    """The lines that pyinit has written to stderr, and nobody else in its name."""
    lines = run.stderr.read().decode().splitlines()
    assert not [line for line in lines if "Traceback" in line]
    return [line for line in lines if line.startswith("pyinit: ")]


def home_of(tmp_path: Path) -> tuple[Path, list[str]]:
    """A pyinit of its own, with an interpreter of its own, and the words that start it."""
    copy_installation(tmp_path)
    shutil.copy(BASE_PYTHON, tmp_path / "bin/python3")
    script = tmp_path / "bin/pyinit-python"
    script.write_text(f"#!{tmp_path}/bin/python3\n{script.read_text().partition(chr(10))[2]}")
    return tmp_path, [str(tmp_path / "bin/pyinit")]


def damage_each_module(home: Path) -> None:
    for module in home.rglob("pyinit/**/*.py"):
        module.write_text("1/0")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "interpreter": lambda home: (home / "bin/python3").unlink(),
    "script": lambda home: (home / "bin/pyinit-python").unlink(),
    "package": lambda home: shutil.rmtree(home / "lib"),
    "modules": damage_each_module,
    "adviser": lambda home: next(home.rglob("adviser.py")).write_bytes(b"\0"),
    "drain": lambda home: next(home.rglob("drain.py")).write_text(
        "class Signalling:\n    def __init__(self, *_): 1/0\n\n\ndef drain(*_): 1/0\n"
    ),
    "script's text": lambda home: (home / "bin/pyinit-python").write_bytes(b"\xff"),
}


@pytest.mark.parametrize(("damage", "option"), [*((damage, "-t") for damage in DAMAGES), ("package", "-k")])
def test_whatever_is_gone_the_leftovers_get_the_signal_and_their_time(
    mode: Mode, damage: str, option: str, tmp_path: Path
) -> None:
    home, init = home_of(tmp_path)
    with started(option, bound(1), "sh", "-c", LEAVES, init=init, mode=mode, stdin=subprocess.PIPE, stderr=-1) as run:
        run.up(2)
        wait_until(lambda: waits_for_ever(run.pid), "the C program")
        DAMAGES[damage](home)
        run.close_stdin()
        assert run.wait() == 9
        assert run.alive() == []
        assert run.stdout.read() == b"saved\n"
        assert len([line for line in said(run) if "the adviser has failed" in line]) == (damage != "drain")


def test_however_many_are_left_all_of_them_get_the_signal() -> None:
    """As a subreaper: it has to know who has got it already."""
    many = "for _ in $(seq 300); do sleep 1000 & done; echo up; read -r _; exit 9"
    with started("-t", "1000", "sh", "-c", many, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        run.up()
        wait_until(lambda: waits_for_ever(run.pid), "the C program")
        resource.prlimit(run.pid, resource.RLIMIT_AS, TOO_LITTLE_FOR_PYTHON)
        run.close_stdin()
        assert run.wait() == 9
        assert run.alive() == []


def test_while_the_package_is_gone_kill_after_leaves_time_for_the_stop_signal(mode: Mode, tmp_path: Path) -> None:
    home, init = home_of(tmp_path)
    with started("-k", bound(1), "sh", "-c", LEAVES, init=init, mode=mode, stdin=subprocess.PIPE, stderr=-3) as run:
        run.up(2)
        wait_until(lambda: waits_for_ever(run.pid), "the C program")
        DAMAGES["package"](home)
        run.send(signal.SIGTERM)
        assert run.wait() == 128 + signal.SIGTERM
        assert run.alive() == []
        assert run.stdout.read() == b"saved\n"


@pytest.mark.parametrize(
    "limit",
    [
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_AS, TOO_LITTLE_FOR_PYTHON[0]),
        (resource.RLIMIT_DATA, 0),
        (resource.RLIMIT_FSIZE, 0),
    ],
    ids=["descriptors", "address space", "data", "file size"],
)
def test_whatever_is_short_the_leftovers_get_the_signal_and_their_time(mode: Mode, limit: tuple[int, int]) -> None:
    words = ["-t", bound(1), "sh", "-c", LEAVES]
    with started(*words, mode=mode, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        run.up(2)
        wait_until(lambda: waits_for_ever(run.pid), "the C program")
        resource.prlimit(run.pid, limit[0], (limit[1], limit[1]))
        run.close_stdin()
        assert run.wait() == 9
        assert run.alive() == []
        assert run.stdout.read() == b"saved\n"


@pytest.mark.parametrize("option", ["-t", "-k"])
def test_an_adviser_that_is_killed_in_a_drain_is_done_without(mode: Mode, option: str) -> None:
    """As by the OOM killer, which takes it first."""
    seconds = bound(1)
    with started(option, seconds, "sh", "-c", LEAVES, mode=mode, stdin=subprocess.PIPE, stderr=-1) as run:
        run.up(2)
        began = time.monotonic()
        run.close_stdin()
        adviser = adviser_of(run)
        assert proc(adviser, "oom_score_adj") == b"1000\n"
        os.kill(adviser, signal.SIGKILL)
        assert run.wait() == 9
        assert time.monotonic() - began >= float(seconds), "the grace is no shorter without an adviser"
        assert run.alive() == []
        assert b"saved\n" in run.stdout.read()
        assert len(said(run)) == 1


def test_without_an_adviser_a_subreaper_signals_each_leftover_once(tmp_path: Path) -> None:
    """It lists its children again and again, because orphans may come."""
    home, init = home_of(tmp_path)
    DAMAGES["drain"](home)
    file = tmp_path / "told"
    words = ["sh", "-c", '"$@" & read _; exit 9', "sh", *saver(file, 0.5)]
    with started("-t", "600", *words, init=init, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        run.up()
        run.close_stdin()
        assert run.wait() == 9
        assert file.read_text() == "SIGTERM"


@pytest.mark.parametrize("options", [[], ["-k", "60"]], ids=str)
def test_a_stop_that_takes_long_is_seen_through_by_an_adviser(mode: Mode, options: list[str]) -> None:
    """It is there before the command has ended, with little memory in PID 1, and it goes with the last leftover."""
    script = (
        "trap 'read -r _; exit 3' TERM; (trap '' TERM; read -r _; read -r _) & echo up; while :; do sleep 0.02; done"
    )
    with started(*options, "sh", "-c", script, mode=mode, stdin=subprocess.PIPE, stderr=-1) as run:
        run.up()
        run.send(signal.SIGTERM)
        adviser = adviser_of(run)
        wait_until(lambda: waits_for_ever(adviser) or state_of(adviser) == "S", "its wait")
        assert int(status_of(run.pid)["VmRSS"].split()[0]) <= 40
        run.close_stdin()
        assert run.wait() == 3
        assert run.alive() == []
        assert said(run) == []


def test_a_bound_holds_without_the_adviser(mode: Mode) -> None:
    script = "trap '' TERM; echo up; while :; do sleep 0.02; done"
    with started("-k", "0.5", "sh", "-c", script, mode=mode, stderr=-1) as run:
        run.up()
        wait_until(lambda: waits_for_ever(run.pid), "the C program")
        run.send(signal.SIGTERM)
        os.kill(adviser_of(run), signal.SIGKILL)
        assert run.wait() == 137
        assert run.alive() == []


def test_an_upgrade_is_waited_out(mode: Mode, tmp_path: Path) -> None:
    """The package is not there when the command ends, and is again when the adviser is tried once more."""
    home, init = home_of(tmp_path)
    leaves = f"{HEEDS} read -r _; exit 9"
    with started("sh", "-c", leaves, init=init, mode=mode, stdin=subprocess.PIPE, stderr=-1) as run:
        run.up()
        (home / "lib").rename(home / "away")
        run.close_stdin()
        assert b"cannot load its package" in run.line(run.stderr)
        (home / "away").rename(home / "lib")
        assert run.wait() == 9
        assert run.stdout.read() == b"saved\n"
        assert said(run) == []


def test_the_adviser_dies_with_a_waiter_that_is_killed(tmp_path: Path) -> None:
    with started("sh", "-c", LEAVES, stdin=subprocess.PIPE, stderr=-1) as run:
        run.up(2)
        run.close_stdin()
        adviser = adviser_of(run)
        os.kill(run.pid, signal.SIGKILL)
        wait_until(lambda: state_of(adviser) in ("", "Z"), "the adviser's end")


def test_an_adviser_that_is_stopped_keeps_nobody_when_the_last_leftover_has_gone(mode: Mode) -> None:
    script = "exec 3<&0; (trap '' TERM; echo up; read -r _ <&3) & exit 9"
    with started("-t", "600", "sh", "-c", script, mode=mode, stdin=subprocess.PIPE) as run:
        run.up()
        os.kill(adviser_of(run), signal.SIGSTOP)
        run.close_stdin()
        assert run.wait() == 9
        assert run.alive() == []


def test_it_is_found_through_links_and_from_any_directory(mode: Mode, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pyinit").symlink_to(PYINIT)
    (tmp_path / "init").symlink_to("bin/pyinit")
    for init, where in (([str(tmp_path / "init")], "/"), (["./init"], tmp_path), ([f"./{PYINIT.name}"], PYINIT.parent)):
        leaves = f"{HEEDS} read -r _; exit 9"
        with started("sh", "-c", leaves, init=init, cwd=where, mode=mode, stdin=subprocess.PIPE, stderr=-1) as run:
            run.up()
            run.close_stdin()
            assert run.wait() == 9
            assert run.stdout.read() == b"saved\n"
            assert said(run) == []


def test_a_bound_holds_and_signals_are_forwarded_when_the_adviser_has_died(mode: Mode) -> None:
    script = "trap '' TERM; trap 'echo hup' HUP; echo up; while :; do sleep 0.02; done"
    with started("-k", "1.5", "sh", "-c", script, mode=mode) as run:
        run.up()
        began = time.monotonic()
        run.send(signal.SIGTERM)
        os.kill(adviser_of(run), signal.SIGKILL)
        run.send(signal.SIGHUP)
        assert run.line() == b"hup\n"
        assert run.wait() == 137
        assert time.monotonic() - began >= 1.5
        assert run.alive() == []


def test_a_leftover_that_signals_all_the_others_is_no_second_stop_signal() -> None:
    """kill(-1) spares PID 1, and reaches its adviser."""
    need_root()
    cleans = "trap '' TERM; kill -TERM -1; sleep 0.5; echo cleaned up; exit"
    leaves = f'(trap "{cleans}" TERM; echo up; while :; do sleep 0.02; done) &'
    with started("sh", "-c", f"{leaves} read -r _; exit 9", mode="pid1", stdin=subprocess.PIPE, stderr=-3) as run:
        run.up()
        run.close_stdin()
        assert run.line() == b"cleaned up\n"
        assert run.wait() == 9


def test_a_first_line_with_env_is_left_to_the_kernel(tmp_path: Path) -> None:
    """As conda writes it if its path is long."""
    copy_installation(tmp_path)
    script = tmp_path / "bin/pyinit-python"
    script.write_text(f"#!/usr/bin/env {Path(BASE_PYTHON).name}\n{script.read_text().partition(chr(10))[2]}")
    with started("-t", "5", "sh", "-c", "exit 7", init=[str(tmp_path / "bin/pyinit")], stderr=-1) as run:
        assert run.wait() == 7
        assert said(run) == []


@pytest.mark.parametrize("options", [["-t", "1"], ["-t", "1", "-v"]], ids=str)
def test_a_pause_without_proc_signals_nobody_else(options: list[str]) -> None:
    """The process group that it was started in is its caller's."""
    need_root()
    script = f"(sleep 1000 & exec {PYINIT} {' '.join(options)} --pause); echo $?"
    init = in_mount_namespace("mount -t tmpfs none /proc", "sh", "-c", script)
    with started(init=init, stderr=subprocess.DEVNULL) as run:

        def pauses() -> list[int]:
            return [pid for pid in run.alive() if b"\0--pause\0" in proc(pid, "cmdline")]

        pyinit = wait_until(pauses, "pyinit")[0]
        wait_until(lambda: waits_for_ever(pyinit), "its pause")
        os.kill(pyinit, signal.SIGTERM)
        assert run.line() == b"0\n"


@contextmanager
def control_group(controller: str, limit: str) -> Iterator[tuple[Path, Path]]:
    """A control group with this controller, of version 1 or 2, and its file that holds the limit."""
    need_root()
    parent = Path("/sys/fs/cgroup", controller)
    if not (parent / "cgroup.procs").exists():
        parent, limit = Path("/sys/fs/cgroup"), f"{controller}.max"
    group = parent / f"pyinit-test-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError as error:
        missing(f"a control group: {error}")
    try:
        if not (group / limit).exists():
            missing(f"the {controller} controller")
        yield group, group / limit
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "the group to be empty")
        group.rmdir()


# It saves at SIGTERM, for which it takes 1 MB more.
SAVES = """
import os, signal, sys
held = bytearray(os.urandom(4096) * 4096)
def save(*_):
    more = bytearray(os.urandom(4096) * 256)
    os.write(1, b"saved %d\\n" % len(more))
    os._exit(0)
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
while True:
    signal.pause()
"""


@contextmanager
def saver_in(group: Path, mode: Mode) -> Iterator[Started]:
    """A server that saves, behind a shell and behind a pyinit that is in this control group."""
    init = ["sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh", str(PYINIT), "-t", "20"]
    words = ["sh", "-c", '"$@"; true', "sh", BASE_PYTHON, "-ISc", SAVES]
    with started(*words, init=init, mode=mode, stderr=subprocess.PIPE) as run:
        run.up()
        yield run


def test_the_oom_killer_takes_the_adviser_and_not_the_server_that_saves(mode: Mode) -> None:
    with control_group("memory", "memory.limit_in_bytes") as (group, limit), saver_in(group, mode) as run:
        usage = next(path for name in ("memory.usage_in_bytes", "memory.current") if (path := group / name).exists())
        limit.write_text(str(int(usage.read_text()) + 2_500_000))
        run.send(signal.SIGTERM)
        assert run.line().startswith(b"saved")
        assert run.wait() == 143
        assert run.alive() == []


def test_with_no_process_to_be_had_the_leftovers_get_the_signal_and_their_time(mode: Mode) -> None:
    with control_group("pids", "pids.max") as (group, limit), saver_in(group, mode) as run:
        limit.write_text("1")
        run.send(signal.SIGTERM)
        assert run.line().startswith(b"saved")
        assert run.wait() == 143
        assert run.alive() == []
        assert len(said(run)) == 1


@pytest.mark.parametrize(("options", "status"), [(["-k", "1"], 137), (["-t", "1"], 143)], ids=str)
def test_a_deadline_holds_if_the_adviser_gets_no_time_of_a_cpu(mode: Mode, options: list[str], status: int) -> None:
    """As among many busy processes. The C program kills, and does not say that the adviser has failed."""
    deaf = "trap '' TERM; sleep 1000 & echo up; wait"
    script = deaf if status == 137 else f'sh -c "{deaf}" & wait'
    with started(*options, "sh", "-c", script, mode=mode, stderr=subprocess.PIPE) as run:
        run.up()
        run.send(signal.SIGTERM)
        os.kill(adviser_of(run), signal.SIGSTOP)
        assert run.wait() == status
        assert run.alive() == []
        assert said(run) == []
