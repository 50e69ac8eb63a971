"""With pyinit in front, a job is to the terminal what it is without. Each case went wrong once, or does elsewhere."""

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from tests.harness import (
    PYTHON,
    UNSHARE,
    children_of,
    is_adviser,
    missing,
    need,
    need_root,
    proc,
    settled,
    state_of,
    status_of,
    wait_until,
    waits_for_a_signal,
)
from tests.programs import recorder
from tests.shell import (
    CTRL_C,
    CTRL_D,
    CTRL_Z,
    PROMPT,
    SHELLS,
    Shell,
    Terminal,
    command_of,
    shell,
    signals_until_the_barrier,
    terminal,
)
from tests.terminal.jobs import cat_outlives_ctrl_z, reporting_job

# Stops itself for Ctrl-Z by SIGSTOP, which the kernel spares nobody; says what it reads.
STOPS_ITSELF = """
import os, select, signal
woken, wakes = os.pipe()  # by a signal that comes right before select(2), too
os.set_blocking(wakes, False)
signal.set_wakeup_fd(wakes)
signal.signal(signal.SIGTSTP, lambda *_: (os.write(1, b"stopping\\n"), os.kill(os.getpid(), signal.SIGSTOP)))
print("ready", flush=True)
while True:
    if woken in select.select([0, woken], [], [])[0]:
        os.read(woken, 100)
    elif line := os.read(0, 100).decode().strip():
        print("got", line, flush=True)
    else:
        break
"""


# Case 1: in the background of a script, and from a program.


def test_a_pyinit_in_the_background_of_a_script_leaves_it_the_terminal(pyinit: str) -> None:
    with terminal("sh", "-c", f"{pyinit} sleep 1000 & read x; echo got $x; exec bash --norc --noprofile -i") as run:
        run.the("sleep")
        assert run.foreground() == run.pid
        run.enter("hello")
        run.see("got hello\r\n")
        run.see_text(PROMPT)
        run.enter("echo $((6 * 7))")
        run.see("42\r\n")
        run.enter("kill -s TERM $!; wait; exit 5")
        assert run.wait() == 5


def test_a_python_that_starts_pyinit_goes_on_reading(pyinit: str) -> None:
    script = f"import subprocess; p = subprocess.Popen({pyinit.split()} + ['sleep', '1000'])\n"
    script += "print('got', input())\np.terminate(); print('status', p.wait())"
    with terminal(PYTHON, "-c", script) as run:
        run.the("sleep")
        run.enter("hello")
        run.see("got hello\r\n")
        run.see("status 143\r\n")
        assert run.wait() == 0


# Case 2: in an orphaned process group.


@pytest.mark.parametrize("name", ["SIGTSTP", "SIGTTIN", "SIGTTOU"])
@pytest.mark.parametrize("whom", ["pyinit", "the command", "the group"])
def test_in_an_orphaned_group_nothing_is_stopped_for_ever(either: str, name: str, whom: str) -> None:
    with terminal("sh", "-c", f"({either} cat </dev/zero >/dev/null &); read x") as run:
        cat = run.the("cat")
        running = wait_until(lambda: [pid for pid in run.named("pyinit") if command_of(pid) == cat], "pyinit")[0]
        settled(running)
        signum = getattr(signal, name)
        if whom == "the group":
            os.killpg(os.getpgid(running), signum)
        else:
            os.kill(running if whom == "pyinit" else cat, signum)
        os.kill(running, signal.SIGTERM)
        wait_until(lambda: not run.named("pyinit") and not run.named("cat"), "the end")


def test_in_an_orphaned_group_a_command_that_stops_itself_is_continued(pyinit: str) -> None:
    with terminal("sh", "-c", f"({pyinit} {PYTHON} -c '{STOPS_ITSELF}' </dev/tty &); sleep 1000") as run:
        run.see("ready\r\n")
        settle(run)
        run.type(CTRL_Z)
        run.see("stopping\r\n")
        run.enter("hello")
        run.see("got hello\r\n")


def settle(run: Terminal) -> None:
    """Wait until pyinit is done with the start. Until then the kernel drops its SIGTSTP in an orphaned group."""
    for pid in wait_until(lambda: run.named("pyinit"), "pyinit"):
        settled(pid)


# Case 3: as session leader or PID 1.


def test_a_command_that_stops_itself_for_ctrl_z_is_continued_where_nobody_else_can(leader: list[str]) -> None:
    with terminal(*leader, PYTHON, "-c", STOPS_ITSELF) as run:
        run.see("ready\r\n")
        settle(run)
        for _ in range(3):
            run.type(CTRL_Z)
            run.see("stopping\r\n")
            run.enter("hello")
            run.see("got hello\r\n")
        run.type(CTRL_D)
        run.wait()


@pytest.mark.parametrize("options", [[], ["-n"]], ids=["", "-n"])
@pytest.mark.parametrize("words", ["su root --session-command cat", "runuser root --session-command cat"])
def test_ctrl_z_does_not_hang_su(leader: list[str], options: list[str], words: str) -> None:
    need_root()
    need("su", "runuser")
    with terminal(*leader, *options, *words.split()) as run:
        cat_outlives_ctrl_z(run, 3)


@pytest.mark.parametrize("options", [[], ["-n"]], ids=["", "-n"])
def test_a_shell_that_suspends_itself_comes_back_where_nobody_else_could_continue_it(
    leader: list[str], options: list[str]
) -> None:
    need("bash")
    with shell(*leader, *options, *SHELLS["bash"]) as run:
        run.enter("suspend")
        run.prompt()
        run.enter("exit 7")
        assert run.wait() == 7


# Case 5: STOP and CONT to the command alone.


@pytest.mark.parametrize("where", ["in the background", "in a script"])
def test_stop_and_cont_to_the_command_alone_do_not_stop_pyinit(bash: Shell, pyinit: str, where: str) -> None:
    bash.enter(f"{pyinit} sleep 1000 &" if "back" in where else f"sh -c '{pyinit} sleep 1000; echo ended'")
    sleep = bash.the("sleep")
    inits = bash.named("pyinit")
    for _ in range(3):
        os.kill(sleep, signal.SIGSTOP)
        wait_until(lambda: state_of(sleep) == "T", "the stop")
        os.kill(sleep, signal.SIGCONT)
        wait_until(lambda: state_of(sleep) == "S", "the continuation")
        assert {state_of(pid) for pid in inits} <= {"S", "R"}
    os.kill(sleep, signal.SIGTERM)
    wait_until(lambda: not bash.named("pyinit"), "the end of pyinit")


# Case 6: without a main child.


@pytest.mark.parametrize("options", ["-t 1000", "--wait-all"])
def test_ctrl_z_suspends_what_the_command_leaves_behind(bash: Shell, either: str, options: str, tmp_path: Path) -> None:
    phases = tmp_path / "phases"
    script = 'trap "" TERM; sleep 1000 & echo main ends'
    bash.enter(f"{either} --json-status-fd 9 {options} sh -c '{script}' 9>{phases}")
    bash.see("main ends\r\n")
    sleep = bash.the("sleep")
    wait_until(lambda: re.search("draining|waiting", phases.read_text()), "the drain")
    if (either, options) == ("pyinit -n", "-t 1000"):  # with its signals comes SIGCONT
        pid_1 = int(status_of(sleep)["PPid"])
        adviser = wait_until(lambda: next(filter(is_adviser, children_of(pid_1)), 0), "the adviser")
        wait_until(lambda: waits_for_a_signal(adviser), "its first look")
    for _ in range(3):
        bash.suspend()
        wait_until(lambda: state_of(sleep) == "T", "it to stop")
        bash.enter("fg")
        wait_until(lambda: all(map(waits, [*bash.named("pyinit"), sleep])), "all to go on")
    os.kill(sleep, signal.SIGKILL)
    bash.prompt()
    assert bash.status() == 0
    bash.leave()


def waits(pid: int) -> bool:
    """Whether a process waits, and no signal waits for it."""
    return state_of(pid) == "S" and int(status_of(pid).get("ShdPnd", "1"), 16) == 0


def test_ctrl_z_suspends_a_pause(bash: Shell, either: str) -> None:
    bash.start(f"{either} --pause")
    settle(bash)
    for _ in range(3):
        assert "Stopped" in bash.suspend()
        bash.start("fg")
    bash.type(CTRL_C)
    bash.prompt()
    assert bash.status() == 0
    bash.leave()


# Case 7: as PID 1 of a namespace whose session and group are outside.


def test_as_pid_1_in_a_job_of_a_shell_outside_the_terminal_stays_where_it_is(bash: Shell) -> None:
    need_root()
    bash.run(f"{' '.join(UNSHARE)} pyinit cat &")
    cat = bash.the("cat")
    wait_until(lambda: state_of(cat) == "T", "cat to stop on input")
    os.kill(cat, signal.SIGCONT)
    assert bash.run("echo here").startswith("here\n")
    assert bash.foreground() == bash.pid
    wait_until(lambda: state_of(cat) == "T", "cat to stop on input again")
    bash.start("fg")
    bash.echoes("hello")
    bash.suspend()
    assert state_of(cat) == "T"
    bash.start("fg")
    bash.echoes("again")
    bash.type(CTRL_D)
    bash.prompt()
    bash.leave()


# Case 9: one after the other, as fast as it goes.


def test_stops_and_continuations_at_any_moment_leave_a_job_as_the_last_of_them(bash: Shell, pyinit: str) -> None:
    bash.run(f"{pyinit} sleep 1000 &")
    sleep = bash.the("sleep")
    job = [*bash.named("pyinit")[:1], sleep]
    rng = random.Random(4)
    for _ in range(150):
        for signum in (signal.SIGTSTP, signal.SIGCONT):
            os.killpg(os.getpgid(sleep), signum)
            time.sleep(rng.random() * 0.002)  # not a wait: it is where between the two the next one falls
    wait_until(lambda: {state_of(pid) for pid in job} == {"S"}, "the job to run")
    os.killpg(os.getpgid(sleep), signal.SIGTSTP)
    wait_until(lambda: {state_of(pid) for pid in job} == {"T"}, "the job to stop")
    os.kill(sleep, signal.SIGKILL)
    os.kill(job[0], signal.SIGCONT)
    wait_until(lambda: not bash.named("pyinit"), "the end")


# Scripts that signal their own group, and whom -g means.


@pytest.mark.parametrize("option", ["", "-g", "-n"])
def test_a_script_that_kills_its_group_when_told_ends_once(bash: Shell, option: str) -> None:
    script = 'trap "echo told; trap - TERM; kill 0" TERM; sleep 1000 & echo ready; wait'
    bash.enter(f"pyinit {option} sh -c '{script}' &")
    bash.see("ready\r\n")
    running = bash.pyinit()
    bash.the("sleep")
    os.kill(running, signal.SIGTERM)
    bash.see("told\r\n")
    wait_until(lambda: bash.alive() == [bash.pid], "the end")
    assert "told" not in bash.run("wait; echo done").splitlines()


def test_kill_0_reaches_the_command_once(bash: Shell) -> None:
    words = " ".join(f"'{word}'" for word in recorder())
    bash.enter(f"pyinit sh -c 'trap : USR1; echo go; read go; kill -s USR1 0; exec \"$@\"' sh {words}")
    bash.see("go\r\n")
    running = bash.pyinit()
    bash.enter("")
    bash.see("up\r\n")
    assert signals_until_the_barrier(bash, running) == []
    os.kill(running, signal.SIGTERM)
    bash.prompt()


# Suspends its whole job by `kill 0` for each line that it reads, and says how often it was continued before.
SUSPENDS = """
import os, signal
continued = 0
def count(*_):
    global continued
    continued += 1
signal.signal(signal.SIGCONT, count)
print("ready", flush=True)
for line in iter(input, "end"):
    print("continued", continued, flush=True)
    os.kill(0, signal.SIGTSTP)
"""


def test_who_suspends_his_job_is_continued_once_each_time(bash: Shell, either: str) -> None:
    """sudo, which suspends itself in this way, copies the settings of its terminal whenever it is continued."""
    bash.enter(f"{either} {PYTHON} -ISc '{SUSPENDS}'")
    bash.see("ready\r\n")
    for turn in range(20):
        bash.enter("")
        bash.see(f"continued {turn}\r\n")
        assert "Stopped" in bash.prompt()
        bash.start("fg")
    bash.enter("end")
    bash.prompt()
    assert bash.status() == 0
    bash.leave()


def test_kill_0_in_a_namespace_is_known_where_its_sender_shares_a_pid_with_somebody_outside(tmp_path: Path) -> None:
    """As sudo suspends itself: in a container low PIDs are taken, and si_pid is the sender's in its own namespace."""
    need_root()
    last_pid, go = Path("/proc/sys/kernel/ns_last_pid"), tmp_path / "go"
    if not last_pid.exists():
        missing("needs CONFIG_CHECKPOINT_RESTORE")
    os.mkfifo(go)
    suspend = f'echo {os.getpid() - 1} >{last_pid}; sh -c "read -r _ <{go}; kill -s TSTP 0" & exec "$@"'
    with reporting_job(f"pyinit -n sh -c '{suspend}' sh") as (run, pyinit):
        go.write_text("\n")
        wait_until(lambda: "T" in [state_of(pid) for pid in run.named("sh")], "the sender to stop")
        assert signals_until_the_barrier(run, pyinit) == ["SIGTSTP"]


@pytest.mark.parametrize("options", ["-g", "-n -g"])
def test_the_group_of_a_job_is_the_descendants_in_it_and_not_their_siblings(bash: Shell, options: str) -> None:
    mine = "sleep 1000 & trap exit USR1; echo ready; while :; do sleep 0.05; done"
    bash.enter(f"sh -c 'sleep 2000 & pyinit -t 1000 {options} sh -c \"{mine}\"; read go; kill $!'")
    bash.see("ready\r\n")
    wait_until(lambda: {b"1000", b"2000"} <= sleeps(bash).keys(), "both")
    own, sibling = sleeps(bash)[b"1000"], sleeps(bash)[b"2000"]
    os.kill(next(pid for pid in bash.named("pyinit") if command_of(pid)), signal.SIGUSR1)
    wait_until(lambda: not bash.named("pyinit"), "the end of pyinit")
    assert state_of(own) == ""
    assert state_of(sibling) == "S"
    bash.enter("")
    bash.prompt()
    bash.leave()


def sleeps(run: Shell) -> dict[bytes, int]:
    """Those that sleep, by how long."""
    return {words[1]: pid for pid in run.named("sleep") if len(words := proc(pid, "cmdline").split(b"\0")) > 1}
