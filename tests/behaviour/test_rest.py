"""At rest pyinit is the waiter: what it holds then, and that nothing is lost on the way there and back."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyinit.build import WAYS
from tests.behaviour.launching import copy_installation, in_mount_namespace, launched
from tests.behaviour.programs import build_directory, compiled
from tests.behaviour.stopping import assert_a_trace_stop_is_no_end
from tests.harness import (
    PYINIT,
    Mode,
    children_of,
    missing,
    need,
    need_root,
    started,
    wait_until,
    waits_for_ever,
)

WAITER = PYINIT.parent.parent / "lib/python{}.{}/site-packages/pyinit/waiter".format(*sys.version_info)
# What each signal does to the receiver: it reports it. SIGQUIT takes thought, because a shell may ignore it.
WAKES = signal.SIGQUIT


@pytest.fixture(autouse=True)
def built() -> None:
    """Nothing here is about a pyinit that waits in Python."""
    if not WAITER.exists():
        missing("a pyinit that waits in C")


def is_waiter(pid: int) -> bool:
    """Whether it is, now."""
    return os.readlink(f"/proc/{pid}/exe").endswith("/pyinit/waiter")


def rests(pid: int) -> None:
    """Wait until pyinit is the waiter, and waits: in the middle of execve(2) /proc/PID/exe is the new program's."""
    wait_until(lambda: waits_for_ever(pid) and is_waiter(pid), "the waiter")


@pytest.mark.parametrize(
    ("options", "script"),
    [
        ([], "sleep 1000"),
        (["-g"], "sleep 1000"),
        (["--scope", "all"], "sleep 1000"),
        (["-k", "5"], "sleep 1000"),
        (["-v"], "sleep 1000"),
        (["-a"], "sleep 1000"),
        (["-a"], "sleep 1000 & exit 3"),
        (["-e", "143", "-r", "HUP:TERM"], "sleep 1000"),
    ],
)
def test_it_rests_with_any_option_that_has_nothing_to_watch(mode: Mode, options: list[str], script: str) -> None:
    with started(*options, "sh", "-c", script, mode=mode, stderr=subprocess.DEVNULL) as run:
        rests(run.pid)


def test_it_rests_with_pause_and_with_a_parent_death_signal(mode: Mode) -> None:
    with started("--pause", mode=mode) as run:
        rests(run.pid)
        run.send(signal.SIGHUP)
        run.send(signal.SIGTERM)
        assert run.wait() == 0
    with started("-p", "TERM", "sleep", "1000", init=["sh", "-c", f'{PYINIT} "$@" & read -r _', "sh"], stdin=-1) as run:
        pyinit = run.main_child()
        rests(pyinit)
        run.close_stdin()
        wait_until(lambda: not run.alive(), "the end of pyinit, whose parent has died")


def test_both_processes_of_the_launcher_rest() -> None:
    with launched("sleep", "1000") as run:
        rests(run.pid)
        (inner,) = children_of(run.pid)
        rests(inner)
        run.send(signal.SIGUSR1)
        assert run.wait() == 138


def test_a_command_that_is_traced_and_stopped_has_not_ended(mode: Mode) -> None:
    with started(compiled("traced"), str(int(signal.SIGUSR1)), mode=mode) as run:
        rests(run.pid)
        child = run.main_child()
        run.send(signal.SIGUSR1)
        assert_a_trace_stop_is_no_end(run, child)


def test_signals_that_cpython_ignores_at_its_start_are_not_lost_at_a_wake(mode: Mode) -> None:
    with started(compiled("receiver"), "-1", mode=mode) as run:
        assert run.line().startswith(b"ready")
        for _ in range(20):
            rests(run.pid)
            run.send(signal.SIGSTOP)  # from outside of its namespace
            for signum in (WAKES, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGRTMIN):
                run.send(signum)
            run.send(signal.SIGCONT)
            came = set()
            while signal.SIGRTMIN not in came:
                came.add(int(run.line()))
            assert {WAKES, signal.SIGPIPE, signal.SIGXFSZ} <= came


def test_a_lock_on_stdin_is_held_on(mode: Mode, tmp_path: Path) -> None:
    """Closing any descriptor of a file releases its POSIX locks; see fcntl(2)."""
    wrapper = "import fcntl, os, sys; fcntl.lockf(0, fcntl.LOCK_EX); os.execv(sys.argv[1], sys.argv[1:])"
    with (tmp_path / "lock").open("w+") as file:
        init = [sys.executable, "-c", wrapper, str(PYINIT), "--"]
        with started("sleep", "1000", init=init, stdin=file, mode=mode) as run:
            wait_until(lambda: waits_for_ever(run.pid), "the loop")
            with (tmp_path / "lock").open("r+") as other, pytest.raises(BlockingIOError):
                fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("options", [["-t", "999999999"], ["-k", "999999999"]], ids=str)
def test_it_rests_with_any_time(options: list[str]) -> None:
    with started(*options, "sleep", "1000", stderr=subprocess.STDOUT) as run:
        rests(run.pid)
        run.send(signal.SIGTERM)
        assert run.output() == b""


def test_verbose_names_the_command_that_has_ended_at_rest() -> None:
    with started("-v", "sleep", "1000", stderr=subprocess.STDOUT) as run:
        rests(run.pid)
        command = run.main_child()
        os.kill(command, signal.SIGKILL)
        assert f"the command, PID {command}, ended: killed by SIGKILL" in run.output().decode()


def test_a_python_that_cannot_load_pyinit_any_more_stays_with_the_command(mode: Mode, tmp_path: Path) -> None:
    """As in the middle of an upgrade, which the waiter does not see."""
    copy_installation(tmp_path)
    script = "trap 'exit 5' QUIT; echo up; while :; do sleep 0.02; done"
    init = [str(tmp_path / "bin/pyinit"), "--"]
    with started("sh", "-c", script, init=init, mode=mode, stderr=subprocess.PIPE) as run:
        assert run.line() == b"up\n"
        rests(run.pid)
        (cli,) = tmp_path.rglob("pyinit/cli.py")
        cli.write_text("1/0")
        run.send(WAKES)
        assert run.wait() == 5
        assert run.process.stderr is not None
        assert run.process.stderr.read().count(b"ZeroDivisionError") == 4


def test_at_rest_the_namespace_dies_with_its_launcher() -> None:
    with launched("sleep", "1000") as run:
        rests(run.pid)
        (inner,) = children_of(run.pid)
        rests(inner)
        run.send(signal.SIGKILL)
        wait_until(lambda: not run.alive(), "the end of the namespace")


@pytest.mark.parametrize("options", [["-w"], ["-vv"]], ids=str)
def test_it_does_not_rest_where_there_is_something_to_say(options: list[str]) -> None:
    with started(*options, "sleep", "1000", stderr=subprocess.DEVNULL) as run:
        wait_until(lambda: waits_for_ever(run.pid), "the loop")
        assert not is_waiter(run.pid)


@pytest.mark.parametrize("obstacle", ["noexec", "removed", "another machine's", "no permission"])
def test_where_the_waiter_cannot_be_started_python_stays(mode: Mode, obstacle: str, tmp_path: Path) -> None:
    need_root()
    copy_installation(tmp_path)
    (waiter,) = tmp_path.rglob("pyinit/waiter")
    init = [str(tmp_path / "bin/pyinit"), "--"]
    if obstacle == "noexec":
        script = f"mount --bind {waiter.parent} {waiter.parent}; mount -o remount,bind,noexec {waiter.parent}"
        init = in_mount_namespace(script, *init)
    elif obstacle == "removed":
        waiter.unlink()
    elif obstacle == "another machine's":
        waiter.write_bytes(b"\x7fELF" + bytes(100))
    else:
        waiter.chmod(0o644)
    script = "trap 'exit 5' TERM; echo up; cat; while :; do sleep 0.02; done"
    with started("sh", "-c", script, init=init, mode=mode, stdin=-1, stderr=subprocess.STDOUT) as run:
        assert run.line() == b"up\n"
        wait_until(lambda: waits_for_ever(run.pid), "the loop")
        assert not is_waiter(run.pid)
        assert os.readlink(f"/proc/{run.pid}/fd/0").startswith("pipe:")
        run.close_stdin()
        run.send(signal.SIGTERM)
        assert run.wait() == 5


def test_words_environment_and_descriptors_stay_as_they_were(mode: Mode, tmp_path: Path) -> None:
    environment = {"LC_CTYPE": "C", "PATH": os.environ["PATH"], "odd": "\udcff=\n", "EMPTY": ""}
    words = ["sleep", "1000"]
    with started("-g", "--", *words, mode=mode, env=environment, stdin=subprocess.PIPE) as run:
        rests(run.pid)
        interpreter, flags = PYINIT.read_text().partition("\n")[0].removeprefix("#!").split()
        as_typed = [interpreter, flags, str(PYINIT), "-g", "--", *words]
        (command,) = children_of(run.pid)
        assert Path(f"/proc/{run.pid}/cmdline").read_bytes() == "".join(f"{word}\0" for word in as_typed).encode()
        assert Path(f"/proc/{run.pid}/environ").read_bytes() == Path(f"/proc/{command}/environ").read_bytes()
        assert Path(f"/proc/{run.pid}/comm").read_text() == "pyinit\n"
        assert os.readlink(f"/proc/{run.pid}/cwd") == "/"
        fds = sorted(os.listdir(f"/proc/{run.pid}/fd"))
        assert fds == ["0", "1", "2"]
        for fd in fds:
            assert os.readlink(f"/proc/{run.pid}/fd/{fd}") == os.readlink(f"/proc/{command}/fd/{fd}")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_stay_closed(mode: Mode, closed: str) -> None:
    init = ["sh", "-c", f'exec "$0" "$@" {closed}', str(PYINIT), "--"]
    with started("sleep", "1000", init=init, mode=mode) as run:
        rests(run.pid)
        (command,) = children_of(run.pid)
        wait_until(lambda: os.listdir(f"/proc/{run.pid}/fd") == os.listdir(f"/proc/{command}/fd"), "the same ones")
        run.send(WAKES)
        assert run.wait() == 131


def test_a_relative_script_wakes_up_too(tmp_path: Path) -> None:
    init = [f"./{PYINIT.name}", "--"]
    with started("sleep", "1000", init=init, cwd=PYINIT.parent) as run:
        rests(run.pid)
        run.send(WAKES)
        assert run.wait() == 131


def test_at_rest_it_holds_next_to_nothing(mode: Mode) -> None:
    """Pages of its own, without those of its program, which a file written just now is one."""
    with started("sleep", "1000", mode=mode) as run:
        rests(run.pid)
        smaps = Path(f"/proc/{run.pid}/smaps").read_text().split("\n")
        mappings = [line for line in smaps if "-" in line.split(" ")[0]]
        assert [line.split()[-1] for line in mappings if "[v" not in line] == [mappings[0].split()[-1], "[stack]"]
        assert mappings[0].endswith("/pyinit/waiter")


def storm(pid: int, count: int, *signums: int) -> None:
    subprocess.run([compiled("sender"), str(pid), str(count), *(str(int(signum)) for signum in signums)], check=True)


def test_nothing_is_lost_over_fifty_cycles_of_rest(mode: Mode) -> None:
    """10,000 mixed signals, the real-time ones of which are counted, and 2,000 orphans."""
    cycles, each = 50, 200
    mix = [
        signal.SIGRTMIN,
        signal.SIGUSR1,
        signal.SIGRTMIN + 1,
        signal.SIGHUP,
        WAKES,
        signal.SIGWINCH,
        signal.SIGRTMIN + 2,
    ]
    mix.append(signal.SIGURG)
    script = 'exec 3<&0; (while read -r _; do for n in 1 2 3 4; do (true &); done; done) <&3 & exec "$0" -1 </dev/null'
    counted = {signum: 0 for signum in mix if signum >= signal.SIGRTMIN}
    with started("sh", "-c", script, compiled("receiver"), mode=mode, stdin=subprocess.PIPE) as run:
        assert run.line().startswith(b"ready")
        assert run.process.stdin is not None
        for _ in range(cycles):
            rests(run.pid)
            run.process.stdin.write(b"\n" * 10)
            run.process.stdin.flush()
            storm(run.pid, each, *mix)
            storm(run.pid, 1, signal.SIGRTMAX)  # is taken after all others
            while (came := int(run.line())) != signal.SIGRTMAX:
                if came in counted:
                    counted[came] += 1
        wait_until(lambda: len(children_of(run.pid)) == 1, "no zombie")
        assert counted == dict.fromkeys(counted, cycles * each // len(mix))


def test_a_signal_at_any_moment_of_a_hand_over_is_forwarded(mode: Mode) -> None:
    """A stop signal wakes it, 20 ms without a signal let it rest: the second signal comes at every time in between."""
    with started(compiled("receiver"), "-1", mode=mode) as run:
        assert run.line().startswith(b"ready")
        for after in range(0, 40_000, 200):  # microseconds
            rests(run.pid)
            run.send(WAKES)
            time.sleep(after / 1e6)
            run.send(signal.SIGRTMIN)
            assert {int(run.line()), int(run.line())} == {WAKES, signal.SIGRTMIN}


def test_a_death_at_any_moment_of_a_hand_over_gives_its_status(mode: Mode) -> None:
    for after in range(0, 40_000, 400):
        with started("sh", "-c", f"sleep {after / 1e6}; exit 7", mode=mode) as run:
            assert run.wait() == 7


@pytest.mark.parametrize("gone", ["interpreter", "script", "package"])
def test_what_cannot_be_woken_ends_what_is_left_itself(mode: Mode, gone: str, tmp_path: Path) -> None:
    copy_installation(tmp_path)
    interpreter = tmp_path / "bin" / "python3"
    script = tmp_path / "bin" / "pyinit"
    shutil.copy(os.path.realpath(sys.executable), interpreter)
    _, _, rest = script.read_text().partition("\n")
    script.write_text(f"#!{interpreter} -ISXutf8\n{rest}")
    heeds = "(trap 'echo told; exit' TERM; echo up; while :; do sleep 0.02; done) &"
    words = ["-t", "0.5", "sh", "-c", f"{heeds} (trap '' TERM; echo up; exec sleep 1000) & read -r _; exit 9"]
    with started(*words, init=[str(script)], mode=mode, stdin=subprocess.PIPE) as run:
        assert run.line() == run.line() == b"up\n"
        rests(run.pid)
        if gone == "package":
            shutil.rmtree(tmp_path / "lib")
        else:
            {"interpreter": interpreter, "script": script}[gone].rename(tmp_path / "moved")
        run.close_stdin()
        assert run.wait() == 9
        assert run.alive() == []
        assert run.process.stdout is not None
        assert run.process.stdout.read() == b"told\n"


def test_what_cannot_be_woken_still_forwards_and_bounds_a_stop(mode: Mode, tmp_path: Path) -> None:
    copy_installation(tmp_path)
    for options, script, status in (
        (["-g"], "trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done", 5),
        (["--scope", "all"], "trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done", 5),
        (["-k", "0.3"], "trap '' TERM; echo up; while :; do sleep 0.02; done", 137),
    ):
        home = tmp_path / options[0]
        copy_installation(home)
        with started(*options, "--", "sh", "-c", script, init=[str(home / "bin/pyinit")], mode=mode) as run:
            assert run.line() == b"up\n"
            rests(run.pid)
            shutil.rmtree(home / "lib")
            run.send(signal.SIGTERM)
            assert run.wait() == status
            assert run.alive() == []


def test_the_word_of_the_waiter_is_no_option_for_others() -> None:
    for word in ("--woken=", "--woken=1,2", "--woken=" + ",".join(["1"] * 10)):
        with started(word, "true", stderr=subprocess.PIPE) as run:
            assert run.process.stderr is not None
            assert b"no option" in run.process.stderr.read()
            assert run.wait() == 125


# Starts a waiter as rest.py does, as the main child's parent: argv[1] is how, argv[2] the waiter.
STANDS_IN = """
import os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
ready, go = os.pipe()
child = os.fork()
if child == 0:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    os.write(go, b"!")
    while True:
        time.sleep(0.05)
os.read(ready, 1)
plan = list(range(65))
orders = [0, 0, child, child, 0, 0, 0, 1, -1]
reader, writer = os.pipe()
os.write(writer, b"".join(number.to_bytes(4, "little", signed=True) for number in orders)
    + b"".join(order.to_bytes(2, "little") for order in plan) + b"/nonexistent\\0\\0")
os.dup2(reader, 0)
print("up", flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_it_runs_on_arm64() -> None:
    """Built by the cross compiler, with and without a C library, and run by qemu-user."""
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    for number, way in enumerate(WAYS[:2]):
        waiter = build_directory() / f"waiter-arm64-{number}"
        source = Path(__file__).parents[2] / "pyinit/waiter.c"
        subprocess.run(["aarch64-linux-gnu-gcc", *way.split(), "-o", waiter, source], check=True)
        init = [sys.executable, "-c", STANDS_IN, shutil.which("qemu-aarch64") or "", str(waiter)]
        with started(init=init) as run:
            assert run.line() == b"up\n"
            run.send(signal.SIGTERM)
            assert run.wait() == 7


@pytest.mark.parametrize("way", range(3))
def test_each_way_to_build_it_gives_the_same_waiter(way: int) -> None:
    waiter = build_directory() / f"waiter-{way}"
    source = Path(__file__).parents[2] / "pyinit/waiter.c"
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", *WAYS[way].split(), "-o", waiter, source], check=True)
    with started(init=[sys.executable, "-c", STANDS_IN, str(waiter)]) as run:
        assert run.line() == b"up\n"
        run.send(signal.SIGTERM)
        assert run.wait() == 7
