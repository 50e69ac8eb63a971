"""What the tests of real processes share: starting the installed pyinit, waiting, and leaving nothing behind.

Every process that a test starts inherits a variable of its own in the environment, by which the test finds it again in
/proc, whoever its parent is by then.
"""

import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
DEADLINE = 60.0  # seconds; generous, because it is met on a loaded machine too
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
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


def need(*programs: str) -> None:
    """For a test that runs programs which a user's machine may lack."""
    import shutil

    for program in programs:
        if shutil.which(program) is None:
            missing(f"needs {program}")


def wait_until(condition: Callable[[], Value], what: str = "", deadline: float = DEADLINE) -> Value:
    """Wait until `condition` returns something true, and return that."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {deadline} s in vain for {what or condition}"
        time.sleep(0.005)
    return value


def status_of(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status; none where the process has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def state_of(pid: int) -> str:
    """The state of a process as one letter; "" where it has gone."""
    return status_of(pid).get("State", "")[:1]


def settled(pid: int) -> None:
    """Wait until pyinit rests: it has let go of what it inherited, loaded what it may need, and waits without end."""
    wait_until(lambda: rests(pid), "rest")


def rests(pid: int) -> bool:
    """Whether it waits without end, and has the name that it takes when it has let go of everything."""
    return waits_for_ever(pid) and status_of(pid).get("Name") == "pyinit"


def waits_for_ever(pid: int) -> bool:
    """Whether it is in rt_sigtimedwait(2) without a timeout."""
    try:
        return Path(f"/proc/{pid}/syscall").read_text().split()[3:4] == ["0x0"]
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_adviser(pid: int) -> bool:
    """Whether it is the adviser of its parent, or is about to be: a copy of the C program until its exec."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        if is_pid_one(pid):
            return False
        return b"--told=" in words or words == Path(f"/proc/{status_of(pid)['PPid']}/cmdline").read_bytes() != b""
    except (OSError, KeyError):
        return False


def is_pid_one(pid: int) -> bool:
    """Whether it is PID 1 of its PID namespace."""
    return status_of(pid).get("NSpid", "").split()[-1:] == ["1"]


def pid_one_below(launcher: int) -> int:
    """PID 1 of the namespace that a launcher has made, as this process sees it."""
    return wait_until(lambda: list(filter(is_pid_one, children_of(launcher))), "PID 1 of the namespace")[0]


def has_taken_all(pid: int) -> bool:
    """Whether pyinit, or the adviser that it has in a drain, has taken every signal and waits for the next."""
    taker = next(filter(is_adviser, children_of(pid)), pid)
    try:
        waits = b"sigtimedwait" in Path(f"/proc/{taker}/wchan").read_bytes()
        return waits and int(status_of(taker)["ShdPnd"], 16) == 0
    except (KeyError, OSError):
        return False


def children_of(pid: int) -> list[int]:
    """The children of a process, zombies included."""
    return [other for other in all_pids() if status_of(other).get("PPid") == str(pid)]


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


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
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not left

    def _descends(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        status = status_of(pid)
        if not status or status["State"][0] in "ZX":
            return False
        if not environment:  # it is in the middle of execve(2), or a thread of the kernel's
            return status["PPid"] != "0" and self._descends(int(status["PPid"]))
        return self.marker.encode() in environment


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
    marker = f"PYINIT_TEST={uuid.uuid4().hex}"
    name, _, value = marker.partition("=")
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
    popen = {"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, "start_new_session": True, "bufsize": 0, **popen}
    process = subprocess.Popen(command, env={**(os.environ if env is None else env), name: value}, **popen)
    if phases:
        os.close(writer)
    run = Started(process, marker, status)
    try:
        if mode == "pid1":
            found = wait_until(lambda: children_of(process.pid) or process.poll() is not None, "unshare's child")
            run.pid = found[0] if isinstance(found, list) else 0
        yield run
    finally:
        run.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr, run.status):
            if stream is not None:
                stream.close()
        wait_until(run.kill, "the end of what the test started")
