"""--json-status-fd, with and without --pid-namespace, and what -v says of both sides."""

import fcntl
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import (
    PYINIT,
    Rounds,
    Started,
    children_of,
    fill,
    pid_one_below,
    proc,
    started,
    status_of,
    wait_until,
)
from tests.namespace.launching import LAUNCHER
from tests.programs import recorder


@pytest.fixture(params=["plain", "namespace"])
def init(request: pytest.FixtureRequest) -> list[str]:
    """pyinit without and with --pid-namespace."""
    return LAUNCHER if request.param == "namespace" else [str(PYINIT)]


@contextmanager
def reported(*words: str, init: list[str], **popen: Any) -> Iterator[tuple[Started, int]]:
    """Run pyinit with a pipe for --json-status-fd; the process, and the descriptor to read it from."""
    reader, writer = os.pipe()
    options = ["--json-status-fd", str(writer)]
    try:
        with started(*options, *words, init=init, pass_fds=[writer], **popen) as process:
            os.close(writer)
            yield process, reader
    finally:
        os.close(reader)


def documents(reader: int) -> list[dict[str, int]]:
    """All that is written, to the end: nobody has the other end any more."""
    with open(reader, "rb", closefd=False) as stream:
        return [json.loads(line) for line in stream.read().splitlines()]


def test_the_lines_are_the_child_pid_and_the_exit_code(init: list[str]) -> None:
    with reported("sh", "-c", "exit 3", init=init) as (process, reader):
        first, last = documents(reader)
        assert process.wait() == 3
        assert set(first) == {"child-pid"} | ({"pid-namespace"} if init is LAUNCHER else set())
        assert last == {"exit-code": 3}


def test_each_phase_of_a_stop_is_announced(init: list[str]) -> None:
    """The shell ends by the signal and leaves a process behind, which takes its time, until a second SIGINT."""
    saves = "trap 'echo saves' TERM; echo up; while :; do sleep 0.01; done"
    script = 'sh -c "$1" & echo up; wait'
    with (
        reported("sh", "-c", script, "sh", saves, init=init) as (process, reader),
        open(reader, "rb", 0, closefd=False) as lines,
    ):
        process.up(2)
        assert "child-pid" in json.loads(process.line(lines))
        for expected in ([{"phase": "stopping"}, {"exit-code": 130}, {"phase": "draining"}], [{"phase": "killing"}]):
            process.send(signal.SIGINT)
            assert [json.loads(process.line(lines)) for _ in expected] == expected
        assert process.wait() == 130


def test_the_command_cannot_write_to_it(init: list[str]) -> None:
    """Or it could say that it had ended well."""
    script = 'for fd in /proc/self/fd/*; do case $(readlink $fd) in pipe:*) echo "${fd##*/}";; esac; done'
    with reported("bash", "-c", script, init=init, stdin=subprocess.DEVNULL) as (process, reader):
        assert process.output().split() == [b"1"]
        assert [sorted(document)[0] for document in documents(reader)] == ["child-pid", "exit-code"]
    with started("--json-status-fd", "2", "sh", "-c", "echo here >&2", init=init, stderr=-1) as process:
        assert b"here\n" in process.stderr.read(), "a standard descriptor stays the command's too"


def test_the_child_pid_is_the_callers_and_the_namespace_is_the_commands(init: list[str]) -> None:
    with reported("sleep", "1000", init=init) as (process, reader):
        document = json.loads(os.read(reader, 1000))
        pid = document["child-pid"]
        # In the middle of execve(2) it has no words yet, and pyinit knows already that it will succeed.
        assert wait_until(lambda: proc(pid, "cmdline")) == b"sleep\x001000\x00"
        numbers = status_of(pid)["NSpid"].split()
        assert numbers[len(status_of(os.getpid())["NSpid"].split()) - 1] == str(pid)
        if init is LAUNCHER:
            assert numbers[-1] == "2"
            assert document["pid-namespace"] == os.stat(f"/proc/{pid}/ns/pid").st_ino
            assert document["pid-namespace"] != os.stat("/proc/self/ns/pid").st_ino
        os.kill(pid, signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        assert documents(reader) == [{"exit-code": 128 + signal.SIGTERM}]


def test_it_is_written_before_the_end_and_after_the_exec(init: list[str], rounds: Rounds) -> None:
    """A reader that acts on the line finds the command, not a copy of pyinit that is about to become it."""
    for _ in range(rounds(2, 50)):
        with reported(*recorder("SIGKILL"), init=init) as (_, reader):
            pid = json.loads(os.read(reader, 1000))["child-pid"]
            assert b"pyinit" not in proc(pid, "cmdline")


def test_an_inner_that_is_killed_is_reported_as_the_exit_code() -> None:
    with reported("sleep", "1000", init=LAUNCHER) as (process, reader):
        assert b"child-pid" in os.read(reader, 1000)
        os.kill(pid_one_below(process.pid), signal.SIGKILL)
        assert process.wait() == 137
        assert documents(reader) == [{"exit-code": 137}]


def test_a_command_that_was_never_started_has_no_pid(init: list[str]) -> None:
    with reported("/nowhere/at-all", init=init, stderr=subprocess.DEVNULL) as (process, reader):
        assert process.wait() == 127
        assert not any("child-pid" in document for document in documents(reader))


@contextmanager
def closed_pipe() -> Iterator[int]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def first_signal(*options: str, init: list[str], **popen: Any) -> int:
    """The first signal that the command gets, where nothing but the last one of them all is sent to pyinit.

    A SIGPIPE that writing brought pyinit would have come before.
    """
    with started(*options, *recorder("SIGKILL"), init=init, **popen) as process:
        process.up()
        process.send(signal.SIGRTMAX)
        return process.got()


def test_a_reader_that_has_gone_changes_nothing(init: list[str]) -> None:
    with closed_pipe() as writer:
        assert first_signal("--json-status-fd", str(writer), init=init, pass_fds=[writer]) == signal.SIGRTMAX


def test_a_pipe_that_is_full_changes_nothing(init: list[str]) -> None:
    reader, writer = os.pipe()
    fill(writer)
    options = ["--json-status-fd", str(writer)]
    with started(*options, "sh", "-c", "exit 5", init=init, pass_fds=[writer]) as process:
        assert process.wait() == 5
    assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(writer)
    assert set(os.read(reader, 10)) == set(b"x")
    os.close(reader)


@pytest.mark.parametrize("value", ["997", "-1", "x", "", "3.0", "99999999999"])
def test_a_descriptor_that_is_not_open_is_a_usage_error(init: list[str], value: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with started("--json-status-fd", value, "touch", str(marker), init=init, stderr=subprocess.STDOUT) as process:
        lines = process.output().decode().splitlines()
        assert process.wait() == 125
    assert len(lines) == 1
    assert "--json-status-fd" in lines[0]
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_descriptor_that_cannot_be_written_to_is_a_usage_error(init: list[str], kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    script = {"pipe": 'true | exec "$@"', "file": '<"$0/file" exec "$@"'}[kind]
    words = ["sh", "-c", script, str(tmp_path), *init]
    with started("--json-status-fd", "0", "true", init=words, stderr=subprocess.STDOUT) as process:
        said = process.output()
        assert process.wait() == 125
    assert said.startswith(b"pyinit: --json-status-fd 0: ")
    assert b"not open for writing" in said


def test_a_file_gets_both_lines_after_what_was_in_it(init: list[str], tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_text("before\n")
    with path.open("ab") as stream:
        options = ["--json-status-fd", str(stream.fileno())]
        with started(*options, "true", init=init, pass_fds=[stream.fileno()]) as process:
            assert process.wait() == 0
    lines = path.read_text().splitlines()
    assert lines[0] == "before"
    assert [next(iter(json.loads(line))) for line in lines[1:]] == ["child-pid", "exit-code"]


def test_verbose_says_the_pid_on_both_sides() -> None:
    with started("-v", "sh", "-c", "echo up; exec sleep 1000", mode="launcher", stderr=subprocess.PIPE) as process:
        process.up()
        line = process.line(process.stderr).decode()
        assert [int(number) for number in re.findall(r"PID (\d+)", line)] == [2, process.command()]


def test_verbose_with_a_reader_that_has_gone_changes_nothing(init: list[str]) -> None:
    with closed_pipe() as writer:
        assert first_signal("-vv", init=init, stderr=writer) == signal.SIGRTMAX


def test_neither_side_keeps_a_caller_waiting_for_the_end_of_the_pipe(init: list[str]) -> None:
    """The reader sees the end as soon as pyinit and the command have ended, whatever was in between."""
    with reported("sh", "-c", "exit 0", init=init) as (process, reader):
        assert len(documents(reader)) == 2
        assert process.wait() == 0
        wait_until(lambda: not children_of(process.pid))
