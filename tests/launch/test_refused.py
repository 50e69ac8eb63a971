"""pyinit.launch() that cannot be done: one error, in the one process that then still is, and nothing has changed."""

import sys
import zipfile
from pathlib import Path

import pytest

from tests.harness import (
    BASE_PYTHON,
    Mode,
    Rounds,
    children_of,
    link,
    need,
    rests,
    wait_until,
)
from tests.launch.launching import ENVIRONMENT, HAS_WAITER, LIBRARY, STATE, SUBREAPER, program, run

ELSE = "start the program behind `pyinit --`\n"


def test_a_python_that_is_found_by_pythonhome_is_refused() -> None:
    environment = {**ENVIRONMENT, "PYTHONHOME": sys.base_prefix}
    status, output = run("import pyinit; pyinit.launch()", env=environment)
    assert status == 1
    assert "RuntimeError: pyinit.launch() needs a Python that is found without PYTHONHOME" in output
    assert output.endswith(ELSE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("launch(grace=-1)", "ValueError: --grace -1: a time is"),
        ("launch(scope='session')", "ValueError: --scope session: a scope is"),
        ("launch(rewrite={'TERM': 'QIUT'})", "ValueError: --rewrite TERM:QIUT: "),
        ("launch(json_status_fd=77)", "ValueError: --json-status-fd 77: this descriptor is not open"),
    ],
)
def test_a_bad_option_is_a_value_error_wherever_it_runs(mode: Mode, call: str, message: str) -> None:
    status, output = run(f"import pyinit; pyinit.{call}", mode=mode)
    assert status == 1
    assert message in output


@pytest.mark.parametrize("options", ["-k", "-k soon", "--nonsense", "-v command"])
def test_so_is_one_in_the_environment_if_it_would_fork(mode: Mode, options: str) -> None:
    environment = {**ENVIRONMENT, "PYINIT_OPTIONS": options}
    status, output = run("import pyinit; pyinit.launch(subreaper=True)", mode=mode, env=environment)
    assert status == 1
    assert "ValueError: PYINIT_OPTIONS: " in output
    assert run("import pyinit; print(pyinit.launch())", mode="subreaper", env=environment) == (0, "False\n")


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (
            "threading.Thread(target=threading.Event().wait, name='it', daemon=True).start()",
            "already: it: call",
        ),
        ("import faulthandler; faulthandler.dump_traceback_later(1000)", "already: python"),
        ("sys.frozen = True", "is not"),
        ("sys.executable = ''", "is not"),
    ],
)
def test_where_a_fork_would_break_something_it_is_refused(mode: Mode, before: str, message: str) -> None:
    text = f"import os, sys, threading, pyinit\n{before}\ntry: pyinit.launch(subreaper=True)\n"
    text += "except RuntimeError as error: print(error)\nsys.stdout.flush()\nos._exit(len(os.listdir('/proc/self/fd')))"
    status, output = run(text, mode=mode)
    assert status == 4
    assert message in output
    assert output.endswith(ELSE)


def test_from_another_thread_it_is_refused() -> None:
    text = "import threading, pyinit\nthread = threading.Thread(target=lambda: pyinit.launch(subreaper=True))\n"
    output = run(text + "thread.start()", mode="subreaper")[1]
    assert "is for the main thread" in output
    assert output.endswith(ELSE)


def test_a_subreaper_without_prctl_is_refused() -> None:
    text = "import sys, pyinit\nsys.modules |= {'_prctl': None, '_ctypes': None}\npyinit.launch(subreaper=True)"
    output = run(text, mode="subreaper")[1]
    assert "RuntimeError: a subreaper needs python-prctl or ctypes" in output
    assert output.endswith(ELSE)


def test_an_event_loop_that_runs_is_refused(mode: Mode) -> None:
    text = "import asyncio, pyinit\nasync def main(): pyinit.launch(subreaper=True)\nasyncio.run(main())"
    status, output = run(text, mode=mode)
    assert status == 1
    assert "RuntimeError: an event loop runs already" in output
    assert output.endswith(ELSE)


def test_threads_that_have_been_joined_are_no_hindrance(rounds: Rounds) -> None:
    text = "import threading, pyinit\nfor _ in range(200):\n    t = threading.Thread(target=int); t.start(); t.join()\n"
    text += "print(pyinit.launch())"
    for _ in range(rounds(2, 20)):
        assert run(text) == (0, "True\n")


FAILS_FIRST = (
    STATE
    + """
import errno, pyinit
told = []
signal.signal(signal.SIGCHLD, lambda *_: told.append(1))
os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
os.set_inheritable(0, False)
signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
print("once", end=" ")
pid, before = os.getpid(), state()
try:
    pyinit.launch(subreaper=True)
except OSError as error:
    children = open(f"/proc/self/task/{pid}/children").read()
    print(errno.errorcode[error.errno], os.getpid() == pid, state() == before, repr(children), told)
print(pyinit.launch(subreaper=True), os.getppid() == pid)
"""
)


@pytest.mark.parametrize(
    ("inject", "code"),
    [("clone,clone3,fork,vfork:error=EAGAIN:when=1", "EAGAIN"), ("execve:error=ENOMEM:when=1..2", "ENOMEM")],
    ids=["fork", "exec"],
)
def test_where_fork_or_exec_fails_the_one_process_goes_on_unchanged(tmp_path: Path, inject: str, code: str) -> None:
    """If there is a waiter, to execute it fails, and then Python. Of the environment nothing is lost either."""
    need("strace")
    if not HAS_WAITER:
        inject = inject.replace("1..2", "1")
    calls = inject.partition(":")[0]
    strace = ("strace", "-o", str(tmp_path / "trace"), "-e", f"trace={calls}", "-e", f"inject={inject}")
    environment = {**ENVIRONMENT, "PYINIT_OPTIONS": "--grace 1"}
    status, output = run(FAILS_FIRST, mode="subreaper", init=strace, env=environment)
    assert (status, output) == (0, f"once {code} True True '' []\nTrue True\n")
    assert "INJECTED" in (tmp_path / "trace").read_text()


def test_where_there_is_no_waiter_or_it_cannot_be_executed_python_waits(tmp_path: Path) -> None:
    need("strace")
    inject = ("-e", "inject=execve:error=EACCES:when=1+2") if HAS_WAITER else ()  # Python succeeds, between the two
    strace = ("strace", "-o", str(tmp_path / "trace"), "-e", "trace=execve", *inject)
    with program(SUBREAPER + "sys.stdin.read(); sys.exit(7)", mode="subreaper", init=strace, stdin=-1) as process:
        pyinit = wait_until(lambda: [pid for pid in children_of(process.pid) if rests(pid)], "pyinit")[0]
        assert link(pyinit, "exe") == BASE_PYTHON
        process.close_stdin()
        assert process.wait() == 7
    assert ("INJECTED" in (tmp_path / "trace").read_text()) == HAS_WAITER


def test_in_a_zip_file_it_says_that_it_needs_a_directory(tmp_path: Path) -> None:
    package = tmp_path / "with.zip"
    with zipfile.ZipFile(package, "w") as file:
        for module in (LIBRARY / "pyinit").rglob("*.py"):
            file.write(module, module.relative_to(LIBRARY))
    status, output = run("import pyinit; pyinit.launch()", env={**ENVIRONMENT, "PYTHONPATH": str(package)})
    assert status == 1
    assert f"RuntimeError: pyinit.launch() needs its package in a directory: there is no {package}" in output
    assert output.endswith(ELSE)
