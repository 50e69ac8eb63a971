"""A stop: everybody is told once, of the same, a pipeline from its head; and how long the end may take."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.harness import (
    BASE_PYTHON,
    PYINIT,
    Mode,
    Rounds,
    bound,
    children_of,
    has_taken_all,
    name_of,
    need,
    need_root,
    open_to_all,
    pid_one_below,
    settled,
    started,
    wait_until,
)
from tests.programs import saver

# As PID 1 of a namespace without a /proc.
WITHOUT_PROC = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private"]
WITHOUT_PROC += ["sh", "-c", 'umount -l /proc; exec "$@"', "sh", str(PYINIT)]

pytestmark = pytest.mark.itself

FORMS = {
    "the command": 'exec "$@"',
    "in the foreground": '"$@"; true',
    "in the background": '"$@" & wait',
    "in a subshell": '("$@"; true); true',
    "in a session of its own": 'setsid "$@" & wait',
    "with a trap that leaves": 'trap "exit 9" TERM; "$@" & wait',
    "with a trap that does nothing": 'trap : TERM; "$@" & wait',
}


@pytest.mark.parametrize(
    ("shell", "options"),
    [("dash", []), ("bash", []), ("busybox sh", []), ("dash", ["-g"]), ("bash", ["--scope", "all"])],
    ids=str,
)
def test_everybody_is_told_once(tmp_path: Path, place: Mode, shell: str, options: list[str]) -> None:
    need(shell.split()[0])
    for number, script in enumerate(FORMS.values()):
        file = tmp_path / str(number)
        with started(*options, *shell.split(), "-c", script, "sh", *saver(file, 0.1), mode=place) as run:
            run.up()
            run.send(signal.SIGTERM)
            run.wait()
            assert file.read_text() == "SIGTERM", script
            assert run.alive() == []


@pytest.mark.parametrize("options", [["-g"], ["--scope", "all"]], ids=["group", "all"])
def test_who_is_forked_between_the_stop_signal_and_the_drain_is_told_too(
    tmp_path: Path, place: Mode, options: list[str]
) -> None:
    """As a worker that its master puts in the place of one that the signal has ended."""
    script = "trap 'sleep 0.05; \"$@\" & read _; exit 9' TERM; echo up; while :; do sleep 0.01; done"
    file = tmp_path / "told"
    with started(*options, "sh", "-c", script, "sh", *saver(file), mode=place, stdin=subprocess.PIPE) as run:
        run.up()
        run.send(signal.SIGTERM)
        run.up()
        run.release()
        assert run.wait() == 9
        assert file.read_text() == "SIGTERM"


@pytest.mark.parametrize(
    ("options", "sent", "told"),
    [
        ([], "SIGTERM", "SIGTERM"),
        ([], "SIGQUIT", "SIGQUIT"),
        ([], "SIGINT", "SIGINT"),
        (["-c"], "SIGINT", "SIGTERM"),
        (["-r", "TERM:INT"], "SIGTERM", "SIGINT"),
        (["-r", "TERM:QUIT"], "SIGTERM", "SIGQUIT"),
        (["-r", "TERM:USR1"], "SIGTERM", "SIGUSR1"),
        (["-r", "HUP:TERM"], "SIGHUP", "SIGTERM"),
    ],
    ids=str,
)
def test_what_is_left_is_told_the_same(tmp_path: Path, place: Mode, options: list[str], sent: str, told: str) -> None:
    file = tmp_path / "told"
    # With -c the shell alone gets SIGINT, and a shell that waits for a command in the foreground does not die of it.
    script = '"$@" & wait' if options == ["-c"] else '"$@"; true'
    with started(*options, "sh", "-c", script, "sh", *saver(file, 0.1), mode=place) as run:
        run.up()
        run.send(getattr(signal, sent))
        run.wait()
        assert file.read_text() == told


def test_who_ignores_sigquit_as_background_jobs_do_is_told_by_sigterm(tmp_path: Path, place: Mode) -> None:
    file = tmp_path / "told"
    script = 'trap "" QUIT; "$@" & trap - QUIT; wait'
    with started("-t", "1000", "sh", "-c", script, "sh", *saver(file, 0.1, "handles"), mode=place) as run:
        run.up()
        run.send(signal.SIGQUIT)
        run.wait()
        assert file.read_text() == "SIGTERM"


def test_where_nobody_asked_it_is_sigterm(tmp_path: Path, place: Mode) -> None:
    file = tmp_path / "told"
    script = '"$@" & read _; exit 7'
    with started("sh", "-c", script, "sh", *saver(file, 0.1), mode=place, stdin=subprocess.PIPE) as run:
        run.up()
        run.release()
        assert run.wait() == 7
        assert file.read_text() == "SIGTERM"


def test_an_explicit_grace_bounds_a_stop_too(tmp_path: Path, place: Mode) -> None:
    file = tmp_path / "told"
    with started("-t", "0.3", "sh", "-c", '"$@"; true', "sh", *saver(file, 1000), mode=place) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert run.alive() == []


def test_a_second_ctrl_c_ends_a_stop(tmp_path: Path, place: Mode) -> None:
    file = tmp_path / "told"
    with started("sh", "-c", '"$@" & wait', "sh", *saver(file, 1000), mode=place, phases=True) as run:
        run.up()
        run.send(signal.SIGINT)
        run.enters("draining")
        run.send(signal.SIGINT)
        assert run.wait() == 130
        assert run.alive() == []


@pytest.mark.parametrize("form", ['"$@"; true', '"$@" & wait'])
def test_each_further_stop_signal_reaches_a_leftover_once_and_does_not_kill_it(
    tmp_path: Path, place: Mode, form: str
) -> None:
    """A preStop hook runs `kill -QUIT 1; sleep 5`, and then SIGTERM comes."""
    file = tmp_path / "told"
    with started("sh", "-c", form, "sh", *saver(file, 1.5), mode=place, phases=True) as run:
        run.up()
        run.send(signal.SIGQUIT)
        run.enters("draining")
        for _ in range(2):
            run.send(signal.SIGTERM)
        assert run.wait() == 128 + signal.SIGQUIT
        assert file.read_text() in ("SIGQUIT SIGTERM SIGTERM", "SIGQUIT SIGTERM"), "two that are pending are one"


def test_what_came_into_the_namespace_from_outside_is_neither_signalled_nor_waited_for(tmp_path: Path) -> None:
    """The preStop hook itself: `docker exec` has no parent inside."""
    need_root()
    need("nsenter")
    file = tmp_path / "told"
    with started("sh", "-c", '"$@"; true', "sh", *saver(file, 0.3), mode="pid1") as run:
        run.up()
        hook = ["nsenter", "-t", str(run.pid), "-p", "-m", BASE_PYTHON, "-ISc", HOOK]
        with subprocess.Popen(hook, stdout=subprocess.PIPE) as guest:
            assert guest.stdout is not None
            assert guest.stdout.readline() == b"in\n"
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert guest.stdout.read() == b"", "PID 1 has ended, so it died of SIGKILL, and got nothing before"
            assert guest.wait(60) != 0
        assert file.read_text() == "SIGTERM"


# Says what it gets.
HOOK = """
import signal
for signum in signal.SIGTERM, signal.SIGINT, signal.SIGCONT:
    signal.signal(signum, lambda signum, _: print("got", signum, flush=True))
print("in", flush=True)
while True:
    signal.pause()
"""


@pytest.mark.parametrize(
    "form", ["trap '' TERM; \"$@\"", "trap '' TERM; \"$@\" & wait", "trap '' TERM; sh -c '\"$@\"; true' sh \"$@\""]
)
def test_a_command_that_ignores_the_stop_signal_has_its_children_signalled(
    tmp_path: Path, place: Mode, form: str
) -> None:
    """As mysqld_safe does, in front of a server with a handler of its own."""
    file = tmp_path / "told"
    with started("sh", "-c", f"trap '' TERM; {form}", "sh", *saver(file, 0.2), mode=place) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.wait() == 0
        assert file.read_text() == "SIGTERM"


def test_a_command_that_begins_to_ignore_the_stop_signal_as_it_saves_is_left_alone(tmp_path: Path, place: Mode) -> None:
    """Its children are its own business, also if the signal comes once more."""
    file = tmp_path / "told"
    script = """trap 'trap "" TERM; echo saving; sleep 1.5; exit 5' TERM; "$@" & wait"""
    with started("sh", "-c", script, "sh", *saver(file, 0), mode=place) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.line() == b"saving\n"
        run.send(signal.SIGTERM)
        assert run.wait() == 5
        assert file.read_text() == "SIGTERM"


@pytest.mark.parametrize("options", [["-k", "0.5", "-t", "1000"], ["-a", "-k", "0.5"], ["-k", "0.5"]], ids=str)
@pytest.mark.parametrize("early", [True, False], ids=["while the command lives", "in the drain"])
def test_kill_after_counts_from_the_first_stop_signal(
    tmp_path: Path, place: Mode, options: list[str], early: bool
) -> None:
    script = '"$@" & read _; exit 7'
    words = ["sh", "-c", script, "sh", *saver(tmp_path / "told", 1000)]
    with started(*options, *words, mode=place, stdin=subprocess.PIPE, phases=True) as run:
        run.up()
        if not early:
            run.release()
            run.enters("waiting" if "-a" in options else "draining")
        began = time.monotonic()
        run.send(signal.SIGTERM)
        assert run.wait() == (143 if early else 7)
        assert time.monotonic() - began >= 0.5
        assert run.alive() == []


def test_with_wait_all_a_stop_signal_that_came_while_the_command_lived_is_remembered(
    tmp_path: Path, place: Mode
) -> None:
    file = tmp_path / "told"
    with started("-a", "sh", "-c", '"$@"; true', "sh", *saver(file), mode=place) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert file.read_text() == "SIGTERM"


def test_what_is_dropped_is_no_stop_signal(tmp_path: Path, place: Mode) -> None:
    file = tmp_path / "told"
    words = ["-r", "TERM:0", "-k", "0.2", "-a", "sh", "-c", '"$@" & read _; exit 7', "sh", *saver(file, 1000)]
    with started(*words, mode=place, stdin=subprocess.PIPE, phases=True) as run:
        run.up()
        run.send(signal.SIGTERM)
        run.release()
        run.enters("waiting")
        pid = pid_one_below(run.pid) if place == "launcher" else run.pid
        for _ in range(3):
            run.send(signal.SIGTERM)
            wait_until(lambda: has_taken_all(pid), "SIGTERM taken")
        time.sleep(0.5)  # what is promised is that nothing happens in this time
        assert run.process.poll() is None
        run.send(signal.SIGINT)
        assert run.wait() == 7


@pytest.mark.command_line
def test_a_pause_ends_by_no_signal_that_is_dropped() -> None:
    with started("-P", "-r", "TERM:0", cwd="/tmp") as run:
        settled(run.pid)
        run.send(signal.SIGTERM)
        wait_until(lambda: has_taken_all(run.pid), "SIGTERM taken")
        assert run.process.poll() is None
        run.send(signal.SIGINT)
        assert run.wait() == 0


PIPELINES = {
    "pipe": '"$@" | tee {log}',
    "three": '"$@" | cat | tee {log}',
    "the command writes": 'exec > >(tee {log}) 2>&1; exec "$@"',
    "a child writes": 'exec > >(tee {log}) 2>&1; "$@"; true',
    "in a subshell": '("$@"; true) 2>&1 | (cat; true) | tee {log}; true',
}


@pytest.mark.parametrize("form", PIPELINES)
def test_a_pipeline_is_told_from_its_head(tmp_path: Path, place: Mode, form: str, rounds: Rounds) -> None:
    """Its last line gets to the log, and its data to the file."""
    need("bash")
    for number in range(rounds(2, 30)):
        log, file = tmp_path / f"log{number}", tmp_path / f"told{number}"
        script = PIPELINES[form].format(log=log)
        with started("bash", "-c", script, "bash", *saver(file, 0.02), mode=place) as run:
            run.up()
            run.send(signal.SIGTERM)
            run.wait()
            assert run.alive() == []
        assert (file.read_text(), log.read_text()) == ("SIGTERM", "up\nthe last line\n")


@pytest.mark.parametrize("form", ['cat /dev/null | "$@"', 'exec 5<&0; cat <&5 | "$@"'])
def test_a_reader_whose_input_has_ended_is_told_within_seconds(tmp_path: Path, place: Mode, form: str) -> None:
    file = tmp_path / "told"
    with started("-t", "1000", "bash", "-c", f"{form}; true", "bash", *saver(file, 0.1), mode=place) as run:
        run.up()
        run.send(signal.SIGTERM)
        run.wait()
        assert file.read_text() == "SIGTERM"


def test_the_reader_of_a_named_fifo_is_signalled_after_its_writer(tmp_path: Path, place: Mode) -> None:
    """`mkfifo p; tee log <p & server >p`."""
    file, log, fifo = tmp_path / "told", tmp_path / "log", tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f'tee {log} <{fifo} >/dev/null & "$@" >{fifo}; true'
    with started("bash", "-c", script, "bash", *saver(file, 0.3), mode=place) as run:
        wait_until(lambda: log.exists() and log.read_text() == "up\n", "it to be up")
        run.send(signal.SIGTERM)
        run.wait()
        assert (file.read_text(), log.read_text()) == ("SIGTERM", "up\nthe last line\n")


# As ksh93 makes a pipeline: of a pair of sockets, each used in one direction.
SOCKETS = """
import socket, subprocess, sys
log, *server = sys.argv[1:]
reads, writes = socket.socketpair()
reads.shutdown(socket.SHUT_WR)
writes.shutdown(socket.SHUT_RD)
reader = subprocess.Popen(["tee", log], stdin=reads, stdout=subprocess.DEVNULL)
writer = subprocess.Popen(server, stdout=writes)
reads.close()
writes.close()
writer.wait()
"""


def test_the_reader_of_a_pair_of_sockets_is_signalled_after_its_writer(tmp_path: Path, place: Mode) -> None:
    file, log = tmp_path / "told", tmp_path / "log"
    with started(BASE_PYTHON, "-ISc", SOCKETS, log, *saver(file, 0.3), mode=place) as run:
        wait_until(lambda: log.exists() and log.read_text() == "up\n", "it to be up")
        run.send(signal.SIGTERM)
        run.wait()
        assert (file.read_text(), log.read_text()) == ("SIGTERM", "up\nthe last line\n")


def test_a_reader_without_a_handler_finishes_its_work_after_its_input_has_ended(tmp_path: Path, place: Mode) -> None:
    """`exec > >(uploader)`, and `tee >(gzip >file)`. It takes longer than a reader with a handler gets."""
    need("bash")
    file, log = tmp_path / "told", tmp_path / "log"
    uploader = f"sh -c 'cat >{log}; sleep 2.2; echo uploaded >>{log}'"
    script = f'exec > >(tee >({uploader}) >/dev/null); "$@"; true'
    with started("bash", "-c", script, "bash", *saver(file, 0.1), mode=place) as run:
        wait_until(lambda: log.exists() and log.read_text() == "up\n", "it to be up")
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert (file.read_text(), log.read_text()) == ("SIGTERM", "up\nthe last line\nuploaded\n")


def test_what_a_finishing_reader_runs_is_signalled_at_once(tmp_path: Path, place: Mode) -> None:
    file = tmp_path / "told"
    script = 'echo x | xargs "$@"; true'
    words = saver(file, 0.1, "waits")  # what xargs adds says nothing to it
    with started("-v", "sh", "-c", script, "sh", *words, stderr=subprocess.PIPE, mode=place) as run:
        run.up()
        run.send(signal.SIGTERM)
        errors = run.process.communicate()[1].decode()
        assert file.read_text() == "SIGTERM"
    assert float(errors.partition("drained in ")[2].split()[0]) < 0.9, errors


def test_a_reader_without_a_handler_that_never_ends_is_ended_within_the_grace(tmp_path: Path, place: Mode) -> None:
    script = "echo x | { echo up >&2; exec sleep 1000; }; true"
    with started("-t", "0.5", "sh", "-c", script, stderr=subprocess.PIPE, mode=place) as run:
        assert run.line(run.stderr) == b"up\n"
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert run.alive() == []


def test_a_reader_of_pyinits_own_stdin_is_told_at_once(tmp_path: Path, place: Mode) -> None:
    """And not a while later, as whose input has ended by itself."""
    file = tmp_path / "told"
    took = []
    for script in ('exec 5<&0; "$@" <&5; true', 'cat /dev/null | "$@"; true'):
        with started("-v", "bash", "-c", script, "bash", *saver(file, 0), mode=place, stdin=-1, stderr=-1) as run:
            run.up()
            run.send(signal.SIGTERM)
            errors = run.process.communicate()[1].decode()
            assert file.read_text() == "SIGTERM"
        took.append(float(errors.partition("drained in ")[2].split()[0]))
    assert took[0] < took[1]


def test_who_reads_from_its_own_child_is_told_all_the_same(tmp_path: Path, place: Mode) -> None:
    need("bash")
    file = tmp_path / "told"
    script = """bash -c 'while read -r line; do echo "$line"; done < <("$@")' bash "$@"; true"""
    with started("-t", "1000", "sh", "-c", script, "sh", *saver(file, 0.1), mode=place) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert file.read_text() == "SIGTERM"


def test_a_pipeline_of_another_user_whose_descriptors_cannot_be_read_is_told_from_its_head(tmp_path: Path) -> None:
    """As root in Docker, with CAP_DAC_OVERRIDE and without CAP_SYS_PTRACE, in front of gosu or su-exec."""
    need_root()
    need("setpriv")
    tmp_path.chmod(0o777)
    open_to_all(tmp_path)
    file, log = tmp_path / "told", tmp_path / "log"
    init = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", str(PYINIT), "--"]
    script = f'setpriv --reuid=54321 --clear-groups "$@" | cat >{log}; true'
    with started("sh", "-c", script, "sh", *saver(file, 1.5), init=init, mode="pid1") as run:
        wait_until(lambda: log.exists() and log.read_text() == "up\n", "it to be up")
        run.send(signal.SIGTERM)
        run.wait()
        assert (file.read_text(), log.read_text()) == ("SIGTERM", "up\nthe last line\n")


def test_a_signal_that_is_ignored_by_default_becomes_sigterm_for_who_has_no_handler(place: Mode) -> None:
    """SIGWINCH is Apache's graceful stop; a shell in front of it has no use for that."""
    options = ["-r", "TERM:WINCH", "-t", "1000"]
    with started(*options, "sh", "-c", "echo up; sleep 1000; true", mode=place) as run:
        run.up()
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert run.alive() == []


def test_who_still_waits_for_somebody_is_told_before_the_bound(tmp_path: Path, place: Mode) -> None:
    """The end of its input, or a shell that runs its trap only when its command has ended."""
    for script in ('cat /dev/null | "$@"; true', """sh -c 'trap : TERM; "$@"; true' sh "$@"; true"""):
        file = tmp_path / "told"
        with started("-t", bound(1), "sh", "-c", script, "sh", *saver(file, 0.1), mode=place) as run:
            run.up()
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert file.read_text() == "SIGTERM"
        file.unlink()


def test_a_reader_of_pyinits_own_output_does_not_have_the_time_of_the_grace(tmp_path: Path, place: Mode) -> None:
    """`exec > >(tee log)` in a script that becomes pyinit: tee gets no end of file before pyinit ends."""
    need("bash")
    file, log = tmp_path / "told", tmp_path / "log"
    script = f'exec > >(cat >{log}); exec "$0" "$@"'
    init = ["bash", "-c", script, str(PYINIT)]
    with started("-t", "1000", "--", *saver(file, 0.1), init=init, mode=place) as run:
        wait_until(lambda: log.exists() and log.read_text() == "up\n", "it to be up")
        run.send(signal.SIGTERM)
        assert run.wait() == 0
        # With -n the reader is outside, and may be slow.
        wait_until(lambda: log.read_text() == "up\nthe last line\n", "the last line")


def test_a_reader_that_takes_its_time_after_its_input_has_ended_is_read_to_its_end(tmp_path: Path, place: Mode) -> None:
    """The middle of three: whoever reads from it waits for it as it does for the first."""
    need("bash")
    file, log = tmp_path / "told", tmp_path / "log"
    filtering = "sh -c 'cat; sleep 0.3; echo filtered'"
    with started("bash", "-c", f'"$@" | {filtering} | cat >{log}', "bash", *saver(file, 0.1), mode=place) as run:
        wait_until(lambda: log.exists() and log.read_text() == "up\n", "it to be up")
        run.send(signal.SIGTERM)
        run.wait()
        assert log.read_text() == "up\nthe last line\nfiltered\n"


@pytest.mark.parametrize("init", ["tini -s", "pyinit"])
def test_the_command_of_an_init_that_was_made_to_ignore_the_signal_gets_it_once(
    tmp_path: Path, place: Mode, init: str
) -> None:
    """The init is passed over, though it waits for the signal."""
    need("tini")
    file = tmp_path / "told"
    script = f'(trap "" TERM; {init.replace("pyinit", str(PYINIT))} -- "$@" & wait); true'
    with started("sh", "-c", script, "sh", *saver(file, 0.5), mode=place) as run:
        run.up()
        run.send(signal.SIGTERM)
        run.wait()
        assert file.read_text() == "SIGTERM"


def test_coprocesses_are_both_told(tmp_path: Path, place: Mode) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    code = (
        "import os, subprocess, sys\n"
        "a, b = os.pipe(), os.pipe()\n"
        "words = sys.argv[3:]\n"
        "for file, stdin, held in ((sys.argv[1], a[0], b[1]), (sys.argv[2], b[0], a[1])):\n"
        "    subprocess.Popen([*words, file, '0.1'], stdin=stdin, pass_fds=[held])\n"
        "os._exit(os.read(0, 1) == b'')"
    )
    words = [BASE_PYTHON, "-ISc", code, str(one), str(other), *saver(one)[:3]]
    with started(*words, mode=place, stdin=subprocess.PIPE) as run:
        run.up(2)
        run.release()
        assert run.wait() == 0
        assert (one.read_text(), other.read_text()) == ("SIGTERM", "SIGTERM")


def test_a_shell_on_a_terminal_inside_does_not_hold_up_the_end(place: Mode) -> None:
    """script(1), tmux and sshd end by SIGTERM, and the kernel hangs up on the shell that they gave a terminal."""
    need("script", "bash")
    inner = "script -qc 'bash --norc -i' /dev/null"
    with started("-t", "1000", "sh", "-c", f"echo up; {inner}; true", mode=place, stdin=-1) as run:
        run.up()
        wait_until(lambda: "bash" in map(name_of, run.alive()), "the shell")
        run.send(signal.SIGTERM)
        assert run.wait() == 143
        assert run.alive() == []


@pytest.mark.parametrize("options", [[], ["--scope", "all"]], ids=["child", "all"])
def test_without_proc_as_pid_1_everybody_is_told_once_all_the_same(tmp_path: Path, options: list[str]) -> None:
    need_root()
    file = tmp_path / "told"
    with started(*options, "sh", "-c", '"$@"; true', "sh", *saver(file), init=WITHOUT_PROC) as run:
        run.up()
        os.kill(children_of(run.pid)[0], signal.SIGTERM)
        run.wait()
        assert file.read_text() == "SIGTERM"
