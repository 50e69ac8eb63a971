"""When the main child has ended, whatever it left behind ends too, within the time that the options give."""

import os
import platform
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.copies import in_mount_namespace, public_pyinit
from tests.harness import (
    BASE_PYTHON,
    DEADLINE,
    PYINIT,
    PYTHON,
    UNSHARE,
    Mode,
    bound,
    name_of,
    need,
    need_root,
    open_to_all,
    started,
    status_of,
    wait_until,
)
from tests.programs import recorder

# Leaves 200 processes: a third ignore SIGTERM, a third are stopped, a third are in sessions of their own. The latter
# two write a letter when they get SIGTERM. Ends with 7 when all of them are as they should be.
CROWD = """
import os, signal, time
ready, tell = os.pipe()
pids = []
for number in range(200):
    kind = number % 3
    pid = os.fork()
    if pid == 0:
        def told(*_):
            os.write(1, b".st"[kind:kind + 1])
            os._exit(0)
        signal.signal(signal.SIGTERM, told if kind else signal.SIG_IGN)
        if kind == 2:
            os.setsid()
        os.write(tell, b"x")
        if kind == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            time.sleep(0.05)
    pids.append(pid)
left = 200
while left:
    left -= len(os.read(ready, left))
for pid in pids[1::3]:
    os.waitpid(pid, os.WUNTRACED)
os._exit(7)
"""

# Forks as fast as its limit of processes allows, ignoring SIGTERM: some of its processes stay, others come and go.
BOMB = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
ready, tell = os.pipe()
def bomb():
    os.setsid()
    while True:
        try:
            if os.fork() == 0 and os.getpid() % 4 == 0:
                os._exit(0)
        except BlockingIOError:
            os.write(tell, b"x")
            time.sleep(0.0005)
if os.fork() == 0:
    bomb()
for _ in range(20):
    os.read(ready, 1)
os._exit(7)
"""

# Leaves a process whose children end when it does.
FAMILY = """
import os, signal, time
ready, tell = os.pipe()
lifeline, held = os.pipe()
if os.fork() == 0:
    for _ in range(1000):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.close(held)
            os.write(tell, b"x")
            os.read(lifeline, 1)
            os._exit(0)
    while True:
        time.sleep(0.05)
os.close(held)
left = 1000
while left:
    left -= len(os.read(ready, left))
os._exit(7)
"""

# Leaves grandchildren that answer SIGTERM with a child in a session of its own, which does so too, and end.
SPAWNERS = """
import os, signal, time
ready, tell = os.pipe()
def spawn(*_):
    if os.fork():
        os._exit(0)
    os.setsid()
    os.write(tell, b"x")
signal.signal(signal.SIGTERM, spawn)
if os.fork() == 0:
    for _ in range(10):
        if os.fork() == 0:
            break
    os.write(tell, b"x")
    while True:
        time.sleep(0.05)
for _ in range(11):
    os.read(ready, 1)
os._exit(7)
"""

# Leaves a process whose first thread has ended while another one lives on, for which /proc says Z; prints its PID.
HEADLESS = """
import ctypes, os, threading, time
pid = os.fork()
if pid == 0:
    threading.Thread(target=time.sleep, args=(1000,)).start()
    ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)
while b") Z" not in open(f"/proc/{pid}/stat", "rb").read():
    time.sleep(0.005)
print(pid, flush=True)
os._exit(7)
"""


def python(script: str) -> list[str]:
    return [PYTHON, "-ISc", script]


def test_a_crowd_that_ignores_is_stopped_or_has_left_the_session_is_gone(mode: Mode) -> None:
    with started("-t", bound(0.5), *python(CROWD), mode=mode) as run:
        assert run.wait() == 7
        assert run.alive() == []
        told = run.output()
        assert (told.count(b"s"), told.count(b"t")) == (67, 66)


@pytest.mark.parametrize("owner", ["command's", "pyinit's"])
def test_a_fork_bomb_is_gone(mode: Mode, owner: str) -> None:
    need_root()
    need("setpriv", "prlimit")
    uid = str(random.randrange(20000, 60000))
    limited = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "prlimit", "--nproc=50"]
    bomb = [BASE_PYTHON, "-ISc", BOMB]
    init, command = ([*limited, public_pyinit()], bomb) if owner == "pyinit's" else ([str(PYINIT)], [*limited, *bomb])
    with started("-t", "0.5", *command, init=init, mode=mode) as run:
        assert run.wait() == 7
        assert run.alive() == []


def test_a_thousand_orphans_that_end_during_the_drain_do_not_delay_it(mode: Mode) -> None:
    with started("-t", "1000", *python(FAMILY), mode=mode) as run:
        assert run.wait() == 7
        assert run.alive() == []


def test_what_spawns_on_sigterm_is_gone(mode: Mode) -> None:
    with started("-t", "0.5", *python(SPAWNERS), mode=mode) as run:
        assert run.wait() == 7
        assert run.alive() == []


def test_a_process_whose_first_thread_has_ended_is_gone() -> None:
    with started("-t", "1", *python(HEADLESS), mode="subreaper") as run:
        pid = int(run.line())
        try:
            assert run.wait() == 7
            assert status_of(pid) == {}
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_the_init_of_a_nested_pid_namespace_is_gone(mode: Mode) -> None:
    need_root()
    nested = "unshare --pid --fork --mount-proc sh -c 'echo ready; sleep 1000 & wait'"
    with started("-t", "0.5", "sh", "-c", f"{nested} & read line; exit 7", mode=mode, stdin=subprocess.PIPE) as run:
        assert run.line() == b"ready\n"
        run.release()
        assert run.wait() == 7
        assert run.alive() == []


def test_a_nested_pyinit_and_its_family_are_gone(mode: Mode) -> None:
    nested = f"{PYINIT} -t 0.1 sh -c 'setsid sleep 1000 & echo ready; wait'"
    with started("-t", "1000", "sh", "-c", f"{nested} & read line; exit 7", mode=mode, stdin=subprocess.PIPE) as run:
        assert run.line() == b"ready\n"
        run.release()
        assert run.wait() == 7
        assert run.alive() == []


# In a PID namespace whose /proc is the outer one's: pyinit is PID 2 in both of them, and has children only in there.
# The outer PID 2 has children with the numbers of the strangers inside.
FOREIGN_PROC = """
sh -c 'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; : >ready; wait' &
until [ -e ready ]; do :; done  # without a fork, which would take one of their PIDs
exec unshare --pid --fork --kill-child sh -c '
    "$@" <gate & pyinit=$!
    for n in 1 2 3 4 5; do sleep 1000 & strangers="$strangers $!"; done
    echo >gate
    wait $pyinit; echo "$pyinit exit $?"
    for pid in $strangers; do kill -0 $pid && echo $pid; done
' sh "$@"
"""


@pytest.mark.parametrize(
    ("options", "script", "status"),
    [
        (["-t", "0.1"], "read -r _; sleep 1000 & exit 3", 3),
        (["--scope", "all"], "read -r _; kill -HUP $PPID; sleep 1000", 129),
        (["-k", "0.1"], "trap '' TERM; read -r _; kill -TERM $PPID; sleep 1000", 137),
    ],
    ids=["drain", "scope", "kill-after"],
)
def test_a_proc_of_another_pid_namespace_makes_no_stranger_a_descendant(
    tmp_path: Path, options: list[str], script: str, status: int
) -> None:
    need_root()
    os.mkfifo(tmp_path / "gate")
    words = [*options, "sh", "-c", script]
    init = ["sh", "-c", FOREIGN_PROC, "sh", str(PYINIT)]
    with started(*words, init=[*UNSHARE, *init], cwd=tmp_path, stderr=subprocess.PIPE) as run:
        said, errors = run.process.communicate(timeout=DEADLINE)
    assert said.decode().splitlines() == [f"2 exit {status}", "3", "4", "5", "6", "7"]
    assert b"another PID namespace" in errors


@pytest.mark.parametrize("options", [["-v"], ["-t", "5"]], ids=str)
def test_a_child_that_hidepid_hides_is_gone(tmp_path: Path, options: list[str]) -> None:
    """It runs a program that its user may not read, so that /proc/PID is not there for that user; see proc(5)."""
    need_root()
    hidden = tmp_path / "hidden"
    shutil.copy(shutil.which("sleep") or "", hidden)
    hidden.chmod(0o111)
    open_to_all(hidden)
    user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", public_pyinit(), *options]
    init = in_mount_namespace("mount -t proc -o hidepid=2 proc /proc", *user)
    with started("sh", "-c", f"{hidden} 1000 & exit 7", init=init, stderr=subprocess.PIPE) as run:
        said = run.process.communicate(timeout=DEADLINE)[1].decode()
        assert run.wait() == 7
        assert run.alive() == []
    assert "-v" not in options or "still there: 1: " in said
    assert "left behind" not in said


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Have a process frozen, so that not even SIGKILL ends it."""
    group = Path(f"/sys/fs/cgroup/freezer/drain-test-{random.randrange(2**32)}")
    if not group.parent.is_dir():  # the freezer of cgroup v2 lets it die
        pytest.skip("needs a cgroup v1 freezer")
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        wait_until(lambda: (group / "freezer.state").read_text() == "FROZEN\n", "the freezing")
        yield
    finally:
        (group / "freezer.state").write_text("THAWED")
        for member in (group / "cgroup.procs").read_text().split():
            os.kill(int(member), signal.SIGKILL)
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "the thawed to die")
        group.rmdir()


def test_what_sigkill_cannot_end_delays_pyinit_by_two_seconds_and_is_named() -> None:
    need_root()
    script = "setsid sleep 1000 & echo $!; read line; exit 7"
    with started("-t", "0.2", "sh", "-c", script, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        pid = int(run.line())
        wait_until(lambda: name_of(pid) == "sleep", "sleep")
        with frozen(pid):
            began = time.monotonic()
            run.release()
            assert run.wait() == 7
            assert time.monotonic() - began >= 2
            assert f"PID {pid} (sleep, state D)" in run.line(run.stderr).decode()


QUEUE = {"x86_64": 129, "aarch64": 138}  # __NR_rt_sigqueueinfo


def test_a_name_that_a_terminal_would_obey_is_shown_without_that() -> None:
    name = r"printf '\033]0;title\007' >/proc/self/comm; echo up; exec 2>&-; while :; do sleep 0.02; done"
    with started("-v", "sh", "-c", f"({name}) & read -r _", stdin=-1, stderr=-1) as run:
        run.up()
        run.close_stdin()
        said = run.stderr.read()
    assert b"(?]0;title?)" in said
    assert b"\033" not in said


@pytest.mark.parametrize("code", [-1, -65, -1000])
def test_a_signal_with_any_code_is_forwarded_in_a_drain(code: int) -> None:
    """By rt_sigqueueinfo(2) anybody may send one; see sigqueue(3)."""
    queue = f"""
import ctypes, struct, sys
info = ctypes.create_string_buffer(struct.pack("=iii", {int(signal.SIGUSR1)}, 0, {code}), 128)
sys.exit(ctypes.CDLL(None).syscall({QUEUE[platform.machine()]}, int(sys.argv[1]), {int(signal.SIGUSR1)}, info) != 0)
"""
    with started(
        "-v",
        "-t",
        "1000",
        "sh",
        "-c",
        '"$@" & read -r _',
        "sh",
        *recorder("SIGUSR2"),
        stdin=-1,
        stderr=subprocess.DEVNULL,
    ) as run:
        run.up()
        run.close_stdin()
        assert run.line() == b"got SIGTERM\n"
        assert run.line() == b"got SIGCONT\n"
        subprocess.run([BASE_PYTHON, "-ISc", queue, str(run.pid)], check=True)
        assert run.line() == b"got SIGUSR1\n"
