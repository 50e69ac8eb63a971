"""pyinit-ps: the tree, what a signal does to each process, and how it is all shown."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.copies import NOBODY
from tests.harness import (
    BASE_PYTHON,
    UNSHARE,
    Rounds,
    children_of,
    link,
    name_of,
    need,
    need_root,
    pid_one_below,
    settled,
    started,
    wait_until,
)
from tests.programs import compiled, recorder
from tests.ps.looking import ALONE, PS, effects, look, problems, run_ps
from tests.shell import terminal

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
        run.up()
        command = run.main_child()
        assert effects(run.pid)[command] == what
        assert effects(run.pid, "-s", "STOP")[command] == "stops it"
        assert effects(run.pid, "-s", "KILL")[command] == "ends it"
        assert effects(run.pid, "-s", "URG")[command] == "ignored"
        assert effects(run.pid, "-s", "TSTP")[command] == "stops it"


def test_a_blocked_signal_and_one_that_is_waited_for() -> None:
    with started(BASE_PYTHON, "-ISc", BLOCKS, mode="pid1") as run:
        run.up()
        assert effects(run.pid)[run.main_child()] == "blocked"
        assert [kind for kind, _ in problems(run.pid)] == ["deaf"]
    with started(*recorder("SIGKILL"), mode="pid1") as run:
        run.up()
        wait_until(lambda: effects(run.pid)[run.main_child()] == "taken", "it to wait")
        assert problems(run.pid) == []


def test_what_a_signalfd_takes() -> None:
    with started(compiled("signalfd"), mode="pid1") as run:
        run.up()
        assert effects(run.pid)[run.main_child()] == "taken"
        assert effects(run.pid, "-s", "INT")[run.main_child()] == "blocked"


def test_each_process_is_shown_with_its_pid_on_both_sides() -> None:
    need_root()
    with started("sh", "-c", "echo $$; exec sleep 1000", mode="launcher") as run:
        inside = int(run.line())
        inner, command = pid_one_below(run.pid), run.command()
        wait_until(lambda: name_of(command) == "sleep", "sleep")
        shown = {process["pids"][-1]: process["pids"] for process in look(command)["processes"]}
        assert shown == {1: [inner, 1], inside: [command, inside]}
        text = run_ps(command).stdout.splitlines()
        assert re.match(r"PID +INSIDE +USER +S +AGE +THR +SIGTERM +COMMAND$", text[0])
        assert re.match(rf"{command} +{inside} +root +S +\d+s +1 +ends it +sleep 1000$", text[2])


def test_a_namespace_below_is_shown_with_one_more_pid() -> None:
    with started("sh", "-c", "echo up; sleep 1000", init=[*UNSHARE], mode="pid1") as run:
        run.up()
        outer = run.pid
        inner = wait_until(lambda: children_of(outer))[0]
        assert [len(process["pids"]) for process in look(outer)["processes"]][:2] == [2, 3]
        assert run_ps(outer).stdout.splitlines()[0].split()[:3] == ["PID", "IN", "1"]
        assert {process["pids"][0] for process in look(inner)["processes"]} < {
            process["pids"][0] for process in look(outer)["processes"]
        }


def test_its_count_of_each_namespace_is_that_of_lsns() -> None:
    """Of two of its own: in the others processes of other tests come and go."""
    need_root()
    need("lsns")
    with (
        started("sh", "-c", "echo up; sleep 1000; true", mode="pid1") as run,
        started("sleep", "1000", mode="pid1") as other,
    ):
        run.up()
        for one in (run, other):
            settled(one.pid)
        own = {link(run.pid, "ns/pid"): 3, link(other.pid, "ns/pid"): 2}
        rows = [line.split(maxsplit=6) for line in run_ps("-a").stdout.splitlines()[1:]]
        assert {row[0]: int(row[3]) for row in rows if row[0] in own} == own
        assert dict([listed(run.pid), listed(other.pid)]) == own


def listed(pid: int) -> tuple[str, int]:
    """What lsns(8) says of the namespace of `pid`. It fails if a process ends meanwhile."""
    words = ["lsns", "-t", "pid", "-n", "-o", "NS,NPROCS", "-p", str(pid)]

    def said() -> list[str]:
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()

    name, count = wait_until(said, "an lsns that no process ends under")
    return f"pid:[{name}]", int(count)


def test_the_worst_namespace_comes_first() -> None:
    with (
        started("sh", "-c", "sleep 1000 & echo up; wait", **ALONE) as run,
        started("sleep", "1000", mode="pid1") as good,
    ):
        run.up()
        settled(good.pid)
        names = [line.split()[0] for line in run_ps("-a").stdout.splitlines()]
        bad, fine = (link(pid, "ns/pid") for pid in (run.pid, good.pid))
        assert names.index(bad) < names.index(fine)


def test_a_check_is_an_exit_status() -> None:
    with (
        started("sh", "-c", "sleep 1000 & echo up; wait", **ALONE) as run,
        started("sleep", "1000", mode="pid1") as good,
    ):
        run.up()
        settled(good.pid)
        done = run_ps("--check", run.pid)
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


def test_what_comes_and_goes_meanwhile_is_left_out(rounds: Rounds) -> None:
    script = "echo up; while :; do (sleep 0.001 & sleep 0.001 & wait); done"
    with started("sh", "-c", script, mode="pid1") as run:
        run.up()
        for _ in range(rounds(3, 30)):
            assert [process["pids"][-1] for process in look(run.pid)["processes"]][:2] == [1, 2]


WHAT_IT_TAKES = "it takes the same user and group, or root with CAP_SYS_PTRACE\n"


def test_another_user_is_told_what_may_not_be_seen() -> None:
    need_root()
    with started("sleep", "1000", mode="pid1") as run:
        settled(run.pid)
        done = run_ps(run.pid, user=NOBODY, cwd="/")
        assert done.returncode == 2
        assert done.stderr == f"pyinit-ps: the namespace of process {run.pid} cannot be seen: {WHAT_IT_TAKES}"
        done = run_ps("-a", user=NOBODY, cwd="/")
        assert re.fullmatch(
            rf"pyinit-ps: .*the namespaces of \d+ processes cannot be seen: {WHAT_IT_TAKES}", done.stderr
        )


@pytest.mark.parametrize("options", [[], ["--check"], ["--json"]])
@pytest.mark.parametrize("who", ["root without CAP_SYS_PTRACE", "another user", "another group"])
def test_inside_a_look_that_cannot_see_all_is_one_line_and_status_2(who: str, options: list[str]) -> None:
    """Such as `docker exec -u 0`: PID 1 runs as 1000:1000, and root has no capability to look at it."""
    need_root()
    need("setpriv", "nsenter")
    become = {
        "root without CAP_SYS_PTRACE": ["--bounding-set=-sys_ptrace"],
        "another user": [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"],
        "another group": ["--reuid=1000", f"--regid={NOBODY}", "--clear-groups"],
    }
    words = [
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "sh",
        "-c",
        "trap '' TERM; echo up; sleep 1000",
    ]
    with started(*words, init=["env"], mode="pid1", cwd="/") as run:
        run.up()
        enter = ["nsenter", "-t", str(run.pid), "-p", "-m", "setpriv", *become[who], PS, *options]
        done = subprocess.run(enter, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 2
    assert re.fullmatch(rf"pyinit-ps: .*1 \(sh\).* cannot be seen.*: {WHAT_IT_TAKES}", done.stderr) or re.fullmatch(
        rf"pyinit-ps: .*cannot be seen: 1 \(sh\).*: {WHAT_IT_TAKES}", done.stderr
    )
    assert "nothing" not in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["4194304"], "pyinit-ps: there is no process 4194304"),
        (["no-such-container"], "pyinit-ps: 'no-such-container' is no PID; "),
        (["--signal", "TREM"], "there is no signal named 'TREM'"),
        (["--watch=-1"], "a time is a number of seconds"),
        (["--watch=nan"], "a time is a number of seconds"),
        (["--watch=0"], "takes at least 0.1 s"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
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
    assert re.fullmatch(r"pyinit-ps: [^\n]+\n", done.stderr)


def test_nobody_can_speak_to_the_terminal_by_a_name() -> None:
    with started(
        BASE_PYTHON, "-ISc", "import time; print('up', flush=True); time.sleep(1000)", "\x1b[2J\nx", mode="pid1"
    ) as run:
        run.up()
        shown = run_ps(run.pid).stdout
        assert "?[2J?x" in shown
        assert "\x1b" not in shown
        assert look(run.pid)["processes"][1]["command"][-1] == "\x1b[2J\nx"


def test_on_a_terminal_the_lines_fit_and_have_colour_and_in_a_pipe_they_are_whole() -> None:
    long, colourful = "x" * 500, {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with started("sh", "-c", f"sleep 1000 & echo up; wait; : {long}", **ALONE) as run:
        run.up()
        pid = run.pid
        assert long in run_ps(pid).stdout
        assert "\x1b" not in run_ps(pid).stdout
        with terminal(PS, str(pid), env=colourful) as shown:
            assert shown.see_text("…\r\n").splitlines()[-1].startswith(str(pid))
            shown.see_text("\x1b[1mPID 1 is a shell")
            lines = shown.see_text("as ENTRYPOINT").splitlines()
            assert len(lines) > 1
            assert all(len(line) <= 80 + len("\x1b[1m\x1b[0m") for line in lines)
            assert shown.wait() == 0
        with terminal(PS, "-a", env=colourful) as shown:
            assert "…" not in shown.see(r"\r\n {40,}\w")
        for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            with terminal(PS, str(pid), env={**colourful, **plain}) as shown:
                shown.see_text("! PID 1 is a shell")
                assert shown.wait() == 0


def test_it_leaves_itself_out_of_what_pyinit_signals() -> None:
    with started("sh", "-c", f"{PS}; true", mode="pid1") as run:
        said = run.output().decode()
    assert re.search(r"PID 1, pyinit, signals \d+ \(sh\)$", said, re.MULTILINE), said


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
        run.up()
        words = [PS, "--watch", "0.1", str(run.main_child())]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            run.close_stdin()
            while "sleep 1001" not in watching.stdout.readline():
                pass
            watching.send_signal(signal.SIGINT)
            assert watching.wait() == 130
