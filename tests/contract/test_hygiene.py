"""What pyinit holds, says and needs while the command runs: nearly nothing."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
from itertools import chain, combinations
from pathlib import Path

import pytest

from tests.copies import copy_installation, in_mount_namespace, interpreter_of, public_pyinit
from tests.harness import (
    IN_C,
    PYINIT,
    SCRIPT,
    UNSHARE,
    Mode,
    Rounds,
    children_of,
    files_of,
    fill,
    link,
    missing,
    name_of,
    need_root,
    proc,
    settled,
    started,
    status_of,
    wait_until,
)
from tests.programs import compiled

SUBSETS = list(chain.from_iterable(combinations((0, 1, 2), count) for count in range(4)))


def test_its_working_directory_is_the_root_and_its_name_pyinit(mode: Mode, tmp_path: Path) -> None:
    with started("sleep", "1000", mode=mode, cwd=tmp_path) as run:
        settled(run.pid)
        wait_until(lambda: link(run.pid, "cwd") == "/")
        assert name_of(run.pid) == "pyinit"


def test_its_name_is_pyinit_however_the_script_is_started() -> None:
    with started("sleep", "1000", init=["/usr/bin/python3", "-I", "-S", "-X", "utf8", str(SCRIPT), "--"]) as run:
        settled(run.pid)


def test_it_keeps_no_descriptor_above_2(mode: Mode, tmp_path: Path) -> None:
    words = ["sh", "-c", 'exec 5<"$0" 6<"$0" 9>"$0/new"; exec "$@"', str(tmp_path), str(PYINIT)]
    with started("sleep", "1000", init=words, mode=mode) as run:
        settled(run.pid)
        wait_until(lambda: set(files_of(run.pid)) <= {0, 1, 2}, "the descriptors' end")
        assert {5, 6, 9} <= set(files_of(run.main_child()))


def test_a_pipe_that_pyinit_was_started_with_ends_when_the_command_closes_it(mode: Mode) -> None:
    read_end, write_end = os.pipe()
    with started("sh", "-c", f"exec {write_end}>&-; exec sleep 1000", mode=mode, pass_fds=[write_end]):
        os.close(write_end)
        assert os.read(read_end, 1) == b""
    os.close(read_end)


@pytest.mark.parametrize("options", [["--"], ["-t", "5"], ["-v"], ["-n"]], ids=str)
def test_the_command_can_unmount_the_caller_s_directory_at_once(
    mode: Mode, options: list[str], tmp_path: Path, rounds: Rounds
) -> None:
    need_root()
    (tmp_path / "mounted").mkdir()
    mount = in_mount_namespace(f"mount -t tmpfs none {tmp_path}/mounted; cd {tmp_path}/mounted", str(PYINIT), *options)
    for _ in range(rounds(3, 50)):
        with started("sh", "-c", f"cd / && umount {tmp_path}/mounted", init=mount, mode=mode, stderr=-3) as run:
            assert run.wait() == 0


@pytest.mark.parametrize("options", [["--"], ["-t", "5"], ["-v"], ["-n"]], ids=str)
def test_when_the_command_runs_pyinit_has_left_its_directory_and_descriptors(
    mode: Mode, options: list[str], tmp_path: Path, rounds: Rounds
) -> None:
    pyinit = "/proc/1" if options == ["-n"] else "/proc/$PPID"
    words = [*options, "sh", "-c", f"readlink {pyinit}/cwd; ls {pyinit}/fd"]
    for kept in os.pipe():
        for _ in range(rounds(2, 20)):
            with started(*words, mode=mode, cwd=tmp_path, pass_fds=[kept], stderr=-3) as run:
                cwd, *fds = run.output().decode().split()
            assert cwd == "/"
            assert str(kept) not in fds
        os.close(kept)


@pytest.mark.parametrize("closed", SUBSETS, ids=str)
def test_closed_standard_descriptors_stay_closed_for_the_command(mode: Mode, closed: tuple[int, ...]) -> None:
    script = "; ".join(["exec 7>&1", *(f"exec {fd}>&-" for fd in closed), 'exec "$@"'])
    report = "for fd in 0 1 2; do [ -e /proc/$$/fd/$fd ] && echo $fd >&7; done; exit 3"
    with started("-vv", "sh", "-c", report, init=["sh", "-c", script, "sh", str(PYINIT)], mode=mode) as run:
        found = run.output().split()
        assert run.wait() == 3
    assert [int(fd) for fd in found] == [fd for fd in (0, 1, 2) if fd not in closed]


def test_no_message_lands_in_a_file_that_took_the_place_of_a_closed_stderr(tmp_path: Path) -> None:
    """The next file that a process opens is number 2 then."""
    target = tmp_path / "data"
    script = 'exec 2>&- ; exec "$@"'
    command = f"exec 2>{target}; (sleep 0.02 &); sleep 0.1; exit 0"
    with started("-vv", "sh", "-c", command, init=["sh", "-c", script, "sh", str(PYINIT)]) as run:
        assert run.wait() == 0
    assert target.read_bytes() == b""


def busy(run_words: list[str], stderr: int, mode: Mode) -> None:
    """With messages for every reap and signal, pyinit must do its work whether or not they can be written."""
    script = "for n in 1 2 3 4 5 6 7 8; do (true &); done; echo up; exec sleep 1000"
    with started("-vv", "-w", "sh", "-c", script, mode=mode, init=run_words, stderr=stderr) as run:
        run.up()
        wait_until(lambda: len(children_of(run.pid)) == 1, "no zombie", 20)
        run.send(signal.SIGTERM)
        assert run.wait(20) == 143


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_a_full_stderr_that_nobody_reads_does_not_block(mode: Mode, kind: str) -> None:
    if kind == "pipe":
        other, stderr = os.pipe()
    elif kind == "socket":
        other, stderr = (end.detach() for end in socket.socketpair())
    else:
        other, stderr = os.openpty()
    fill(stderr)
    busy([str(PYINIT)], stderr, mode)
    os.close(other)
    os.close(stderr)


def test_a_full_pipe_of_another_users_does_not_block() -> None:
    """It cannot be opened anew through /proc then, as in a container that runs as a user of its own."""
    need_root()
    other, stderr = os.pipe()
    fill(stderr)
    drop = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    busy([*drop, public_pyinit()], stderr, "subreaper")
    os.close(other)
    os.close(stderr)


def test_a_stderr_that_is_the_commands_own_input_gets_no_message(mode: Mode) -> None:
    """The read end of a pipe: opened anew through /proc it could be written to."""
    with started("-vv", "cat", init=["sh", "-c", 'echo data | "$@" 2<&0', "sh", str(PYINIT)], mode=mode) as run:
        assert run.output() == b"data\n"


def test_a_stderr_whose_reader_has_gone_ends_nothing(mode: Mode) -> None:
    other, stderr = os.pipe()
    os.close(other)
    busy([str(PYINIT)], stderr, mode)
    os.close(stderr)


@pytest.mark.parametrize("path", ["/dev/full", "/dev/null"])
def test_a_stderr_that_takes_nothing_ends_nothing(mode: Mode, path: str) -> None:
    with open(path, "wb") as stderr:
        busy([str(PYINIT)], stderr.fileno(), mode)


def test_a_stderr_at_its_limit_of_size_ends_nothing(tmp_path: Path, mode: Mode) -> None:
    """SIGXFSZ would end a careless program."""
    with open(tmp_path / "log", "wb") as stderr:
        stderr.write(b"x" * 4096)
        stderr.flush()
        busy(["prlimit", "--fsize=4096", str(PYINIT)], stderr.fileno(), mode)
        assert os.fstat(stderr.fileno()).st_size == 4096


def test_stderr_is_as_blocking_for_the_command_as_it_was(mode: Mode) -> None:
    with started("-vv", compiled("probe"), mode=mode, stderr=-1) as run:
        found = re.search(rb"^2 pipe:\S+ offset -1 flags (\w+)$", run.output(), re.MULTILINE)
    assert found
    assert int(found[1], 16) & os.O_NONBLOCK == 0


def test_messages_are_appended_where_stderr_is_a_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("ab") as stderr, started("-v", "sh", "-c", "echo said >&2; exit 1", stderr=stderr) as run:
        assert run.wait() == 1
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert "said" in lines
    assert len([line for line in lines if line.startswith("pyinit: ")]) >= 2


NO_PROC = {
    "covered": "mount -t tmpfs none /proc",
    "unmounted": "umount -l /proc",
    "read-only": "mount -o remount,bind,ro /proc",
}


@pytest.mark.parametrize("kind", NO_PROC)
def test_it_works_with_no_proc(mode: Mode, kind: str) -> None:
    need_root()
    namespaces = UNSHARE if mode == "pid1" else ["unshare", "--mount"]
    init = [*namespaces, "sh", "-c", f'{NO_PROC[kind]} && exec "$@"', "sh", str(PYINIT), "-w", "--"]
    script = "(sleep 0.02 &); sleep 0.1; kill -USR1 $PPID; while :; do sleep 0.02; done"
    with started("sh", "-c", f"trap 'exit 9' USR1; {script}", init=init, stderr=-1) as run:
        assert run.wait() == 9
        assert b"reaped orphan" in run.stderr.read()


def test_it_works_on_a_read_only_root(mode: Mode) -> None:
    need_root()
    namespaces = UNSHARE if mode == "pid1" else ["unshare", "--mount"]
    init = [*namespaces, "sh", "-c", 'mount --bind / / && mount -o remount,ro,bind / && exec "$@"', "sh", str(PYINIT)]
    with started("sh", "-c", "echo x 2>/dev/null >/root/pyinit-test && exit 1; exit 6", init=[*init, "--"]) as run:
        assert run.wait() == 6


@pytest.mark.parametrize("environment", [{}, {"HOME": "/nonexistent"}, {"PATH": ""}], ids=str)
def test_it_works_without_home_and_path(mode: Mode, environment: dict[str, str]) -> None:
    init = [*(["/usr/bin/unshare", *UNSHARE[1:]] if mode == "pid1" else []), str(PYINIT), "--"]
    with started("/bin/sh", "-c", "exit 6", init=init, env=environment) as run:
        assert run.wait() == 6


def test_few_descriptors_and_little_memory_are_enough(mode: Mode) -> None:
    with started("sh", "-c", "exit 5", init=["prlimit", "--nofile=8:8", str(PYINIT)], mode=mode) as run:
        assert run.wait() == 5
    with started("sh", "-c", "exit 5", init=["prlimit", "--as=64000000", str(PYINIT)], mode=mode) as run:
        assert run.wait() == 5


def imported(mode: Mode, *words: str) -> set[str]:
    """The modules that `python3 *words` imports at its start, by CPython's own account."""
    interpreter = interpreter_of(SCRIPT)
    command = [*(UNSHARE if mode == "pid1" else []), interpreter, "-I", "-S", "-X", "utf8", "-X", "importtime"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE))


def test_a_plain_start_as_pid_1_imports_what_it_needs_and_nothing_else() -> None:
    need_root()
    added = imported("pid1", str(SCRIPT), "--", "/bin/true") - imported("pid1", "-c", "")
    own = {"_stat", "pyinit"}
    own |= {
        f"pyinit.{module}" for module in ("base", "base.log", "base.wait", "native", "run", "run.command", "run.init")
    }
    then = {"base.output", "base.signals", "family", "family.pipes", "family.proc", "family.reaper", "family.send"}
    then |= {"stop", "stop.drain", "stop.order"}
    own |= set() if IN_C else {f"pyinit.{module}" for module in then}
    assert added == own


def test_python_prctl_is_imported_by_a_subreaper_and_not_by_pid_1() -> None:
    need_root()
    assert "_prctl" not in imported("pid1", str(SCRIPT), "--", "true")
    assert "_prctl" in imported("subreaper", str(SCRIPT), "--", "true")


@pytest.fixture
def without_python_prctl(tmp_path: Path) -> list[str]:
    """The words that start a pyinit which finds no python-prctl, neither beside itself nor where Debian's is."""
    copy_installation(tmp_path)
    for library in tmp_path.rglob("_prctl*"):
        library.unlink()
    script = str(tmp_path / "bin" / "pyinit")
    interpreter = interpreter_of(SCRIPT)
    search = "import glob, site; [print(*glob.glob(f'{path}/_prctl*'), sep='\\n') for path in site.getsitepackages()]"
    found = subprocess.run([interpreter, "-ISc", search], capture_output=True, text=True, check=True).stdout.split()
    if not found:
        return [script]
    need_root()
    return in_mount_namespace("\n".join(f"mount --bind /dev/null {library}" for library in found), script)


def test_without_python_prctl_a_subreaper_adopts_by_ctypes(without_python_prctl: list[str]) -> None:
    script = "(sleep 1000 & echo $!); echo done; read -r end"
    with started("-g", "sh", "-c", script, init=without_python_prctl, stdin=-1, stderr=-1) as run:
        orphan = int(run.line())
        assert run.line() == b"done\n"
        wait_until(lambda: status_of(orphan).get("PPid") == str(run.pid), "the orphan to be adopted")
        maps = proc(run.pid, "maps")
        assert maps
        assert b"/_prctl" not in maps
        run.close_stdin()
        run.wait()
        assert run.stderr.read() == b""
        assert run.alive() == []


def test_with_neither_python_prctl_nor_ctypes_a_subreaper_warns_once_and_goes_on(
    without_python_prctl: list[str],
) -> None:
    need_root()
    interpreter = interpreter_of(SCRIPT)
    find = "import importlib.util; print(importlib.util.find_spec('_ctypes').origin)"
    library = subprocess.run([interpreter, "-ISc", find], capture_output=True, text=True, check=True).stdout.strip()
    if not library.startswith("/"):
        missing("a Python whose ctypes can be hidden")
    hide = f"mount --bind /dev/null {library}"
    hidden = in_mount_namespace(hide, *without_python_prctl, "-g", "--")
    with started("sh", "-c", "exit 5", init=hidden, stderr=-1) as run:
        assert run.wait() == 5
        said = run.stderr.read().decode().splitlines()
    assert len(said) == 1
    assert "orphans will not be adopted" in said[0]
    with started("true", init=in_mount_namespace(hide, *without_python_prctl, "-n", "--"), stderr=-1) as run:
        assert run.line(run.stderr).startswith(b"pyinit: --pid-namespace needs ctypes")
        assert run.wait() == 125
    with started("true", init=hidden, stderr=-1, mode="pid1") as run:
        assert run.stderr.read() == b""


@pytest.mark.parametrize("options", [["-w"], ["-vv"], ["--scope", "all"], ["-k", "0.1"], []], ids=str)
def test_a_package_that_is_removed_meanwhile_ends_nothing(mode: Mode, tmp_path: Path, options: list[str]) -> None:
    """As by `pyinit -- pip install --upgrade …`: what the options ask for works, what cannot be done is left out."""
    copy_installation(tmp_path)
    script = "trap 'exit 9' USR1; trap '' TERM TSTP; (read -r _ &) ; echo up; while :; do sleep 0.02; done"
    with started(*options, "sh", "-c", script, init=[str(tmp_path / "bin/pyinit")], mode=mode, stderr=-3) as run:
        run.up()
        settled(run.pid)
        shutil.rmtree(tmp_path / "lib")
        run.send(signal.SIGTERM)
        if "-k" not in options:
            run.send(signal.SIGUSR1)
        assert run.wait() == (137 if "-k" in options else 9)


def test_its_own_limits_stay_as_they_were() -> None:
    with started("sleep", "1000") as run:
        settled(run.pid)
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_STACK):
            assert resource.prlimit(run.pid, kind) == resource.getrlimit(kind)
