"""Signals that reach pyinit reach the command, as the options say."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.harness import (
    BASE_PYTHON,
    PYINIT,
    Mode,
    children_of,
    has_taken_all,
    name_of,
    need,
    need_root,
    started,
    state_of,
    status_of,
    wait_until,
)
from tests.programs import recorder

pytestmark = pytest.mark.itself

UNCATCHABLE = {signal.SIGKILL, signal.SIGSTOP}
JOB_CONTROL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT}  # see tests/terminal
FORWARDED = sorted({signum for signum in signal.valid_signals() if signum not in UNCATCHABLE | JOB_CONTROL})


def test_every_catchable_signal_is_forwarded_real_time_ones_and_sigchld_too(mode: Mode) -> None:
    with started(*recorder(), mode=mode) as run:
        run.up()
        for signum in FORWARDED:
            if signum != signal.SIGTERM:
                run.send(signum)
                assert run.got() == signum
        run.send(signal.SIGTERM)
        assert run.output() == b"got SIGTERM\n"
        assert run.wait() == 0


@pytest.mark.parametrize("signum", [signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU])
def test_stop_signals_of_job_control_are_forwarded(mode: Mode, signum: int) -> None:
    with started(*recorder(), mode=mode) as run:
        run.up()
        run.send(signum)
        assert run.got() == signum
        run.send(signal.SIGCONT)
        assert run.got() == signal.SIGCONT


def test_real_time_signals_are_all_forwarded_in_the_kernels_order(mode: Mode) -> None:
    """Sent while pyinit cannot run: they queue, and come out by number, none of them merged."""
    numbers = list(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    with started(*recorder(), mode=mode) as run:
        run.up()
        run.send(signal.SIGSTOP)
        wait_until(lambda: state_of(run.pid) == "T")
        for signum in reversed(numbers):
            for _ in range(3):
                run.send(signum)
        run.send(signal.SIGCONT)
        came = [run.got() for _ in range(3 * len(numbers) + 1)]
    assert sorted(came) == sorted([signal.SIGCONT, *numbers * 3])
    came.remove(signal.SIGCONT)
    assert came == sorted(came)


def test_a_shell_in_shell_form_does_not_swallow_sigterm(mode: Mode) -> None:
    """`/bin/sh -c` never passes signals on, and dies of them; what it leaves is told by the drain."""
    with started("sh", "-c", "sleep 1000; true", mode=mode) as run:
        wait_until(lambda: children_of(run.main_child()), "sleep")
        run.send(signal.SIGTERM)
        assert run.wait() == 143


GRANDCHILD = "sh -c 'trap \"echo child\" USR1; echo up; while :; do sleep 0.02; done' & "
TRAPPED = "trap 'echo main' USR1; " + GRANDCHILD + "while :; do sleep 0.02; done"


@pytest.mark.parametrize("options", [["-g"], ["--group"], ["--scope", "group"], ["-c", "-g"]], ids=str)
def test_the_whole_process_group_gets_a_signal(options: list[str]) -> None:
    with started(*options, "sh", "-c", TRAPPED) as run:
        run.up()
        run.send(signal.SIGUSR1)
        assert {run.line(), run.line()} == {b"main\n", b"child\n"}


@pytest.mark.parametrize("options", [[], ["-c"], ["--single-child"], ["--scope=child"], ["-g", "-c"]], ids=str)
def test_with_single_child_only_the_main_child_gets_a_signal(options: list[str]) -> None:
    script = TRAPPED.replace("echo main", "echo main; kill -USR2 0").replace("echo child", "exit 9")
    script = script.replace("trap 'echo main", "trap '' USR2; trap 'echo main", 1)
    with started(*options, "sh", "-c", script) as run:
        run.up()
        others = children_of(run.main_child())
        for _ in range(20):
            run.send(signal.SIGUSR1)
            assert run.line() == b"main\n"
        assert any(state_of(pid) not in "Z" for pid in others)
        run.send(signal.SIGTERM)
        assert run.wait() == 143


@pytest.mark.parametrize(
    ("options", "sent", "expected"),
    [
        (["-r", "TERM:QUIT"], signal.SIGTERM, signal.SIGQUIT),
        (["-r", "SIGTERM:3"], signal.SIGTERM, signal.SIGQUIT),
        (["-r15:usr1"], signal.SIGTERM, signal.SIGUSR1),
        (["--rewrite=hup:SIGRTMIN+3"], signal.SIGHUP, signal.SIGRTMIN + 3),
        (["--rewrite", "RTMAX-1:winch"], signal.SIGRTMAX - 1, signal.SIGWINCH),
        (["-r", "USR1:USR2", "-r", "USR2:USR1"], signal.SIGUSR1, signal.SIGUSR2),
        (["-r", "USR1:USR2", "-r", "USR1:HUP"], signal.SIGUSR1, signal.SIGHUP),
        (["-r", "CHLD:USR1"], signal.SIGCHLD, signal.SIGUSR1),
    ],
    ids=str,
)
def test_a_rewritten_signal_is_forwarded_as_the_other(mode: Mode, options: list[str], sent: int, expected: int) -> None:
    with started(*options, *recorder(), mode=mode) as run:
        run.up()
        run.send(sent)
        assert run.got() == expected


def test_a_signal_rewritten_to_0_is_dropped(mode: Mode) -> None:
    with started("-r", "HUP:0", "-r", "1:0", *recorder(), mode=mode) as run:
        run.up()
        run.send(signal.SIGHUP)
        wait_until(lambda: has_taken_all(run.pid), "SIGHUP taken")
        run.send(signal.SIGUSR1)
        assert run.got() == signal.SIGUSR1


def test_a_signal_of_the_commands_own_childs_end_is_not_forwarded(mode: Mode) -> None:
    """An orphan's end is pyinit's business: the command must not get a SIGCHLD for it."""
    script = '(sleep 0.05 &); exec "$@"'
    with started("-w", "sh", "-c", script, "sh", *recorder(), mode=mode, stderr=-1) as run:
        run.up()
        assert b"reaped orphan" in run.line(run.stderr)
        run.send(signal.SIGUSR1)
        assert run.got() == signal.SIGUSR1


def test_a_command_that_has_left_its_group_still_gets_signals(mode: Mode) -> None:
    """By moving to another group; and while another one, which is up too, stays behind in its first one.

    CPython forgets a signal that comes to a child before os.fork() has returned there.
    """
    stay = "os.fork() or not os.write(1, up) or any(time.sleep(0.05) for _ in iter(int, 1))"
    for leave, processes in (("os.setpgid(0, os.getppid())", 1), (f"{stay}; os.setpgid(0, os.getppid())", 2)):
        code = f"import os, signal, time; signal.signal(15, lambda *_: os._exit(5)); {leave}; os.write(1, up)"
        code = code.replace("up)", "b'1\\n')")
        code = code.replace("os.getppid()", "os.getpgid(os.getppid())")
        # In short sleeps: a handler's turn that comes right before a call that waits is taken after that.
        code += "\nwhile True: time.sleep(0.05)"
        with started("/usr/bin/python3", "-c", code, mode=mode) as run:
            up = [run.line() for _ in range(processes)]
            assert up == [b"1\n"] * processes
            run.send(signal.SIGTERM)
            assert run.wait(deadline=20) == 5


def test_a_command_of_another_user_that_cannot_be_signalled_is_told_and_survived(mode: Mode) -> None:
    """Without CAP_KILL, as in many hardened containers."""
    need("setpriv")
    need_root()
    init = [
        "setpriv",
        "--bounding-set=-kill",
        "--inh-caps=-kill",
        "--",
        str(PYINIT),
    ]
    words = ["setpriv", "--reuid=54321", "--clear-groups", "sh", "-c", "echo up; sleep 0.3; exit 6"]
    with started("--", *words, init=init, mode=mode, stderr=-1) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert b"cannot forward " in run.line(run.stderr)
        assert run.wait() == 6


def test_a_main_child_that_moved_to_another_group_and_user_harms_nobody_in_the_first_group(mode: Mode) -> None:
    """With -g the others get the signal once, and one line says that the main child did not."""
    need("setpriv", "setsid")
    need_root()
    init = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill", "--", str(PYINIT), "-g"]
    move = "import os, sys; other = os.fork() or sys.stdin.read() or os._exit(0); os.setpgid(other, other); "
    move += "os.setpgid(0, other); os.setuid(54321); print('moved', flush=True); sys.stdin.read()"
    script = f'"$@" & read -r _; exec {BASE_PYTHON} -ISc "{move}"'
    with started("sh", "-c", script, "sh", *recorder(), init=init, mode=mode, stdin=-1, stderr=-1) as run:
        run.up()
        run.release()
        assert run.line() == b"moved\n"
        run.send(signal.SIGUSR1)
        assert run.line() == b"got SIGUSR1\n"
        run.send(signal.SIGRTMIN)
        assert run.line() == b"got SIGRTMIN\n"
        assert run.line(run.stderr).startswith(b"pyinit: cannot forward SIGUSR1")


def test_nothing_wakes_pyinit_while_nothing_happens(mode: Mode) -> None:
    with started("sleep", "1000", mode=mode) as run:
        wait_until(lambda: name_of(run.main_child()) == "sleep")
        wait_until(lambda: state_of(run.pid) == "S")

        def switches() -> str:
            return status_of(run.pid)["voluntary_ctxt_switches"]

        def rests(seconds: float) -> bool:
            before = switches()
            time.sleep(seconds)  # what is promised is that nothing happens in this time
            return switches() == before

        wait_until(lambda: rests(0.2), "rest")
        assert rests(1.2)


@pytest.mark.command_line
def test_a_sigint_at_the_moment_of_the_start_leaves_the_commands_mask_as_it_was(tmp_path: Path) -> None:
    """CPython's own handler may run inside the very call that blocks all signals: the mask must not be lost with it."""
    source = tmp_path / "interrupt.c"
    source.write_text(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <signal.h>\n#include <stdlib.h>\n"
        "int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)\n"
        "{\n    static int calls;\n    int (*real)(int, const sigset_t *, sigset_t *) = dlsym(RTLD_NEXT, __func__);\n"
        "    if (!calls++)\n        raise(SIGINT);\n    return real(how, set, old);\n}\n"
    )
    need("gcc")
    assert os.system(f"gcc -shared -fPIC -o {tmp_path}/interrupt.so {source} -ldl") == 0
    environment = {**os.environ, "LD_PRELOAD": f"{tmp_path}/interrupt.so"}
    words = ["env", "-u", "LD_PRELOAD", "grep", "SigBlk", "/proc/self/status"]
    with started("-r", "INT:0", "--", *words, env=environment) as run:
        assert run.output() == b"SigBlk:\t0000000000000000\n"
