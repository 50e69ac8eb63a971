"""pyinit-ps: what it shows is true. Each finding is made for real, and then the stop shows whether it was one."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.behaviour.launching import NOBODY, TELL, launched, next_line
from tests.behaviour.programs import compiled
from tests.behaviour.shell import terminal
from tests.behaviour.stopping import DEAF, recorder, up
from tests.harness import (
    BASE_PYTHON,
    PYINIT,
    UNSHARE,
    Started,
    children_of,
    need,
    need_root,
    settled,
    started,
    state_of,
    status_of,
    wait_until,
)

PS = str(Path(sys.executable).with_name("pyinit-ps"))
SCHEMA = json.loads(Path(__file__).with_name("ps.schema.json").read_text())
FOR_A_MOMENT = 0.5  # seconds in which what dies of a signal has died


def run_ps(*words: str | int, **run: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([PS, *map(str, words)], capture_output=True, text=True, check=False, **run)


def look(*words: str | int) -> dict[str, Any]:
    """The document of one look, which keeps to the schema."""
    done = run_ps("--json", *words)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert done.returncode == 0
    return document["namespaces"][0]  # type: ignore[no-any-return]


def problems(pid: int, *words: str) -> list[tuple[str, list[int]]]:
    """Kind and PIDs of what is found in the namespace of `pid`, as problems."""
    return [(found["kind"], found["pids"]) for found in look(*words, pid)["findings"] if found["is_problem"]]


def effects(pid: int, *words: str) -> dict[int, str]:
    return {process["pids"][0]: process["effect"] for process in look(*words, pid)["processes"]}


def as_pid_1(*words: str, init: Sequence[str] = (), **popen: Any) -> Any:
    """Start the words as PID 1 of a namespace, behind `init`, and say up first."""
    need_root()
    return started(*words, init=[*UNSHARE, *init], **popen)


def pid_1_of(run: Started) -> int:
    return wait_until(lambda: children_of(run.pid), "PID 1")[0]


def survives(pid: int, signum: int = signal.SIGTERM) -> bool:
    """Whether a process is still there some time after the signal."""
    os.kill(pid, signum)
    try:
        wait_until(lambda: state_of(pid) in ("", "Z"), deadline=FOR_A_MOMENT)
    except AssertionError:
        return True
    return False


def test_a_shell_as_pid_1_is_found_and_does_not_stop() -> None:
    with as_pid_1("sh", "-c", "sleep 1000 & echo up; wait") as run:
        up(run)
        shell = pid_1_of(run)
        sleep = wait_until(lambda: children_of(shell))[0]
        assert problems(shell) == [("shell", [shell, sleep])]
        assert effects(shell) == {shell: "dropped", sleep: "ends it"}
        assert survives(shell)
        assert state_of(sleep) == "S"


@pytest.mark.parametrize(
    ("trap", "kind"), [("", "dropped"), ("trap '' TERM; ", "ignored"), ("trap 'exit 3' TERM; ", "caught")]
)
def test_a_server_as_pid_1_that_takes_no_sigterm_is_found_and_one_that_does_is_not(trap: str, kind: str) -> None:
    with as_pid_1("sh", "-c", f"{trap}echo up; while read -r line; do :; done", stdin=-1) as run:
        up(run)
        server = pid_1_of(run)
        assert effects(server)[server] == kind
        assert problems(server) == ([] if kind == "caught" else [("deaf-init", [server])])
        os.kill(server, signal.SIGTERM)
        run.close_stdin()
        assert run.wait() == (3 if kind == "caught" else 0)


def test_zombies_are_whose_they_are(tmp_path: Path) -> None:
    made = "import os, time\nfor _ in range(7):\n    if os.fork() == 0: os._exit(0)\nprint('up', flush=True)\n"
    words = (BASE_PYTHON, "-ISc", made + "time.sleep(1000)")
    with as_pid_1(*words) as run:
        up(run)
        server = pid_1_of(run)
        wait_until(lambda: [state_of(pid) for pid in children_of(server)] == ["Z"] * 7, "zombies")
        kinds = dict(problems(server))
        assert set(kinds) == {"deaf-init", "zombies-of-init"}
        assert kinds["zombies-of-init"] == [server, *sorted(children_of(server))]
    with started(*words, mode="pid1") as run:
        up(run)
        server = run.main_child()
        wait_until(lambda: [state_of(pid) for pid in children_of(server)] == ["Z"] * 7, "zombies")
        assert problems(server) == [("zombies", [server, *sorted(children_of(server))])]


def test_orphans_behind_pyinit_are_no_finding() -> None:
    with started("sh", "-c", "for i in 1 2 3 4 5; do (true &); done; echo up; read -r _", mode="pid1", stdin=-1) as run:
        up(run)
        settled(run.pid)
        assert problems(run.pid) == []


@pytest.mark.parametrize("init", ["tini", "catatonit"])
def test_a_shell_behind_an_init_that_tells_it_alone_is_found_and_its_server_is_not_told(
    init: str, tmp_path: Path
) -> None:
    need(init)
    words = ("sh", "-c", '"$@"; true', "sh", *recorder(tmp_path / "told"))
    with as_pid_1(*words, init=[init, "--"]) as run:
        up(run)
        pid = pid_1_of(run)
        shell = children_of(pid)[0]
        assert problems(pid) == [("untold", [shell, *children_of(shell)])]
        os.kill(pid, signal.SIGTERM)
        run.wait()
        assert not (tmp_path / "told").exists()
    with as_pid_1(*words, init=[init, "-g", "--"]) as run:
        up(run)
        assert problems(pid_1_of(run)) == []


@pytest.mark.parametrize("init", ["tini", "dumb-init", "catatonit", "pyinit"])
def test_a_command_that_ignores_sigterm_is_found_behind_any_init(init: str) -> None:
    path = str(PYINIT) if init == "pyinit" else init
    need(path)
    with as_pid_1("sh", "-c", DEAF, init=[path, "--"]) as run:
        up(run)
        pid = pid_1_of(run)
        command = children_of(pid)[0]
        assert ("deaf", [command]) in problems(pid)
        assert ("deaf", [command]) not in problems(pid, "--signal", "QUIT")
        assert survives(pid)
        assert state_of(command) == "S"


def test_whom_pyinit_tells_and_in_which_order_is_what_it_does(tmp_path: Path) -> None:
    """A shell, then what it leaves: a server, and at last the reader of its pipe."""
    files = [tmp_path / name for name in ("server", "reader")]
    server, reader = (recorder(file, 0.2) for file in files)
    script = (
        f'{" ".join(map(repr, server[:2]))} "$1" {files[0]} 0.2 | {" ".join(map(repr, reader[:2]))} "$1" {files[1]} 0.2'
    )
    with started("sh", "-c", f"{script}; true", "sh", server[2], mode="pid1", stderr=-1) as run:
        shell = run.main_child()
        both = wait_until(lambda: found if len(found := sorted(children_of(shell))) == 2 else [], "both")
        wait_until(lambda: [effects(run.pid).get(pid) for pid in both] == ["taken", "taken"], "both to wait")
        (order,) = [found for found in look(run.pid)["findings"] if found["kind"] == "order"]
        assert order["pids"] == [shell, *both]
        run.send(signal.SIGTERM)
        run.wait()
        assert files[0].read_text() == "SIGTERM"
        assert [file.stat().st_mtime_ns for file in files if file.exists()] == sorted(
            file.stat().st_mtime_ns for file in files if file.exists()
        )


def test_a_drain_is_told_of_with_those_who_are_still_there() -> None:
    with started("sh", "-c", f"({DEAF}) & read -r _; exit 7", "sh", mode="pid1", stdin=-1) as run:
        up(run)
        deaf = children_of(run.main_child())[0]
        settled(run.pid)
        run.close_stdin()
        wait_until(lambda: children_of(run.pid) == [deaf], "the drain")
        (found,) = [found for found in look(run.pid)["findings"] if found["kind"] == "draining"]
        assert deaf in found["pids"]
        assert ("deaf", [deaf]) in [(kind, pids[:1]) for kind, pids in problems(run.pid)]
        os.kill(deaf, signal.SIGKILL)
        assert run.wait() == 7


def test_state_d_is_told_of() -> None:
    with started(compiled("vfork"), mode="pid1") as run:
        pid = run.main_child()
        wait_until(lambda: state_of(pid) == "D", "state D")
        assert ("uninterruptible", [pid]) in [(found["kind"], found["pids"]) for found in look(run.pid)["findings"]]
        assert problems(run.pid) == []


@pytest.mark.parametrize("mode", ["sigwait", "handler", "gone", "none"])
def test_any_thread_may_take_a_signal(mode: str) -> None:
    with as_pid_1(compiled("threads", "-pthread"), mode) as run:
        up(run)
        pid = pid_1_of(run)
        if mode == "sigwait":
            wait_until(lambda: effects(pid)[pid] == "taken", "the thread to wait")
        assert problems(pid) == ([("deaf-init", [pid])] if mode == "none" else [])
        if mode == "none":
            assert survives(pid)
        else:
            os.kill(pid, signal.SIGTERM)
            assert run.wait() == 5


def test_a_script_is_a_shell_too(tmp_path: Path) -> None:
    script = tmp_path / "entry"
    script.write_text("#!/bin/sh\nsleep 1000 & echo up\nwait\n")
    script.chmod(0o755)
    need("tini")
    with as_pid_1(str(script)) as run:
        up(run)
        assert [kind for kind, _ in problems(pid_1_of(run))] == ["shell"]
    with as_pid_1(str(script), init=["tini", "--"]) as run:
        up(run)
        assert [kind for kind, _ in problems(pid_1_of(run))] == ["untold"]


# Behind which inits the shell's child is told: `told` says so, and then nothing is found.
TELLERS: dict[str, tuple[list[str], dict[str, str], bool]] = {
    "tini by its variable": (["tini", "--"], {"TINI_KILL_PROCESS_GROUP": "1"}, True),
    "tini -e 143 -g": (["tini", "-e", "143", "-g", "--"], {}, True),
    "tini -p SIGKILL": (["tini", "-p", "SIGKILL", "--"], {}, False),
    "dumb-init": (["dumb-init", "--"], {}, True),
    "dumb-init -c": (["dumb-init", "-c", "--"], {}, False),
    "pyinit": ([str(PYINIT), "--"], {}, True),
    "pyinit -g": ([str(PYINIT), "-g", "--"], {}, True),
}


@pytest.mark.parametrize("name", TELLERS)
def test_who_tells_what_a_shell_has_started(name: str, tmp_path: Path) -> None:
    init, variables, tells = TELLERS[name]
    need(init[0])
    words = ("sh", "-c", '"$@"; true', "sh", *recorder(tmp_path / "told", 0))
    with as_pid_1(*words, init=init, env={**os.environ, **variables}) as run:
        up(run)
        pid = pid_1_of(run)
        assert [kind for kind, _ in problems(pid)] == ([] if tells else ["untold"])
        os.kill(pid, signal.SIGTERM)
        run.wait()
        assert (tmp_path / "told").exists() == tells


# A command that ignores SIGTERM alone, and whether a stop ends it all the same.
REWRITERS: dict[str, tuple[list[str], list[str]]] = {
    "pyinit -r TERM:USR1": ([str(PYINIT), "-r", "TERM:USR1", "--"], []),
    "pyinit -k": ([str(PYINIT), "-k", "0.2", "--"], []),
    "dumb-init -r": (["dumb-init", "-r", "15:10", "--"], []),
    "pyinit -r TERM:0": ([str(PYINIT), "-r", "TERM:0", "--"], ["no-stop"]),
    "dumb-init --rewrite": (["dumb-init", "--rewrite", "15:0", "--"], ["no-stop"]),
}


@pytest.mark.parametrize("name", REWRITERS)
def test_what_an_init_makes_of_the_signal_counts(name: str) -> None:
    init, kinds = REWRITERS[name]
    need(init[0])
    with as_pid_1("sh", "-c", "trap '' TERM; echo up; exec sleep 1000", init=init) as run:
        up(run)
        pid = pid_1_of(run)
        assert [kind for kind, _ in problems(pid)] == kinds
        if kinds:
            assert survives(pid)
        else:
            os.kill(pid, signal.SIGTERM)
            run.wait()


def test_what_is_stopped_is_found_and_takes_the_signal_when_it_is_continued() -> None:
    need("tini")
    with as_pid_1("sleep", "1000", init=["tini", "--"]) as run:
        pid = pid_1_of(run)
        sleep = wait_until(lambda: children_of(pid))[0]
        wait_until(lambda: status_of(sleep)["Name"] == "sleep", "sleep")
        os.kill(sleep, signal.SIGSTOP)
        wait_until(lambda: state_of(sleep) == "T", "it to stop")
        assert problems(pid) == [("stopped", [sleep])]
        assert survives(pid)
        os.kill(sleep, signal.SIGCONT)
        assert run.wait() == 128 + signal.SIGTERM


def test_what_is_so_for_a_moment_is_no_problem() -> None:
    need("tini")
    with as_pid_1("sh", "-c", "echo up; while :; do (true &); done", init=["tini", "-g", "--"]) as run:
        up(run)
        pid = pid_1_of(run)
        assert [found for _ in range(20) for found in problems(pid)] == []


def test_who_only_calls_itself_pyinit_breaks_nothing() -> None:
    words = [BASE_PYTHON, "-ISc", "import ctypes, time; ctypes.CDLL(None).prctl(15, b'pyinit'); time.sleep(1000)"]
    with as_pid_1(*words, "/pyinit", "--woken=xyz", "--nonsense") as run:
        pid = pid_1_of(run)
        wait_until(lambda: status_of(pid)["Name"] == "pyinit", "its name")
        assert run_ps(pid).returncode == 0


WAYS = {
    "ends it": "echo up; exec sleep 1000",
    "ignored": "trap '' TERM; echo up; exec sleep 1000",
    "caught": "trap : TERM; echo up; while :; do sleep 1000; done",
}
BLOCKS = (
    "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, {15}); print('up', flush=True); time.sleep(1000)"
)


@pytest.mark.parametrize("what", WAYS)
def test_what_a_signal_does_to_a_process(what: str) -> None:
    with started("sh", "-c", WAYS[what], mode="pid1") as run:
        up(run)
        command = run.main_child()
        assert effects(run.pid)[command] == what
        assert effects(run.pid, "-s", "STOP")[command] == "stops it"
        assert effects(run.pid, "-s", "KILL")[command] == "ends it"
        assert effects(run.pid, "-s", "URG")[command] == "ignored"
        assert effects(run.pid, "-s", "TSTP")[command] == "stops it"


def test_a_blocked_signal_and_one_that_is_waited_for() -> None:
    with started(BASE_PYTHON, "-ISc", BLOCKS, mode="pid1") as run:
        up(run)
        assert effects(run.pid)[run.main_child()] == "blocked"
        assert [kind for kind, _ in problems(run.pid)] == ["deaf"]
    with started(*TELL, mode="pid1") as run:
        assert next_line(run) == b"0"
        wait_until(lambda: effects(run.pid)[run.main_child()] == "taken", "it to wait")
        assert problems(run.pid) == []


def test_what_a_signalfd_takes() -> None:
    with started(compiled("signalfd"), mode="pid1") as run:
        up(run)
        assert effects(run.pid)[run.main_child()] == "taken"
        assert effects(run.pid, "-s", "INT")[run.main_child()] == "blocked"


def test_each_process_is_shown_with_its_pid_on_both_sides() -> None:
    need_root()
    with launched("sh", "-c", "echo $$; exec sleep 1000") as run:
        inside = int(next_line(run))
        inner = run.main_child()
        command = wait_until(lambda: children_of(inner))[0]
        wait_until(lambda: status_of(command)["Name"] == "sleep", "sleep")
        shown = {process["pids"][-1]: process["pids"] for process in look(command)["processes"]}
        assert shown == {1: [inner, 1], inside: [command, inside]}
        text = run_ps(command).stdout.splitlines()
        assert re.match(r"PID +INSIDE +USER +S +AGE +THR +SIGTERM +COMMAND$", text[0])
        assert re.match(rf"{command} +{inside} +root +S +\d+s +1 +ends it +sleep 1000$", text[2])


def test_a_namespace_below_is_shown_with_one_more_pid() -> None:
    with as_pid_1("sh", "-c", "echo up; sleep 1000", init=[*UNSHARE]) as run:
        up(run)
        outer = pid_1_of(run)
        inner = wait_until(lambda: children_of(outer))[0]
        assert [len(process["pids"]) for process in look(outer)["processes"]][:2] == [2, 3]
        assert run_ps(outer).stdout.splitlines()[0].split()[:3] == ["PID", "IN", "1"]
        assert {process["pids"][0] for process in look(inner)["processes"]} < {
            process["pids"][0] for process in look(outer)["processes"]
        }


def test_all_namespaces_are_those_of_lsns_with_as_many_processes() -> None:
    need_root()
    need("lsns")
    with started("sh", "-c", "echo up; sleep 1000; true", mode="pid1") as run:
        up(run)
        settled(run.pid)
        own = os.readlink("/proc/self/ns/pid")  # in which lsns counts itself, and the kernel's threads
        mine = os.readlink(f"/proc/{run.pid}/ns/pid")
        before, shown, after = lsns(), counted(), lsns()
        while before != after:  # somebody else's have come or gone
            before, shown, after = after, counted(), lsns()
        for counts in (before, shown):
            counts.pop(own)
        assert shown == before
        assert shown[mine] == 3


def lsns() -> dict[str, int]:
    """The PID namespaces, and how many processes are in each, as lsns(8) has it."""
    words = ["lsns", "-t", "pid", "-n", "-o", "NS,NPROCS"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return {f"pid:[{name}]": int(count) for name, count in map(str.split, lines)}


def counted() -> dict[str, int]:
    """The same as pyinit-ps has it."""
    rows = [line.split(maxsplit=6) for line in run_ps("-a").stdout.splitlines()[1:]]
    return {row[0]: int(row[3]) for row in rows if row[0].startswith("pid:[")}


def test_the_worst_namespace_comes_first() -> None:
    with as_pid_1("sh", "-c", "sleep 1000 & echo up; wait") as run, started("sleep", "1000", mode="pid1") as good:
        up(run)
        settled(good.pid)
        names = [line.split()[0] for line in run_ps("-a").stdout.splitlines()]
        bad, fine = (os.readlink(f"/proc/{pid}/ns/pid") for pid in (pid_1_of(run), good.pid))
        assert names.index(bad) < names.index(fine)


def test_a_check_is_an_exit_status() -> None:
    with as_pid_1("sh", "-c", "sleep 1000 & echo up; wait") as run, started("sleep", "1000", mode="pid1") as good:
        up(run)
        settled(good.pid)
        done = run_ps("--check", pid_1_of(run))
        assert done.returncode == 1
        assert done.stdout.startswith("! PID 1 is a shell")
        done = run_ps("--check", good.pid)
        assert (done.returncode, done.stdout) == (0, "")


def test_it_reads_and_touches_nothing(tmp_path: Path) -> None:
    need("strace")
    trace = tmp_path / "trace"
    with started("sleep", "1000", mode="pid1") as run:
        settled(run.pid)
        calls = "kill,tkill,tgkill,pidfd_send_signal,ptrace,process_vm_readv,unlink,mkdir,rename,setns,unshare"
        words = ["strace", "-f", "-o", str(trace), "-e", f"trace={calls},openat", PS, "-a"]
        subprocess.run(words, check=True, capture_output=True)
        called = [line.split(None, 1)[1] for line in trace.read_text().splitlines()]
        assert {call.split("(")[0] for call in called if not call.startswith(("+++", "---"))} == {"openat"}
        assert not [call for call in called if re.search(r"O_WRONLY|O_RDWR|O_CREAT", call)]


def test_what_comes_and_goes_meanwhile_is_left_out() -> None:
    script = "echo up; while :; do (sleep 0.001 & sleep 0.001 & wait); done"
    with started("sh", "-c", script, mode="pid1") as run:
        up(run)
        for _ in range(20):
            assert [process["pids"][-1] for process in look(run.pid)["processes"]][:2] == [1, 2]


def test_another_user_is_told_what_may_not_be_seen() -> None:
    need_root()
    with started("sleep", "1000", mode="pid1") as run:
        settled(run.pid)
        done = run_ps(run.pid, user=NOBODY, cwd="/")
        assert done.returncode == 2
        assert (
            done.stderr
            == f"pyinit-ps: the namespace of process {run.pid} cannot be seen: it takes the same user, or root\n"
        )
        done = run_ps("-a", user=NOBODY, cwd="/")
        assert re.search(r"^and \d+ processes whose namespace this user may not see$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["4194304"], "pyinit-ps: there is no process 4194304"),
        (["no-such-container"], "pyinit-ps: 'no-such-container' is no PID; "),
        (["--signal", "TREM"], "there is no signal named 'TREM'"),
        (["--watch=-1"], "a time is a number of seconds"),
        (["--watch=nan"], "a time is a number of seconds"),
        (["\u00b2"], "pyinit-ps: '\u00b2' is no PID"),
        (["9" * 5000], "' is no PID"),
        ([""], "pyinit-ps: '' is no PID"),
        (["-a", "1"], "--all shows all namespaces"),
    ],
)
def test_what_is_not_there_is_one_line_and_status_2(words: list[str], message: str) -> None:
    done = run_ps(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_can_speak_to_the_terminal_by_a_name() -> None:
    with started(
        BASE_PYTHON, "-ISc", "import time; print('up', flush=True); time.sleep(1000)", "\x1b[2J\nx", mode="pid1"
    ) as run:
        up(run)
        shown = run_ps(run.pid).stdout
        assert "?[2J?x" in shown
        assert "\x1b" not in shown
        assert look(run.pid)["processes"][1]["command"][-1] == "\x1b[2J\nx"


def test_on_a_terminal_the_lines_fit_and_have_colour_and_in_a_pipe_they_are_whole() -> None:
    long = "x" * 500
    with as_pid_1("sh", "-c", f"sleep 1000 & echo up; wait; : {long}") as run:
        up(run)
        pid = pid_1_of(run)
        assert long in run_ps(pid).stdout
        assert "\x1b" not in run_ps(pid).stdout
        with terminal(PS, str(pid)) as shown:
            assert shown.see_text("…\r\n").splitlines()[-1].startswith(str(pid))
            shown.see_text("\x1b[1mPID 1 is a shell")
            assert shown.wait() == 0
        with terminal(PS, str(pid), env={**os.environ, "NO_COLOR": "1"}) as shown:
            shown.see_text("! PID 1 is a shell")
            assert shown.wait() == 0


def test_where_nothing_can_be_written_it_says_so_and_no_more() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(f"{PS} > /dev/full", shell=True, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "pyinit-ps: No space left on device\n")
    done = subprocess.run(f"{PS} >&-", shell=True, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    words = ["bash", "-c", f"{PS} | true; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode in (0, 141), done.stderr) == (True, "")


def test_an_empty_proc_is_one_line() -> None:
    need_root()
    words = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none /proc && {PS}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "pyinit-ps: /proc: nobody is there\n")


def test_it_can_watch() -> None:
    with started("sh", "-c", "echo up; read -r _; sleep 1001", mode="pid1", stdin=-1) as run:
        up(run)
        words = [PS, "--watch", "0.1", str(run.main_child())]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            run.close_stdin()
            while "sleep 1001" not in watching.stdout.readline():
                pass
            watching.send_signal(signal.SIGINT)
            assert watching.wait() == 130
