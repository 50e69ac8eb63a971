"""--pid-namespace: what the command sees of its namespace, what is seen of it outside, statuses and signals."""

import functools
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.copies import NOBODY, in_mount_namespace
from tests.harness import (
    BASE_PYTHON,
    PYINIT,
    Rounds,
    children_of,
    command_below,
    link,
    need_root,
    pid_one_below,
    proc,
    started,
    status_of,
    wait_until,
)
from tests.namespace.launching import LAUNCHER, run, somebody
from tests.programs import recorder

CATCHABLE = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
DEADLY = [s for s in CATCHABLE if s not in (17, 18, 20, 21, 22, 23, 28)]  # CHLD, CONT, TSTP, TTIN, TTOU, URG, WINCH


def test_the_command_is_alone_with_pid_1_in_a_proc_of_its_own(launcher: list[str]) -> None:
    named = "until read -r name <1/comm; [ $name = pyinit ]; do :; done"  # it has another name for a moment
    status, output = run(f"cd /proc; echo $$ $PPID [0-9]*; {named}; echo end", init=launcher)
    assert output.decode().split("\n") == ["2 0 1 2", "end", ""]
    assert status == 0


def test_the_new_proc_has_no_setuid_programs_and_no_devices(launcher: list[str]) -> None:
    _, output = run("tail -n 1 /proc/self/mountinfo", init=launcher)
    fields = output.decode().split()
    assert fields[4] == "/proc"
    assert {"nosuid", "nodev", "noexec"} <= set(fields[5].split(","))
    assert "shared" not in output.decode()
    assert fields[-3] == "proc"


def test_only_a_user_who_lacks_the_privilege_gets_a_user_namespace(launcher: list[str]) -> None:
    with started("sleep", "1000", init=launcher) as process:
        command = process.command()
        for name in ("pid", "mnt"):
            assert link(command, f"ns/{name}") != link("self", f"ns/{name}")
        privileged = launcher is LAUNCHER and os.geteuid() == 0
        assert (link(command, "ns/user") == link("self", "ns/user")) == privileged
        for name in ("net", "ipc", "uts", "cgroup"):
            assert link(command, f"ns/{name}") == link("self", f"ns/{name}")


@pytest.mark.parametrize("shared", ["/", "the mount point"])
def test_what_is_mounted_inside_is_never_seen_outside(tmp_path: Path, shared: str) -> None:
    need_root()
    mount_point = tmp_path / "mount-point"
    mount_point.mkdir()
    (mount_point / "below").mkdir()
    share = f"mount -t tmpfs outside {mount_point}; mkdir {mount_point}/below; mount --make-rshared "
    outer = in_mount_namespace(share + ("/" if shared == "/" else str(mount_point)))
    script = f"mount -t tmpfs inside {mount_point}/below; mount -t tmpfs inside /mnt; echo mounted; exec sleep 1000"
    with started("sh", "-c", script, init=[*outer, *LAUNCHER]) as process:
        assert process.line() == b"mounted\n"
        inside = proc(process.command(), "mountinfo").decode()
        outside = proc(process.pid, "mountinfo").decode()
        assert inside.count(" - tmpfs inside ") == 2
        assert " shared:" in outside
        assert " shared:" not in inside
        assert "tmpfs inside" not in outside
        assert (
            len(re.findall(r" /proc (?=.* - proc )", outside)) == len(re.findall(r" /proc (?=.* - proc )", inside)) - 1
        )


def test_what_is_mounted_and_unmounted_outside_afterwards_is_followed(tmp_path: Path) -> None:
    """Or an unmounted disk would stay busy for as long as the namespace lives."""
    need_root()
    mounted, unmounted = tmp_path / "mounted", tmp_path / "unmounted"
    mounted.mkdir()
    unmounted.mkdir()
    outer = in_mount_namespace(f"mount --make-rshared /; mount -t tmpfs early {unmounted}")
    with started("sh", "-c", "echo up; exec sleep 1000", init=[*outer, *LAUNCHER]) as process:
        process.up()
        enter = ["nsenter", "--mount", f"--target={process.pid}", "sh", "-c"]
        subprocess.run([*enter, f"mount -t tmpfs late {mounted} && umount {unmounted}"], check=True)
        inside = proc(process.command(), "mountinfo").decode()
        assert " - tmpfs late " in inside
        assert " - tmpfs early " not in inside


def test_a_user_namespace_changes_no_mount_outside() -> None:
    need_root()
    with somebody(NOBODY, NOBODY) as user:
        outer = in_mount_namespace("mount --make-rshared /")
        with started("sh", "-c", "echo up; exec sleep 1000", init=[*outer, *user.launcher]) as process:
            before = proc("self", "mountinfo").decode().count("\n")
            process.up()
            assert proc(process.pid, "mountinfo").decode().count("\n") == before
            assert proc(process.command(), "mountinfo").decode().count("\n") == before + 1


@pytest.mark.parametrize("where", ["plain", "namespace"])
def test_the_command_sees_what_it_would_have_seen_without_a_namespace(tmp_path: Path, where: str) -> None:
    """All that can be seen in one process: open files, mask, dispositions, limits, environment, cwd, umask."""
    script = (
        "cd /proc/self/fd; echo *; cd - >/dev/null; umask; pwd; ulimit -n; env | sort | grep -v PYINIT_TEST;"
        "grep -E '^(Sig(Blk|Ign|Cgt)|Cap|Groups|Uid|Gid|NoNewPrivs|Seccomp)' /proc/self/status"
    )
    env = {"PATH": os.environ["PATH"], "LC_ALL": "", "LANG": "C", "PYTHONPATH": str(tmp_path)}
    init = [str(PYINIT)] if where == "plain" else LAUNCHER
    extra = os.open("/dev/null", os.O_RDONLY)
    popen: dict[str, Any] = {"cwd": tmp_path, "umask": 0o27, "pass_fds": [extra], "stderr": subprocess.STDOUT}
    with started("--", "sh", "-c", script, init=init, env=env, **popen) as process:
        seen = process.output()
    with started("-c", script, init=["sh"], env=env, **popen) as process:
        expected = process.output()
    os.close(extra)
    assert seen.decode().splitlines() == expected.decode().splitlines()


def test_every_exit_status_passes_out_unchanged(rounds: Rounds) -> None:
    statuses = range(0, 256, rounds(15, 1))

    def exit_status(status: int) -> int:
        return subprocess.run([*LAUNCHER, "sh", "-c", f"exit {status}"], check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(exit_status, statuses)) == list(statuses)


def test_a_command_killed_by_any_signal_gives_128_and_its_number() -> None:
    def exit_status(signum: int) -> int:
        script = f"ulimit -c 0; kill -{int(signum)} $$"
        return subprocess.run([*LAUNCHER, "sh", "-c", script], check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(exit_status, [*DEADLY, 9])) == [128 + signum for signum in [*DEADLY, 9]]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["/nowhere/at-all"], 127, "/nowhere/at-all: not found"),
        (["pyinit-no-such-command"], 127, "pyinit-no-such-command: not found in PATH"),
        (["/etc/passwd"], 126, "/etc/passwd: permission denied"),
        (["/"], 126, "/: it is a directory"),
        ([], 125, "no command given"),
    ],
)
def test_a_command_that_cannot_be_started_gets_one_line_and_its_status(
    words: list[str], status: int, message: str
) -> None:
    with started(*words, mode="launcher", stderr=subprocess.STDOUT) as process:
        lines = process.output().decode().splitlines()
        assert process.wait() == status
    assert len(lines) == 1
    assert lines[0].startswith(f"pyinit: {message}")


def test_options_are_applied_once_and_by_the_inner() -> None:
    """A status remapped, a signal rewritten twice over, would come out wrong."""
    options = ["--remap-exit", "3", "--rewrite", "USR1:USR2", "--rewrite", "USR2:HUP"]
    with started(*options, "sh", "-c", "exit 3", mode="launcher") as process:
        assert process.wait() == 0
    with started(*options, *recorder("SIGKILL"), mode="launcher") as process:
        process.up()
        process.send(signal.SIGUSR1)
        assert process.got() == signal.SIGUSR2


def test_every_signal_sent_to_the_launcher_reaches_the_command(launcher: list[str]) -> None:
    with started(*recorder("SIGKILL"), init=launcher) as process:
        process.up()
        for signum in CATCHABLE:
            process.send(signum)
            assert process.got() == signum


def test_a_signal_sent_at_once_reaches_the_command() -> None:
    """It is sent when the kernel has just executed pyinit. Blocked from the start, it cannot end anything itself.

    CPython ignores SIGPIPE and SIGXFSZ before it runs the first line, by which the kernel forgets a pending one.
    """
    early = [signum for signum in CATCHABLE if signum not in (signal.SIGPIPE, signal.SIGXFSZ)]

    def came(signum: int) -> int:
        with started(*recorder("SIGKILL"), mode="launcher", preexec_fn=block_signals) as process:
            process.send(signum)
            process.up()
            return process.got()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(came, early)) == early


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def test_a_signal_at_any_moment_of_the_start_ends_what_was_started(rounds: Rounds) -> None:
    """Not blocked: it ends Python itself before the first line of pyinit, and the command after."""
    times = rounds(24, 240)

    def outcome(moment: float) -> int:
        with started("sleep", "1000", mode="launcher") as process:
            time.sleep(moment)  # not a wait for anything: it is where in the start the signal falls
            process.send(signal.SIGTERM)
            return process.wait()

    with ThreadPoolExecutor(4) as pool:
        moments = [n * 0.06 / times for n in range(times)]
        assert set(pool.map(outcome, moments)) == {128 + signal.SIGTERM}


def test_a_shell_inside_does_not_swallow_sigterm(launcher: list[str]) -> None:
    with started("sh", "-c", "echo up; sleep 1000; true", init=launcher) as process:
        process.up()
        process.send(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


def test_orphans_are_reaped_and_what_the_command_leaves_is_ended(launcher: list[str]) -> None:
    script = "for i in 1 2 3 4 5; do sh -c 'sleep 0.05 & echo $!'; done; (exec setsid sleep 1000) & echo up; read line"
    with started("sh", "-c", script, init=launcher, stdin=subprocess.PIPE) as process:
        while process.line() != b"up\n":
            pass
        inner = pid_one_below(process.pid)
        wait_until(lambda: len(children_of(inner)) == 0, "PID 1 to reap its orphans")
        process.close_stdin()
        assert process.wait() == 1
        wait_until(lambda: not process.alive(), "the end of what the command left")


def test_pause_holds_a_namespace_with_no_command_in_it() -> None:
    with started("--pause", init=LAUNCHER) as process:
        inner = pid_one_below(process.pid)
        assert link(inner, "ns/pid") != link("self", "ns/pid")
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_the_launcher_works_where_the_standard_descriptors_are_closed() -> None:
    for closed in ("<&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"):
        command = [BASE_PYTHON, "-I", "-c", "import os; os._exit(os.path.exists('/proc/1/comm') * 7)"]
        with started(*LAUNCHER, *command, init=["sh", "-c", f'exec "$@" {closed}', "sh"]) as process:
            assert process.wait() == 7


def test_three_deep_the_status_and_the_signals_pass_through(launcher: list[str]) -> None:
    script = "trap 'exit 42' USR1; echo up; while :; do sleep 0.01; done"
    pyinit = launcher[-2:]
    with started(*pyinit, "--", *pyinit, "--", "sh", "-c", script, init=launcher) as process:
        process.up()
        pid = process.pid
        for _ in range(3):
            pid = wait_until(functools.partial(command_below, pid), "the command")
        assert len(status_of(pid)["NSpid"].split()) == len(status_of(os.getpid())["NSpid"].split()) + 3
        process.send(signal.SIGUSR1)
        assert process.wait() == 42
