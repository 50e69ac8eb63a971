"""What pyinit needs is taken away while the command runs: the drain happens all the same, and it ends."""

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.copies import copy_installation, in_mount_namespace, public_pyinit, without
from tests.harness import BASE_PYTHON, DEADLINE, PYINIT, Mode, bound, files_of, missing, need_root, settled, started

# What heeds SIGTERM says so, as does its child; the other has to be killed.
LEAVES = """
(trap 'echo told; exit' TERM; (trap 'echo told too; exit' TERM; echo up; while :; do sleep 0.02; done) & wait; wait) &
(trap '' TERM; echo up; exec sleep 1000) &
read -r _; exit 9
"""


@pytest.mark.parametrize("what", ["the package", "descriptors"])
def test_what_is_left_is_told_and_ended_without(mode: Mode, what: str, tmp_path: Path) -> None:
    copy_installation(tmp_path)
    init = [str(tmp_path / "bin/pyinit"), "-t", bound(0.5), "--"]
    with started("sh", "-c", LEAVES, init=init, mode=mode, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.up(2)
        settled(run.pid)
        if what == "the package":
            shutil.rmtree(tmp_path / "lib")
        else:
            resource.prlimit(run.pid, resource.RLIMIT_NOFILE, (3, 3))
        run.close_stdin()
        assert run.wait() == 9
        assert run.alive() == []
        told = run.stdout.read().splitlines()
        assert b"told" in told
        said = run.stderr.read()
        assert b"Traceback" not in said


@pytest.mark.parametrize("functions", [["pidfd_open"], ["pidfd_send_signal"], ["pidfd_open", "pidfd_send_signal"]])
def test_a_python_without_pidfds_drains(mode: Mode, functions: list[str]) -> None:
    """As conda's, which is built for an old glibc; -k and --scope all send signals in the same way."""
    init = [*without(*functions), "-t", bound(0.5), "--"]
    with started("sh", "-c", LEAVES, init=init, mode=mode, stdin=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        run.up(2)
        run.close_stdin()
        assert sorted(run.stdout.read().splitlines()) == [b"told", b"told too"]
        assert run.wait() == 9
        assert run.alive() == []
    script = "trap '' TERM; sh -c 'trap \"\" TERM; sh -c \"echo up; sleep 1000\"; true'; true"
    init = [*without(*functions), "-k", "0.2", "--scope", "all", "--"]
    with started("sh", "-c", script, init=init, mode=mode, stderr=subprocess.STDOUT) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.wait() == 137
        assert run.alive() == []
        assert run.output() == b""


def test_what_may_not_be_killed_and_keeps_forking_does_not_keep_pyinit() -> None:
    """A root process below an ordinary user's pyinit: every orphan that it leaves to be reaped is a death, and new."""
    need_root()
    root = '(while :; do (sleep 0.05 &); sleep 0.1; done) & exec "$@"'
    user = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", public_pyinit(), "-t", "0.2", "--"]
    began = time.monotonic()
    with started("sh", "-c", "exit 9", init=["sh", "-c", root, "sh", *user], stderr=subprocess.PIPE) as run:
        said = run.line(run.stderr).decode()
        assert run.wait() == 9
        assert time.monotonic() - began >= 2
    assert "left behind" in said
    assert "(sh, Operation not permitted)" in said


def test_a_subreaper_without_proc_ends_whom_it_knows_and_does_not_wait_for_others() -> None:
    """It knows the command's process group, as long as a child of its own is in it."""
    need_root()
    init = [*in_mount_namespace("mount -t tmpfs none /proc"), str(PYINIT), "-t", "0.5", "--"]
    with started("sh", "-c", LEAVES, init=init, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.up(2)
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert run.alive() == []
        assert run.stderr.read().count(b"pyinit: ") == 1
    init[-2] = str(DEADLINE)
    script = "setsid sh -c 'echo up; exec sleep 1000' & read -r _; exit 9"
    with started("sh", "-c", script, init=init, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.up()
        run.close_stdin()
        assert run.wait(DEADLINE / 2) == 9
        assert run.line(run.stderr).startswith(b"pyinit: descendants cannot be found")
        (left,) = run.alive()
        os.kill(left, signal.SIGKILL)
        assert run.stderr.read() == b""


# For a directory: there /proc/locks and stat(2) do not name a file by the same device.
OVERLAY = """
mount -t tmpfs none {0}
mkdir {0}/upper {0}/work
mount -t overlay -o xino=off,lowerdir=/etc,upperdir={0}/upper,workdir={0}/work none {0}
"""


@pytest.mark.parametrize("mounts", ["", OVERLAY], ids=["plain", "overlay"])
def test_a_lock_that_pyinits_wrapper_holds_is_held_on(mode: Mode, tmp_path: Path, mounts: str) -> None:
    """A POSIX lock belongs to the process that becomes pyinit, and goes when that closes the file; see fcntl(2)."""
    wrapper = f"""
import fcntl, os, sys
lock = os.open({str(tmp_path / "lock")!r}, os.O_RDWR | os.O_CREAT)
fcntl.lockf(lock, fcntl.LOCK_EX)
os.set_inheritable(lock, True)
os.execv(sys.argv[1], sys.argv[1:])
"""
    init = [BASE_PYTHON, "-c", wrapper, str(PYINIT), "--"]
    if mounts:
        need_root()
        if subprocess.run(in_mount_namespace(mounts.format(tmp_path), "true"), check=False).returncode:
            missing("needs overlayfs")
        init = in_mount_namespace(mounts.format(tmp_path), *init)
    with started("sleep", "1000", init=init, mode=mode) as run:
        settled(run.pid)
        path = Path(f"/proc/{run.pid}/root", *(tmp_path / "lock").parts[1:])
        with path.open("r+") as file, pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert len(files_of(run.pid)) == 4
