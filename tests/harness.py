"""What the tests of real processes share: starting the installed pyinit, waiting, and leaving nothing behind.

Every process that a test starts inherits a variable of its own in the environment, by which the test finds it again in
/proc, whoever its parent is by then.
"""

import functools
import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, TypeVar, cast, get_args

Value = TypeVar("Value")
# Where pyinit runs: as PID 1 of a namespace that unshare(1) makes, as a subreaper, or twice, with -n.
Mode = Literal["pid1", "subreaper", "launcher"]
MODES: tuple[Mode, ...] = get_args(Mode)
Rounds = Callable[[int, int], int]  # the fixture `rounds`
Build = Literal["c", "python", "itself"]  # the C program, pyinit without it, a program that launches itself

CHECKOUT = Path(__file__).parents[1]
# A run of pytest has one build of pyinit under test; conftest.py says which tests are for which.
PYINIT = Path(os.environ.get("PYINIT_UNDER_TEST") or Path(sys.executable).with_name("pyinit"))
# Python's half: beside the C program, or the command itself if that was not built.
SCRIPT = PYINIT.with_name("pyinit-python") if PYINIT.with_name("pyinit-python").exists() else PYINIT
IN_C = SCRIPT != PYINIT
BUILD: Build = "itself" if PYINIT.parent.name == "itself" else "c" if IN_C else "python"
PYTHON = sys.executable
BASE_PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))  # which every user may run
MARKER = "PYINIT_TEST"  # the variable by which a test finds again what it has started
DEADLINE = float(os.environ.get("PYINIT_TEST_DEADLINE", 60))  # seconds; to be met on a loaded machine too
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
AS_USER = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]  # for UNSHARE
DEAF = "trap '' TERM; echo up; while :; do sleep 1000; done"  # for sh: ignores SIGTERM, says up, and lives


def missing(what: str) -> NoReturn:
    """Skip this test because `what` is not there; in CI, where all of it must be there, fail."""
    import pytest  # not at the top: the demo uses this module too, and is not a test

    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)


def need_root() -> None:
    """For a test that makes namespaces, or acts as another user."""
    if os.geteuid() != 0:
        missing("needs root")
    need_namespaces()


def need_namespaces() -> None:
    """For a test that makes a PID namespace."""
    if why := why_no_namespaces():
        missing(why)


def makes_namespace(words: Iterable[str | bytes | os.PathLike[str]]) -> bool:
    """Whether these words, which a test runs or types, ask unshare(1) or pyinit for a namespace."""
    text = " ".join(map(os.fsdecode, words))
    return re.search(r"(^|/| )unshare |--pid-namespace|\bpyinit -n\b", text) is not None


@functools.cache
def why_no_namespaces() -> str:
    """Say why this user cannot make a PID namespace here, and what helps; "" if it works."""
    tried = subprocess.run([*UNSHARE, *AS_USER, "true"], capture_output=True, text=True, check=False)
    what_helps = "in a container it takes `docker run --privileged`"
    return f"needs PID namespaces: {tried.stderr.strip()}: {what_helps}" if tried.returncode else ""


def need(*programs: str) -> None:
    """For a test that runs programs which a user's machine may lack."""
    import shutil

    for program in programs:
        if shutil.which(program) is None:
            missing(f"needs {program}")


def wait_until(
    condition: Callable[[], Value],
    what: str | Callable[[], str] = "",
    deadline: float = DEADLINE,
    pause: float = 0.005,
) -> Value:
    """Wait until `condition` returns something true, and return that."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s in vain for {what() if callable(what) else what or condition}")
        time.sleep(pause)
    return value


def bound(seconds: float) -> str:
    """So many seconds for -t or -k, within which an adviser can start; more where Python starts slowly now."""
    began = time.monotonic()
    subprocess.run([BASE_PYTHON, "-ISc", ""], check=True)
    return f"{seconds * max(1.0, (time.monotonic() - began) / 0.03):.1f}"


def proc(pid: int | str, name: str) -> bytes:
    """A file of /proc/PID; see proc(5). Nothing where the process has gone, or may not be looked at."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def link(pid: int | str, name: str) -> str:
    """Where a link in /proc/PID leads to, such as cwd; "" where the process has gone."""
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return ""


def files_of(pid: int) -> dict[int, str]:
    """The open files of a process, by their descriptors."""
    with suppress(FileNotFoundError):
        return {int(fd): link(pid, f"fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    return {}


def status_of(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status; none where the process has gone."""
    lines = proc(pid, "status").decode(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def state_of(pid: int) -> str:
    """The state of a process as one letter; "" where it has gone."""
    return status_of(pid).get("State", "")[:1]


def name_of(pid: int) -> str:
    """What a process is called in ps; "" where it has gone."""
    return status_of(pid).get("Name", "")


def children_of(pid: int) -> list[int]:
    """The children of a process, zombies included."""
    return [other for other in all_pids() if status_of(other).get("PPid") == str(pid)]


def descendants_of(pid: int) -> list[int]:
    """All processes below a process, zombies included, parents first."""
    found = children_of(pid)
    for ancestor in found:  # grows while it is walked
        found += children_of(ancestor)
    return found


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def has_taken_all(pid: int) -> bool:
    """Whether no signal waits to be taken by a process."""
    return int(status_of(pid).get("ShdPnd", "1"), 16) == 0


def call_of(pid: int) -> list[str]:
    """The system call that a process is in, with its arguments; see proc_pid_syscall(5)."""
    return proc(pid, "syscall").decode().split()


def waits_for_a_signal(pid: int) -> bool:
    """Whether it is in rt_sigtimedwait(2)."""
    return b"sigtimedwait" in proc(pid, "wchan")


def waits_for_ever(pid: int) -> bool:
    """Whether it is in rt_sigtimedwait(2) without a timeout."""
    return waits_for_a_signal(pid) and call_of(pid)[3:4] == ["0x0"]


def rests(pid: int) -> bool:
    """Whether it waits without end, and has the name that it takes when it has let go of everything."""
    return waits_for_ever(pid) and name_of(pid) == "pyinit"


def settled(pid: int) -> None:
    """Wait until pyinit rests: it has let go of what it inherited, loaded what it may need, and waits without end."""
    wait_until(lambda: rests(pid), "rest")


def is_adviser(pid: int) -> bool:
    """Whether it is the adviser of its parent, or is about to be: a copy of the C program until its exec."""
    words = proc(pid, "cmdline")
    parent = status_of(pid).get("PPid", "0")
    return not is_pid_one(pid) and (b"--told=" in words or words == proc(parent, "cmdline") != b"")


def is_pid_one(pid: int) -> bool:
    """Whether it is PID 1 of its PID namespace."""
    return status_of(pid).get("NSpid", "").split()[-1:] == ["1"]


def pid_one_below(launcher: int) -> int:
    """PID 1 of the namespace that a launcher has made, as this process sees it."""
    return wait_until(lambda: list(filter(is_pid_one, children_of(launcher))), "PID 1 of the namespace")[0]


def command_below(pyinit: int) -> int:
    """The command of a pyinit; 0: its exec has not happened yet."""
    before = proc(pyinit, "cmdline")  # that of its copies too, until their exec
    commands = (pid for pid in children_of(pyinit) if not is_pid_one(pid) and proc(pid, "cmdline") not in (before, b""))
    return next(commands, 0)


def open_to_all(path: Path) -> None:
    """Let every user reach `path`, through the directories that pytest keeps to its own."""
    for directory in path.parents:
        if not directory.stat().st_mode & stat.S_IXOTH:
            directory.chmod(0o755)


def fill(fd: int) -> None:
    """Write until nothing more fits."""
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"x")
    except BlockingIOError:
        os.set_blocking(fd, True)


class Family:
    """A process and all that descends from it. `pid` is its PID as this process sees it."""

    def __init__(self, pid: int, marker: str) -> None:
        self.pid, self.marker = pid, marker

    def alive(self) -> list[int]:
        """All live processes that descend from it, itself included, whatever became of their parents."""
        return [pid for pid in all_pids() if self._descends(pid)]

    def kill(self) -> bool:
        """SIGKILL for all that is alive; whether nothing was.

        To be called until then: in the middle of execve(2) a process has no environment to be found by.
        """
        left = self.alive()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    def _descends(self, pid: int) -> bool:
        environment = proc(pid, "environ")
        if environment and self.marker.encode() not in environment:
            return False
        status = status_of(pid)
        if not status or status["State"][0] in "ZX":
            return False
        # Without one it is in the middle of execve(2), or a thread of the kernel's.
        return bool(environment) or (status["PPid"] != "0" and self._descends(int(status["PPid"])))


class Started(Family):
    """A pyinit under test, or one of its peers."""

    def __init__(self, process: "subprocess.Popen[bytes]", marker: str, status: "IO[bytes] | None" = None) -> None:
        super().__init__(process.pid, marker)
        self.process, self.status = process, status
        # Each is a stream if it was started with a pipe there, and None otherwise.
        self.stdin, self.stdout, self.stderr = (
            cast("IO[bytes]", stream) for stream in (process.stdin, process.stdout, process.stderr)
        )

    def send(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def wait(self, deadline: float = DEADLINE) -> int:
        """Its exit status, in a shell's terms."""
        status = self.process.wait(deadline)
        return status if status >= 0 else 128 - status

    def output(self, deadline: float = DEADLINE) -> bytes:
        """What is on its stdout, to the end; it has ended then."""
        return self.process.communicate(timeout=deadline)[0]

    def close_stdin(self) -> None:
        """End of file for what reads a pipe made with stdin=PIPE."""
        self.stdin.close()

    def release(self) -> None:
        """A line for what reads a pipe made with stdin=PIPE, such as a shell's `read`."""
        self.stdin.write(b"\n")

    def line(self, stream: "IO[bytes] | None" = None) -> bytes:
        """The next line of its stdout, or of another stream."""
        stream = stream or self.stdout
        assert select.select([stream], [], [], DEADLINE)[0], f"no line came for {DEADLINE} s"
        return stream.readline()

    def enters(self, phase: str) -> None:
        """Wait until pyinit, which was started with `phases`, says that it is in this phase of a stop."""
        assert self.status is not None
        while json.loads(self.line(self.status)) != {"phase": phase}:
            pass

    def up(self, count: int = 1) -> None:
        """Wait until so many have said that they are up."""
        assert [self.line() for _ in range(count)] == [b"up\n"] * count

    def got(self) -> int:
        """The next signal that a recorder has got."""
        said, name = self.line().decode().split()
        assert said == "got"
        return int(name) if name.isdigit() else int(getattr(signal, name))

    def command(self) -> int:
        """The PID of the command, as this process sees it, once its exec has happened."""
        return wait_until(lambda: command_below(self.pid), "the command")

    def main_child(self) -> int:
        """The PID of the command, as this process sees it."""
        return wait_until(lambda: children_of(self.pid), "the main child")[0]


@contextmanager
def started(
    *words: str | bytes | os.PathLike[str],
    mode: Mode = "subreaper",
    init: list[str] | None = None,
    env: dict[str, str] | None = None,
    phases: bool = False,
    **popen: Any,
) -> Iterator[Started]:
    """Start `pyinit *words`, or `init` with the words. In the end every process of it is killed.

    stdout is a pipe, stdin /dev/null, and the session its own, so that whoever runs the tests may have a terminal,
    unless `popen` says otherwise. No pipe has a buffer. `phases` is for Started.enters().
    """
    marker = uuid.uuid4().hex
    options = ["-n"] if mode == "launcher" else []
    status = None
    if phases:
        reader, writer = os.pipe()
        status = os.fdopen(reader, "rb", 0)
        options.append(f"--json-status-fd={writer}")
        popen["pass_fds"] = [writer]
    command = [*(init or [str(PYINIT)]), *options, *words]
    if mode == "pid1":
        need_root()
        command = [*UNSHARE, *command]
    elif mode == "launcher" or makes_namespace(command):
        need_namespaces()
    popen = {"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, "start_new_session": True, "bufsize": 0, **popen}
    process = subprocess.Popen(command, env={**(os.environ if env is None else env), MARKER: marker}, **popen)
    if phases:
        os.close(writer)
    run = Started(process, marker, status)
    try:
        if mode == "pid1":
            children = f"task/{process.pid}/children"
            found = wait_until(lambda: proc(process.pid, children) or process.poll() is not None, "unshare's child")
            run.pid = int(found) if isinstance(found, bytes) else 0
        yield run
    finally:
        run.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr, run.status):
            if stream is not None:
                stream.close()
        wait_until(run.kill, "the end of what the test started")
