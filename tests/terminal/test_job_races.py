"""Ctrl-Z at any moment of the start, and a pipeline that stops on input after `bg`: with -n as without."""

import os
import random
import signal
import time
from pathlib import Path

from tests.harness import Rounds, children_of, state_of, status_of, wait_until
from tests.shell import CTRL_C, CTRL_D, CTRL_Z, Shell, terminal

LATEST = 0.05  # seconds


def test_ctrl_z_at_any_moment_of_the_start_suspends_the_job(sh: Shell, either: str, rounds: Rounds) -> None:
    """It stops as a whole, and `fg` continues it as a whole."""
    moments = random.Random(0)
    for _ in range(rounds(3, 300)):
        sh.start(f"{either} cat")
        wait_until(lambda: hears_ctrl_z(job_of(sh)), "the fork to hear Ctrl-Z")
        time.sleep(moments.random() * LATEST)  # not a wait for anything: it is where in the start the key falls
        assert "Stopped" in sh.suspend()
        wait_until(lambda: all(state_of(pid) == "T" for pid in in_job(sh)), "all of the job to stop")
        goes_on(sh)


def test_ctrl_z_at_any_moment_of_the_start_of_a_leader_stops_nobody_for_ever(leader: list[str], rounds: Rounds) -> None:
    moments = random.Random(0)
    for _ in range(rounds(5, 100)):
        with terminal(*leader, "cat") as run:
            time.sleep(moments.random() * LATEST)  # not a wait, as above
            run.type(CTRL_Z)
            run.type(CTRL_Z)
            wait_until(lambda: run.foreground() == run.the("cat"), "cat in the foreground")
            run.echoes("hello")
            run.type(CTRL_D)
            assert run.wait() == 0


def test_a_sigcont_soon_after_a_sigtstp_continues_the_job(sh: Shell, either: str, rounds: Rounds) -> None:
    """Both come to the whole group, by kill(2). pyinit forwards the first when the second may have come already."""
    moments = random.Random(0)
    sh.run(f"{either} sleep 1000 &")
    job = [job_of(sh), sh.the("sleep")]
    for turn in range(rounds(30, 4000)):
        os.killpg(job[0], signal.SIGTSTP)
        end = time.perf_counter() + moments.random() * 0.0008
        while time.perf_counter() < end:  # not a wait, as above
            pass
        os.killpg(job[0], signal.SIGCONT)
        time.sleep(moments.random() * 0.003)  # nor this
        wait_until(lambda: all(state_of(pid) == "S" for pid in job), f"the job to go on, turn {turn}")
    os.killpg(job[0], signal.SIGTERM)
    wait_until(lambda: sh.alive() == [sh.pid], "the end of the job")


def in_job(sh: Shell) -> list[int]:
    """The processes of the only job."""
    return [pid for pid in sh.alive() if os.getpgid(pid) == job_of(sh)]


def job_of(sh: Shell) -> int:
    """The leader of the only job."""
    (job,) = (pid for pid in children_of(sh.pid) if state_of(pid) != "Z")
    return job


def hears_ctrl_z(pid: int) -> bool:
    """Whether a process does not ignore SIGTSTP, as a shell's fork does until it has set its signals."""
    return not int(status_of(pid)["SigIgn"], 16) >> (signal.SIGTSTP - 1) & 1


def test_a_pipeline_that_stops_on_input_after_bg_is_a_stopped_job(
    sh: Shell, either: str, tmp_path: Path, rounds: Rounds
) -> None:
    """It reads once all of it runs: SIGTTIN during bg's kill(2) stops some of a group, without pyinit too."""
    for turn in range(rounds(3, 300)):
        go = tmp_path / str(turn)
        os.mkfifo(go)
        sh.start(f"{either} sh -c 'echo up; read _ <{go}; cat | cat'")
        sh.see("up\r\n")
        assert "Stopped" in sh.suspend()
        sh.run("bg")
        go.write_text("\n")
        wait_until(lambda: "Stopped" in sh.run("jobs"), "the job to stop on input")
        goes_on(sh)


def goes_on(sh: Shell) -> None:
    """Check that `fg` continues the only job, and end it."""
    sh.start("fg")
    sh.echoes("again")
    sh.type(CTRL_C)
    sh.prompt()
    wait_until(lambda: sh.alive() == [sh.pid], "the end of the job")
