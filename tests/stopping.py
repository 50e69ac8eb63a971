"""What the tests of a stop share: the places where pyinit runs, and a server that tells how it was told."""

import functools
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, get_args

from tests.harness import (
    BASE_PYTHON,
    PYINIT,
    Started,
    children_of,
    is_adviser,
    need_root,
    pid_one_below,
    started,
    state_of,
    status_of,
    wait_until,
)
from tests.pid_namespace import copy_installation
from tests.programs import build_directory
from tests.shell import words_of

Place = Literal["pid1", "subreaper", "launcher"]
PLACES: tuple[Place, ...] = get_args(Place)
GRACE = 0.6  # seconds: the default of --grace, for hasty_pyinit()

# Says `up`. At the first stop signal it takes its time, SECONDS, and writes which ones came until then into FILE.
RECORDER = """
import signal, sys, time
file, seconds = sys.argv[1], float(sys.argv[2])
stops = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, stops)
for signum in stops:  # a shell may have it ignore them
    signal.signal(signum, signal.SIG_DFL)
print("up", flush=True)
came = [signal.sigwait(stops).name]
end = time.monotonic() + seconds
while (left := end - time.monotonic()) > 0:
    if info := signal.sigtimedwait(stops, left):
        came.append(signal.Signals(info.si_signo).name)
print("the last line", flush=True)
open(file, "w").write(" ".join(came))
"""

# Ignores SIGTERM, says `up`, and lives.
DEAF = "trap '' TERM; echo up; while :; do sleep 1000; done"


def stopping(place: Place, *words: str, pyinit: str = str(PYINIT), **popen: Any) -> AbstractContextManager[Started]:
    """Start pyinit with these words there."""
    if place == "launcher":
        return started(*words, init=[pyinit, "-n"], **popen)
    return started(*words, init=[pyinit], mode=place, **popen)


@functools.cache
def hasty_pyinit() -> str:
    """The path of a copy of the pyinit under test whose default of --grace is GRACE, so that nobody waits for 5 s."""
    home = build_directory() / "hasty"
    copy_installation(home)
    (base,) = home.rglob("pyinit/base/__init__.py")
    text = base.read_text()
    assert text.count("\nGRACE = 5.0 ") == 1
    base.write_text(text.replace("\nGRACE = 5.0 ", f"\nGRACE = {GRACE} "))
    return str(home / "bin/pyinit")


def recorder(file: Path, seconds: float = 0.3) -> list[str]:
    return [BASE_PYTHON, "-ISc", RECORDER, str(file), str(seconds)]


def up(run: Started, count: int = 1) -> None:
    """Wait until so many are up."""
    assert [run.line() for _ in range(count)] == [b"up\n"] * count


def in_drain(run: Started, place: Place) -> int:
    """Wait until pyinit, whose main child had one child, has that one alone; pyinit's PID."""
    pid = pid_one_below(run.pid) if place == "launcher" else run.pid

    # Who is exiting has no words any more, and its child perhaps no new parent yet.
    def words_of_those_left() -> list[bytes]:
        return [words_of(child) for child in children_of(pid) if not is_adviser(child)]

    wait_until(lambda: [words[:1] not in (b"s", b"") for words in words_of_those_left()] == [True], "the drain")
    return pid


def everywhere(check: Callable[[Place], None]) -> None:
    """Run a check that takes seconds in all places at once."""
    need_root()
    with ThreadPoolExecutor(len(PLACES)) as pool:
        list(pool.map(check, PLACES))


# As PID 1 of a namespace without a /proc.
WITHOUT_PROC = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private"]
WITHOUT_PROC += ["sh", "-c", 'umount -l /proc; exec "$@"', "sh", str(PYINIT)]


def assert_a_trace_stop_is_no_end(run: Started, child: int) -> None:
    """The command is traced by pyinit, whose waitpid(2) returns for a stop; it ends by SIGKILL."""
    wait_until(lambda: state_of(child) == "t", "it to be stopped")
    run.send(signal.SIGWINCH)
    wait_until(lambda: int(status_of(run.pid)["ShdPnd"], 16) == 0, "pyinit to have looked")
    assert state_of(child) == "t"
    os.kill(child, signal.SIGKILL)
    assert run.wait() == 128 + signal.SIGKILL
