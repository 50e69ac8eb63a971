"""What can go wrong between two system calls, provoked many times."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness import (
    BASE_PYTHON,
    DEADLINE,
    PYINIT,
    UNSHARE,
    Mode,
    Rounds,
    call_of,
    children_of,
    has_taken_all,
    name_of,
    need_root,
    proc,
    started,
    state_of,
    status_of,
    wait_until,
)
from tests.programs import compiled, recorder

# As a mask in /proc/PID/status.
ALL_SIGNALS = sum(1 << (signum - 1) for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
MIXED = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGWINCH, signal.SIGCHLD, signal.SIGALRM]


def many(starts: int, mode: Mode, *words: str) -> list[tuple[int, str]]:
    """The exit status and stderr of each of so many starts of `pyinit *words`, three at a time."""
    command = [*(UNSHARE if mode == "pid1" else []), str(PYINIT), *words]

    def once(_: int) -> tuple[int, str]:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL)
        return done.returncode, done.stderr

    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(once, range(starts)))


def test_a_command_that_ends_at_once_is_waited_for(mode: Mode, rounds: Rounds) -> None:
    starts = rounds(30, 500)
    assert many(starts, mode, "false") == [(1, "")] * starts


def test_the_main_child_and_an_orphan_that_end_together_are_both_reaped(mode: Mode, rounds: Rounds) -> None:
    # By SIGTERM where the main child's end was seen a moment earlier, so that the drain had begun.
    told = re.compile(r"pyinit: reaped orphan PID \d+: (exit 0|killed by SIGTERM)\n")
    for status, stderr in many(rounds(30, 500), mode, "-w", compiled("together")):
        assert status == 7
        assert told.fullmatch(stderr), stderr


def both_die_while_pyinit_is_stopped(mode: Mode) -> None:
    script = "(sh -c 'read -r _ <&3' &) 3<&0; echo up; read -r _; exit 7"
    with started("-w", "sh", "-c", script, mode=mode, stdin=-1, stderr=-1) as run:
        run.up()
        both = wait_until(lambda: found if len(found := children_of(run.pid)) == 2 else [], "the orphan")
        run.send(signal.SIGSTOP)
        wait_until(lambda: state_of(run.pid) == "T")
        run.close_stdin()
        wait_until(lambda: all(state_of(pid) == "Z" for pid in both), "both deaths")
        run.send(signal.SIGCONT)
        assert run.wait() == 7
        assert run.stderr.read().count(b"reaped orphan") == 1


def test_two_deaths_and_one_sigchld_leave_no_zombie(mode: Mode, rounds: Rounds) -> None:
    """pyinit is stopped while both end, so that one pending SIGCHLD does stand for both."""
    for _ in range(rounds(4, 100)):
        both_die_while_pyinit_is_stopped(mode)


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_between_the_fork_and_the_exec_reaches_the_command(mode: Mode, signum: int, rounds: Rounds) -> None:
    """The search for the command takes a while in a PATH this long; the copy of pyinit that searches is no command."""
    early, enough = 0, rounds(2, 20)
    for _ in range(12 * enough):
        early += sent_before_the_exec(mode, signum)
        if early == enough:
            return
    pytest.fail("the exec came before the signal: this machine needs a longer PATH")


def sent_before_the_exec(mode: Mode, signum: int) -> bool:
    """Send the signal as soon as there has been a fork; it must arrive. Whether there had been no exec then."""
    environment = {**os.environ, "PATH": f"{'a:' * 55_000}{os.environ['PATH']}:{Path(BASE_PYTHON).parent}"}
    init = [compiled("caller"), "-b", str(int(signum)), "--", str(PYINIT)]
    command = Path(BASE_PYTHON).name, *recorder()[1:]
    with started(*command, init=init, mode=mode, env=environment) as run:
        main = int(wait_until(lambda: proc(run.pid, f"task/{run.pid}/children")))
        run.send(signum)
        early = b"pyinit" in proc(main, "cmdline")
        run.up()
        assert run.got() == signum
    return early


def has_started_to_run(pid: int) -> bool:
    """Whether pyinit's first line has run: it blocks all signals; while it waits for them, SigBlk does not show it.

    So does the C library for a moment, in fork(2) and in its own start, but those too that it keeps for itself.
    """
    status = status_of(pid)
    blocks_all = status.get("Name") == "pyinit" and int(status["SigBlk"], 16) == ALL_SIGNALS
    return blocks_all or bool(proc(pid, f"task/{pid}/children"))


def sigterm_at_once() -> None:
    process = subprocess.Popen([*UNSHARE, str(PYINIT), "sleep", "1000"], stdin=subprocess.DEVNULL)
    try:
        pid = int(wait_until(lambda: proc(process.pid, f"task/{process.pid}/children"), "unshare's child"))
        wait_until(lambda: has_started_to_run(pid))
        os.kill(pid, signal.SIGTERM)
        assert process.wait(DEADLINE) == 143
    finally:
        process.kill()
        process.wait()


def test_sigterm_is_not_lost_once_pyinit_has_started_to_run_as_pid_1(rounds: Rounds) -> None:
    need_root()
    for _ in range(rounds(20, 300)):
        sigterm_at_once()


def sigint_at_once() -> None:
    process = subprocess.Popen([PYINIT, "sleep", "1000"], stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: has_started_to_run(process.pid))
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 130
    finally:
        _end(process)


def test_sigint_is_not_lost_once_pyinit_has_started_to_run(rounds: Rounds) -> None:
    for _ in range(rounds(20, 300)):
        sigint_at_once()


def has_a_handler_of_sigint(pid: int) -> bool:
    """Whether CPython has made its own: it is the waiter's soon, which has none."""
    return bool(int(status_of(pid).get("SigCgt", "0"), 16) & 2)


def sigint_too_early() -> None:
    process = subprocess.Popen([PYINIT, "sleep", "1000"], stdin=-3, stderr=-3, start_new_session=True)
    try:
        # Where this process does not get to run meanwhile, it is a SIGINT as any other.
        wait_until(lambda: has_a_handler_of_sigint(process.pid) or children_of(process.pid), "CPython's handler")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: process.poll() is not None or children_of(process.pid))
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) in (1, 130, -signal.SIGINT)
    finally:
        _end(process)


def test_a_sigint_before_pyinits_first_line_never_leaves_it_or_its_command_deaf(rounds: Rounds) -> None:
    """CPython's own handler is there already: it ends CPython or, where CPython drops the exception, nothing."""
    for _ in range(rounds(20, 300)):
        sigint_too_early()


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    for pid in children_of(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def test_a_storm_loses_no_real_time_signal_no_orphan_and_not_the_sigterm_after_it(mode: Mode) -> None:
    """10,000 mixed signals from four senders, each with real-time signals of its own, while 2,000 orphans end."""
    senders, each, first = 4, 2500, signal.SIGRTMIN
    mixes = [[first + 2 * number, *MIXED[:4], first + 2 * number + 1, *MIXED[4:]] for number in range(senders)]
    expected = {signum: 0 for mix in mixes for signum in mix if signum >= first}
    for mix in mixes:
        for turn in range(each):
            if (signum := mix[turn % len(mix)]) in expected:
                expected[signum] += 1
    script = '(setsid "$0" 2000 >/dev/null &); exec "$@"'
    words = ["sh", "-c", script, compiled("orphans"), *recorder()]
    with started(*words, mode=mode) as run:
        run.up()
        wait_until(lambda: "orphans" in map(name_of, children_of(run.pid)), "the orphans' maker to leave the group")
        storm = [
            subprocess.Popen([compiled("sender"), str(run.pid), str(each), *map(str, map(int, mix))]) for mix in mixes
        ]
        counts: Counter[int] = Counter()
        try:
            while sum(counts[signum] for signum in expected) < sum(expected.values()):
                counts[run.got()] += 1
            assert [sender.wait(DEADLINE) for sender in storm] == [0] * senders
        finally:
            for sender in storm:
                sender.kill()
        wait_until(lambda: len(children_of(run.pid)) == 2, "no zombie")
        run.send(signal.SIGTERM)
        while (came := run.got()) != signal.SIGTERM:
            counts[came] += 1
        assert run.wait() == 0
    assert {signum: counts[signum] for signum in expected} == expected
    # A SIGCHLD that somebody sends is lost where the kernel's own is pending: there is room for one only.
    assert {*counts, signal.SIGCHLD} == {*expected, *MIXED}


def test_real_time_signals_sent_one_after_the_other_arrive_one_after_the_other(mode: Mode) -> None:
    """From the highest number to the lowest, which is not how the kernel would sort what has queued."""
    numbers = list(range(signal.SIGRTMAX, signal.SIGRTMIN - 1, -1)) * 3
    with started(*recorder(), mode=mode) as run:
        run.up()
        for signum in numbers:
            run.send(signum)
            assert run.got() == signum


def test_sigterm_after_a_fork_storm_of_the_command_still_ends_it(mode: Mode) -> None:
    """While orphans end as fast as they can, a signal is taken between two of them."""
    script = "i=0; while :; do (true &); i=$((i + 1)); [ $i != 100 ] || echo up; done"
    with started("sh", "-c", script, mode=mode) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.wait() == 143


def signals_at_the_commands_end(mode: Mode) -> None:
    with started("sh", "-c", "read -r _; exit 3", mode=mode, stdin=-1, stderr=-1) as run:
        main = run.main_child()
        wait_until(lambda: state_of(main) == "S" and name_of(main) == "sh")
        run.send(signal.SIGSTOP)
        wait_until(lambda: state_of(run.pid) == "T")
        run.close_stdin()
        wait_until(lambda: state_of(main) == "Z")
        for signum in (signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN):
            run.send(signum)
        run.send(signal.SIGCONT)
        assert run.wait() == 3
        assert run.stderr.read() == b""


def waits_for_a_time(pid: int) -> bool:
    """Whether it is in rt_sigtimedwait(2) with a timeout, and has taken what was sent to it."""
    return call_of(pid)[3:4] not in ([], ["0x0"]) and has_taken_all(pid)


def test_who_is_stopped_while_a_time_runs_out_takes_nothing_for_a_signal(mode: Mode) -> None:
    """CPython's sigtimedwait returns what happens to be in memory then."""
    with started("-g", "-k", "0.3", "sh", "-c", "trap '' TERM; echo up; sleep 1000", mode=mode, stderr=-1) as run:
        run.up()
        run.send(signal.SIGTERM)
        over = time.monotonic() + 0.5
        wait_until(lambda: waits_for_a_time(run.pid), "pyinit to wait for the time")
        run.send(signal.SIGSTOP)
        wait_until(lambda: time.monotonic() > over, "the time to be over")
        run.send(signal.SIGCONT)
        assert run.wait() == 137
        assert run.stderr.read() == b""


def test_a_signal_at_the_moment_of_the_commands_end_harms_nobody(mode: Mode, rounds: Rounds) -> None:
    """Its PID and group may be a stranger's as soon as it has been reaped."""
    for _ in range(rounds(4, 100)):
        signals_at_the_commands_end(mode)
