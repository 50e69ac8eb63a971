"""PID 1 is the C program, from its first instruction on or after Python: what it holds, and that nothing is lost."""

import fcntl
import os
import platform
import signal
import subprocess
import time
from pathlib import Path

import pytest

from build_steps import SOURCE, WAYS
from tests.contract.test_status import assert_a_trace_stop_is_no_end
from tests.copies import copy_installation, in_mount_namespace
from tests.harness import (
    CHECKOUT,
    PYINIT,
    PYTHON,
    Mode,
    Rounds,
    children_of,
    files_of,
    link,
    name_of,
    need,
    need_root,
    pid_one_below,
    proc,
    started,
    status_of,
    wait_until,
    waits_for_a_signal,
    waits_for_ever,
)
from tests.programs import build_directory, compiled, recorder
from tests.shell import CONTAINER, CTRL_C, terminal

pytestmark = pytest.mark.c_program


def is_c(pid: int) -> bool:
    """Whether it is the C program, now."""
    return link(pid, "exe").endswith(("/bin/pyinit", "/native/waiter"))


def rests(pid: int) -> None:
    """Wait until pyinit is the C program, and waits without end."""
    wait_until(lambda: waits_for_ever(pid) and is_c(pid), "the C program")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-s"],
        ["-k", "5"],
        ["-t", "999999999"],
        ["-k", "999999999"],
        ["-e", "143", "-r", "HUP:TERM"],
        ["-c"],
        ["--json-status-fd", "0"],
    ],
    ids=str,
)
def test_it_waits_in_c_with_any_option_that_is_a_number_or_a_row_of_a_table(mode: Mode, options: list[str]) -> None:
    with (
        open(os.devnull, "w") as stdin,
        started(*options, "sleep", "1000", mode=mode, stdin=stdin, stderr=subprocess.STDOUT) as run,
    ):
        rests(run.pid)
        run.send(signal.SIGHUP if "-r" in options else signal.SIGTERM)
        assert run.wait() == (0 if "-e" in options else 143)
        assert run.output() == b""


@pytest.mark.parametrize("options", [["-w"], ["-v"], ["-a"], ["-g"], ["--scope", "all"]])
def test_python_stays_if_there_is_something_to_say_or_others_to_signal(options: list[str]) -> None:
    with started(*options, "sleep", "1000", stderr=subprocess.DEVNULL) as run:
        wait_until(lambda: waits_for_ever(run.pid), "the loop")
        assert not is_c(run.pid)


@pytest.mark.parametrize("options", [[], ["-t", "5"], ["-n"]], ids=str)
def test_it_waits_in_c_as_the_leader_of_a_terminal_s_session(mode: Mode, options: list[str]) -> None:
    with terminal(*(CONTAINER if mode == "pid1" else []), PYINIT, *options, "cat") as run:
        run.echoes("hello")
        pyinit = next(pid for pid in run.named("pyinit") if os.getsid(pid) == pid)
        rests(pyinit)
        assert run.foreground() == run.the("cat")
        run.type(CTRL_C)
        assert run.wait() == 130


def test_python_stays_in_a_job_of_a_shell() -> None:
    with terminal("sh", "-c", f"{PYINIT} cat; true") as run:
        run.echoes("hello")
        wait_until(lambda: waits_for_ever(run.the("pyinit")), "the loop")
        assert not is_c(run.the("pyinit"))


def test_it_waits_in_c_with_pause_and_with_a_parent_death_signal(mode: Mode) -> None:
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


def test_both_processes_of_the_launcher_wait_in_c() -> None:
    with started("sleep", "1000", mode="launcher") as run:
        rests(run.pid)
        inner = pid_one_below(run.pid)
        rests(inner)
        run.send(signal.SIGUSR1)
        assert run.wait() == 138


def test_at_rest_the_namespace_dies_with_its_launcher() -> None:
    with started("sleep", "1000", mode="launcher") as run:
        rests(run.pid)
        inner = pid_one_below(run.pid)
        rests(inner)
        run.send(signal.SIGKILL)
        wait_until(lambda: not run.alive(), "the end of the namespace")


def test_a_command_that_is_traced_and_stopped_has_not_ended(mode: Mode) -> None:
    with started(compiled("traced"), str(int(signal.SIGUSR1)), mode=mode) as run:
        rests(run.pid)
        child = run.main_child()
        wait_until(lambda: waits_for_ever(child), "the command to wait for it")
        run.send(signal.SIGUSR1)
        assert_a_trace_stop_is_no_end(run, child)


@pytest.mark.parametrize("options", [[], ["-t", "5"]], ids=str)
def test_the_dispositions_that_cpython_changes_reach_the_command_as_they_were(mode: Mode, options: list[str]) -> None:
    """Also if Python starts the command."""
    for ignored in ("PIPE", "XFSZ", "CHLD", ""):
        init = ["env", f"--ignore-signal={ignored}" if ignored else "--default-signal", str(PYINIT), *options, "--"]
        with started("cat", "/proc/self/status", init=init, mode=mode) as run:
            (line,) = [line for line in run.output().splitlines() if line.startswith(b"SigIgn:")]
        mask = int(line.split()[1], 16)
        names = [name for name in ("PIPE", "XFSZ", "CHLD") if mask >> (getattr(signal, f"SIG{name}") - 1) & 1]
        assert names == ([ignored] if ignored else [])


@pytest.mark.parametrize("options", [[], ["-t", "5"]], ids=str)
@pytest.mark.parametrize("descriptor", ["the one", "another"])
def test_a_lock_on_stdin_is_held_on(mode: Mode, tmp_path: Path, options: list[str], descriptor: str) -> None:
    """Closing any descriptor of a file releases its POSIX locks, whichever has made them; see fcntl(2)."""
    wrapper = "import fcntl, os, sys; fcntl.lockf(0, fcntl.LOCK_EX); "
    if descriptor == "another":
        wrapper += "os.set_inheritable(os.open(sys.argv.pop(), os.O_RDWR), True); "
    wrapper += "os.execv(sys.argv[1], sys.argv[1:])"
    with (tmp_path / "lock").open("w+") as file:
        init = [PYTHON, "-c", wrapper, str(PYINIT), *options, "--"]
        words = ["sleep", "1000", *([str(tmp_path / "lock")] if descriptor == "another" else [])]
        with started(*words, init=init, stdin=file, mode=mode) as run:
            wait_until(lambda: waits_for_ever(run.pid), "the loop")
            with (tmp_path / "lock").open("r+") as other, pytest.raises(BlockingIOError):
                fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("obstacle", ["noexec", "removed", "another machine's", "no permission"])
def test_python_stays_if_the_c_program_cannot_be_started(mode: Mode, obstacle: str, tmp_path: Path) -> None:
    """And `pyinit -V` knows it."""
    need_root()
    copy_installation(tmp_path)
    (waiter,) = tmp_path.rglob("pyinit/native/waiter")
    pyinit = [str(tmp_path / "bin/pyinit")]
    if obstacle == "noexec":
        script = f"mount --bind {waiter.parent} {waiter.parent}; mount -o remount,bind,noexec {waiter.parent}"
        pyinit = in_mount_namespace(script, *pyinit)
    elif obstacle == "removed":
        waiter.unlink()
    elif obstacle == "another machine's":
        waiter.write_bytes(b"\x7fELF" + bytes(100))
    else:
        waiter.chmod(0o644)
    script = "trap 'exit 5' TERM; echo up; cat; while :; do sleep 0.02; done"
    with started("-t", "5", "sh", "-c", script, init=pyinit, mode=mode, stdin=-1, stderr=subprocess.STDOUT) as run:
        run.up()
        wait_until(lambda: waits_for_ever(run.pid), "the loop")
        assert not is_c(run.pid)
        assert link(run.pid, "fd/0").startswith("pipe:")
        run.close_stdin()
        run.send(signal.SIGTERM)
        assert run.wait() == 5
    assert b"(waits in Python)" in subprocess.run([*pyinit, "-V"], stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("options", [[], ["-t", "5"]], ids=str)
def test_words_environment_and_descriptors_stay_as_they_were(mode: Mode, options: list[str]) -> None:
    environment = {"LC_CTYPE": "C", "PATH": os.environ["PATH"], "odd": "\udcff=\n", "EMPTY": ""}
    words = [*options, "--", "sleep", "1000"]
    with started(*words, mode=mode, env=environment, stdin=subprocess.PIPE) as run:
        rests(run.pid)
        (command,) = children_of(run.pid)
        as_typed = ["pyinit" if options else str(PYINIT), *words]
        assert proc(run.pid, "cmdline") == "".join(f"{word}\0" for word in as_typed).encode()
        assert proc(run.pid, "environ") == proc(command, "environ")
        assert name_of(run.pid) == "pyinit"
        assert link(run.pid, "cwd") == "/"
        assert sorted(files_of(run.pid)) == [0, 1, 2]
        assert files_of(run.pid) == files_of(command)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("options", [[], ["-t", "5"]], ids=str)
def test_closed_standard_descriptors_stay_closed(mode: Mode, closed: str, options: list[str]) -> None:
    init = ["sh", "-c", f'exec "$0" "$@" {closed}', str(PYINIT), *options, "--"]
    with started("sleep", "1000", init=init, mode=mode) as run:
        rests(run.pid)
        (command,) = children_of(run.pid)
        wait_until(lambda: files_of(run.pid) == files_of(command), "the same ones")
        run.send(signal.SIGQUIT)
        assert run.wait() == 131


def test_it_holds_next_to_nothing(mode: Mode) -> None:
    """Pages of its own, without those of its program, which a file written just now is one."""
    with started("sleep", "1000", mode=mode) as run:
        rests(run.pid)
        smaps = proc(run.pid, "smaps").decode().split("\n")
        mapped = {line.split()[-1] for line in smaps if "-" in line.split(" ")[0] and "[v" not in line}
        assert mapped <= {str(PYINIT), "[stack]", "0"}
        assert int(status_of(run.pid)["VmRSS"].split()[0]) <= 40


def storm(pid: int, count: int, *signums: int) -> None:
    subprocess.run([compiled("sender"), str(pid), str(count), *(str(int(signum)) for signum in signums)], check=True)


def test_nothing_is_lost_in_a_storm(mode: Mode) -> None:
    """10,000 mixed signals, the real-time ones of which are counted, and 2,000 orphans."""
    rounds, each = 50, 200
    mix = [signal.SIGRTMIN, signal.SIGUSR1, signal.SIGRTMIN + 1, signal.SIGHUP, signal.SIGWINCH, signal.SIGRTMIN + 2]
    mix += [signal.SIGURG, signal.SIGRTMIN + 3]
    script = 'exec 3<&0; (while read -r _; do for n in 1 2 3 4; do (true &); done; done) <&3 & exec "$@" </dev/null'
    counted = {signum: 0 for signum in mix if signum >= signal.SIGRTMIN}
    with started("sh", "-c", script, "sh", *recorder(), mode=mode, stdin=subprocess.PIPE) as run:
        run.up()
        for _ in range(rounds):
            run.stdin.write(b"\n" * 10)
            storm(run.pid, each, *mix)
            storm(run.pid, 1, signal.SIGRTMAX)  # is taken after all others
            while (came := run.got()) != signal.SIGRTMAX:
                if came in counted:
                    counted[came] += 1
        wait_until(lambda: len(children_of(run.pid)) == 1, "no zombie")
        assert counted == dict.fromkeys(counted, rounds * each // len(mix))


def takes_signals(pid: int) -> bool:
    """Whether pyinit loses no signal: it blocks it, or waits for it, and is not shown to block it meanwhile.

    unshare(1) blocks it for a moment, too.
    """
    is_blocked = int(status_of(pid).get("SigBlk", "0"), 16) >> (signal.SIGTERM - 1) & 1
    return not link(pid, "exe").endswith("/unshare") and bool(is_blocked or waits_for_a_signal(pid))


@pytest.mark.parametrize("options", [[], ["-t", "5"]], ids=str)
def test_a_signal_at_any_moment_of_the_start_is_forwarded(options: list[str], rounds: Rounds) -> None:
    """As PID 1: what it neither blocks nor handles the kernel would drop."""
    need_root()
    times = rounds(5, 100)
    for number in range(times):
        with started(*options, *recorder(), mode="pid1", stderr=subprocess.DEVNULL) as run:
            while not takes_signals(run.pid):
                assert run.process.poll() is None
            time.sleep(number * 0.02 / times)
            run.send(signal.SIGTERM)
            if run.line() == b"up\n":
                assert run.got() == signal.SIGTERM
            else:
                assert run.wait() == 143


def test_a_death_at_any_moment_of_the_start_gives_its_status(mode: Mode, rounds: Rounds) -> None:
    times = rounds(8, 200)
    for number in range(times):
        with started("-t", "5", "sh", "-c", f"sleep {number * 0.02 / times}; exit 7", mode=mode) as run:
            assert run.wait() == 7


def test_the_word_of_the_c_program_is_no_option_for_others() -> None:
    for word in ("--told=", "--told=1,2", "--told=" + ",".join(["1"] * 7)):
        with started(word, "true", stderr=subprocess.PIPE) as run:
            assert b"no option" in run.stderr.read()
            assert run.wait() == 125


def built_by(compiler: str, *flags: str) -> str:
    """The path of the C program, built by this compiler with these flags; a warning is an error."""
    need(compiler)
    program = build_directory() / f"{compiler}-{abs(hash(flags))}"
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", *flags, "-o", program, CHECKOUT / SOURCE], check=True)
    return str(program)


def assert_it_works(*init: str, mode: Mode = "pid1") -> None:
    """It forwards, reaps an orphan and passes the status on."""
    script = "trap 'exit 7' TERM; (true &); echo up; while :; do sleep 0.02; done"
    with started("sh", "-c", script, init=[*init, "--"], mode=mode) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.wait() == 7


# What distributions put in front of a package's own flags.
HARDENING = "-O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE -Wformat"


# Each compiler with each way, and what stands in front with one. clang takes LLVM's linker plug-in for -flto.
BUILT = [(compiler, way, "") for compiler in ("gcc", "clang") for way in WAYS]
BUILT += [
    ("gcc", WAYS[0], "-flto"),
    ("gcc", WAYS[-1], "-flto"),
    ("gcc", WAYS[0], HARDENING),
    ("clang", WAYS[0], HARDENING),
]


@pytest.mark.parametrize(("compiler", "way", "own"), BUILT)
def test_each_way_to_build_it_gives_the_same_program(compiler: str, way: str, own: str) -> None:
    need_root()
    quiet = ["-Wno-unused-command-line-argument"] if compiler == "clang" else []
    assert_it_works(built_by(compiler, *quiet, *own.split(), *way.split()))


@pytest.mark.skipif(platform.machine() == "aarch64", reason="all other tests run it there")
def test_it_runs_on_arm64() -> None:
    """Built by the cross compiler, with and without a C library, and run by qemu-user."""
    need_root()
    need("qemu-aarch64")
    for way in WAYS[:2]:
        assert_it_works("qemu-aarch64", built_by("aarch64-linux-gnu-gcc", *way.split()))


@pytest.mark.parametrize("compiler", ["there-is-none", "gcc"])
def test_a_compiler_that_is_not_there_is_replaced_by_cc(compiler: str, tmp_path: Path) -> None:
    build = "import sys; from pathlib import Path; from build_steps import compile_program as c; c(Path(sys.argv[1]))"
    environment = {**os.environ, "CC": compiler}
    subprocess.run([PYTHON, "-c", build, str(tmp_path / "program")], check=True, cwd=CHECKOUT, env=environment)
    assert (tmp_path / "program").exists()
