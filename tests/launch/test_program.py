"""pyinit.launch(): a program that goes on as the child of a pyinit that it was itself, and finds nothing changed."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.harness import (
    PYINIT,
    PYTHON,
    Mode,
    Rounds,
    files_of,
    link,
    need,
    proc,
    settled,
)
from tests.launch.launching import ENVIRONMENT, STATE, SUBREAPER, program, run
from tests.shell import CONTAINER, CTRL_C, CTRL_D, CTRL_Z, terminal


def test_the_program_goes_on_as_a_child_and_its_status_is_pyinits() -> None:
    text = (
        "import os, sys, pyinit; print('once', end=' '); print(pyinit.launch(), os.getpid(), os.getppid()); sys.exit(7)"
    )
    assert run(text) == (7, "once True 2 1\n")


def test_elsewhere_than_as_pid_1_nothing_happens() -> None:
    with program("import os, pyinit; print(pyinit.launch(), os.getpid())", mode="subreaper") as process:
        assert process.output() == f"False {process.pid}\n".encode()


def test_as_a_subreaper_it_adopts_from_the_first_statement_on() -> None:
    text = (
        SUBREAPER
        + """
if os.fork() == 0:
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent: pass
        print(os.getppid(), flush=True)
    os._exit(0)
os.wait()
sys.stdin.read()
"""
    )
    with program(text, mode="subreaper", stdin=-1) as process:
        assert int(process.line()) == process.pid
        process.close_stdin()
        assert process.wait() == 0


def test_a_program_that_dies_of_a_signal_ends_so_in_a_shells_terms(mode: Mode) -> None:
    assert run(SUBREAPER + "os.kill(os.getpid(), signal.SIGSEGV)", mode=mode) == (139, "")


@pytest.mark.parametrize("closed", [(), (0,), (0, 1), (0, 1, 2), (2,)], ids=str)
def test_the_child_finds_everything_as_it_was(mode: Mode, tmp_path: Path, closed: tuple[int, ...]) -> None:
    text = (
        STATE
        + f"""
import pyinit
os.chdir({str(tmp_path)!r})
os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
os.umask(0o27)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, {{signal.SIGUSR2, signal.SIGCHLD}})
for fd in {closed}:
    os.close(fd)
before = state()
launched = pyinit.launch(subreaper=True)
after = state()
with open("result", "w") as result:
    json.dump([launched, before, after], result)
os._exit(9)
"""
    )
    with program(text, mode=mode) as process:
        assert process.wait() == 9
    launched, before, after = json.loads((tmp_path / "result").read_text())
    assert launched
    assert after == before


def test_what_is_buffered_and_what_is_registered_is_written_and_run_once(mode: Mode, tmp_path: Path) -> None:
    text = f"""
import atexit, weakref, pyinit
class Finalized: pass
kept = Finalized()
weakref.finalize(kept, print, "finalized")
atexit.register(print, "at exit")
file = open({str(tmp_path / "file")!r}, "w")
file.write("buffered")
print("said")
pyinit.launch(subreaper=True)
"""
    status, output = run(text, mode=mode)
    assert status == 0
    assert sorted(output.splitlines()) == ["at exit", "finalized", "said"]
    assert (tmp_path / "file").read_text() == "buffered"


def test_nothing_of_the_program_is_left_in_pyinit(mode: Mode, tmp_path: Path) -> None:
    text = f"""
import os, sys, pyinit
os.chdir({str(tmp_path)!r})
os.set_inheritable(os.open("file", os.O_CREAT | os.O_RDWR), True)
kept = open("other", "w")
pyinit.launch(subreaper=True)
print("launched", flush=True)
sys.stdin.read()
"""
    with program(text, "word", mode=mode, stdin=-1) as process:
        assert process.line() == b"launched\n"
        settled(process.pid)
        assert set(files_of(process.pid)) <= {0, 1, 2}
        assert link(process.pid, "cwd") == "/"
        words = proc(process.pid, "cmdline").decode().split("\0")
        assert words[-6:] == ["--", PYTHON, "-c", text, "word", ""]
        process.close_stdin()
        assert process.wait() == 0


@pytest.mark.parametrize("options", ["", ", verbose=1", ", grace=1, parent_death_signal='TERM'"])
def test_the_program_goes_on_when_pyinit_has_left_its_directory_and_descriptors(
    mode: Mode, tmp_path: Path, options: str
) -> None:
    text = f"""
import contextlib, os, pyinit
os.chdir({str(tmp_path)!r})
os.set_inheritable(os.open("file", os.O_CREAT | os.O_RDWR), True)
pyinit.launch(subreaper=True{options})
of_pyinit = f"/proc/{{os.getppid()}}"
files = []
for fd in os.listdir(f"{{of_pyinit}}/fd"):
    with contextlib.suppress(FileNotFoundError):  # what pyinit reads in /proc it closes at once
        files.append(os.readlink(f"{{of_pyinit}}/fd/{{fd}}"))
print(os.readlink(f"{{of_pyinit}}/cwd"), {str(tmp_path / "file")!r} in files)
"""
    for _ in range(5):
        with program(text, mode=mode, stderr=-3) as process:
            assert process.output() == b"/ False\n"


def test_a_second_call_says_so_and_does_nothing(mode: Mode) -> None:
    text = SUBREAPER + "before = os.getpid(); print(pyinit.launch(subreaper=True), os.getpid() == before)"
    assert run(text, mode=mode) == (0, "True True\n")


def test_a_signal_that_was_pending_reaches_the_program(mode: Mode) -> None:
    text = """
import os, signal, pyinit
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.kill(os.getpid(), signal.SIGUSR1)
pyinit.launch(subreaper=True)
print(signal.sigtimedwait({signal.SIGUSR1}, 60).si_signo)
"""
    assert run(text, mode=mode) == (0, "10\n")


def test_more_than_one_signal_was_pending_at_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("""
import os, signal, pyinit
pending = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGUSR1]
signal.pthread_sigmask(signal.SIG_BLOCK, pending)
if os.fork() == 0:
    for number in pending: os.kill(os.getppid(), number)
    os._exit(0)
os.wait()
pyinit.launch(subreaper=True)
print("got", [int(signal.sigtimedwait([number], 60).si_signo) for number in pending], flush=True)
""")
    with terminal(*CONTAINER, PYTHON, file, env=ENVIRONMENT) as run:
        run.see_text("got [1, 2, 3, 13, 10]")
        assert run.wait() == 0


def test_a_timer_runs_on_and_can_be_stopped(mode: Mode) -> None:
    text = """
import signal, pyinit
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
signal.setitimer(signal.ITIMER_REAL, 1000)
signal.setitimer(signal.ITIMER_PROF, 1000)
pyinit.launch(subreaper=True)
print(signal.getitimer(signal.ITIMER_REAL)[0] > 900, signal.setitimer(signal.ITIMER_PROF, 0)[0] > 900)
signal.setitimer(signal.ITIMER_REAL, 0.1)
print(signal.sigtimedwait({signal.SIGALRM}, 60).si_signo)
"""
    assert run(text, mode=mode) == (0, "True True\n14\n")


def test_whom_the_variables_of_sd_listen_fds_name_is_the_program(mode: Mode) -> None:
    text = """
import os
os.environ |= {"LISTEN_PID": str(os.getpid()), "WATCHDOG_PID": "77", "LISTEN_FDS": "1", "LISTEN_PIDFDID": "5"}
import pyinit
pyinit.launch(subreaper=True)
print(os.environ["LISTEN_PID"] == str(os.getpid()), os.environ["WATCHDOG_PID"], os.environ["LISTEN_PIDFDID"] != "5")
"""
    assert run(text, mode=mode) == (0, "True 77 True\n")


def test_what_had_ended_before_is_reaped(mode: Mode) -> None:
    text = "import os\nif (child := os.fork()) == 0: os._exit(0)\nos.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n"
    text += SUBREAPER + "print(child, flush=True)\nwhile os.path.exists(f'/proc/{child}'): pass"
    with program(text, mode=mode) as process:
        assert process.wait() == 0


def test_where_c_code_ignores_sigchld_the_status_is_known_all_the_same(mode: Mode) -> None:
    text = "import ctypes, sys, pyinit\nctypes.CDLL(None).signal(17, ctypes.c_void_p(1))\n"
    assert run(text + "pyinit.launch(subreaper=True)\nsys.exit(6)", mode=mode) == (6, "")


def test_no_finalizer_runs_in_pyinit(rounds: Rounds) -> None:
    """Garbage is collected when there is some amount of it, which may be reached at any moment: all are tried."""
    text = """
import gc, os, sys, pyinit
class Finalized:
    def __del__(self): os.write(1, b"finalized ")
gc.disable(); gc.collect()
one = Finalized(); one.itself = one; del one
gc.enable()
kept = [[] for _ in range(int(sys.argv[1]))]
pyinit.launch()
gc.collect()
"""
    for count in range(500, 700, rounds(20, 2)):
        assert run(text, str(count)) == (0, "finalized ")


def test_no_python_of_the_program_runs_in_pyinit_but_what_cpython_calls(mode: Mode) -> None:
    text = """
import atexit, os, signal, sys, pyinit
own = os.getpid()
def say(what):
    if os.getpid() == own:
        os.write(1, what.encode() + b" ")
class Finalized:
    def __del__(self): say("finalized")
def callback():
    say("callback")
    raise RuntimeError
kept = Finalized()
atexit.register(say, "atexit")
signal.signal(signal.SIGCHLD, lambda *_: say("handler"))
os.register_at_fork(after_in_parent=callback)
sys.unraisablehook = lambda _: say("unraisable")
sys.addaudithook(lambda event, _: say(event) if event == "os.exec" else None)
sys.settrace(lambda frame, *_: say("trace") if frame.f_code.co_name == "become_pyinit" else None)
sys.setprofile(lambda frame, event, _: say("profile") if frame.f_code.co_name + event == "become_pyinitcall" else 0)
pyinit.launch(subreaper=True)
"""
    status, output = run(text, mode=mode)
    assert status == 0
    assert output.split() == ["callback", "unraisable", "trace", "profile", "os.exec"]


def test_a_cwd_that_may_not_be_searched_is_no_hindrance(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    text = f"import os, pyinit; os.chdir({str(closed)!r}); os.setgid(65534); os.setuid(65534); print(pyinit.launch())"
    assert run(text) == (0, "True\n")


def test_options_count_in_the_call_and_in_the_environment(mode: Mode) -> None:
    text = "import sys, pyinit; pyinit.launch(subreaper=True, remap_exit=(7, 8)); sys.exit(int(sys.argv[1]))"
    assert run(text, "7", mode=mode) == (0, "")
    assert run(text, "8", mode=mode) == (0, "")
    assert run(text, "9", mode=mode) == (9, "")
    environment = {**ENVIRONMENT, "PYINIT_OPTIONS": "-e 9"}
    assert run(text, "9", mode=mode, env=environment) == (0, "")


@pytest.mark.parametrize("options", ["-n", "--json-status-fd 77", "-P -w", "--nonsense"])
def test_options_in_the_environment_are_for_a_pyinit_that_launch_becomes(options: str) -> None:
    text = "import os, pyinit; print(pyinit.launch(), os.environ['PYINIT_OPTIONS'])"
    environment = {**ENVIRONMENT, "PYINIT_OPTIONS": options}
    assert run(text, mode="subreaper", env=environment) == (0, f"False {options}\n")


@pytest.mark.parametrize("options", ["-n", "-P", "-h", "-V -s", "-n -w", "-n -t 1"])
def test_what_is_no_argument_of_launch_does_not_count_in_the_environment(mode: Mode, options: str) -> None:
    """-w and -t reach a pyinit that reads its command line in Python, or has an adviser that does."""
    text = (
        SUBREAPER
        + """
print(os.environ.get("PYINIT_OPTIONS"), flush=True)
if os.fork() == 0:
    os.execvp("sleep", ["sleep", "1000"])
sys.exit(6)
"""
    )
    environment = {**ENVIRONMENT, "PYINIT_OPTIONS": options}
    status, output = run(text, mode=mode, env=environment)
    assert (status, output.splitlines()[0]) == (6, "None")


def test_the_options_in_the_environment_of_the_outer_pyinit_are_not_for_launch(tmp_path: Path) -> None:
    with open(tmp_path / "status", "wb") as status:
        options = f"-n --json-status-fd {status.fileno()}"
        text = SUBREAPER + "sys.exit(5)"
        environment = {**ENVIRONMENT, "PYINIT_OPTIONS": options}
        given: Any = {"env": environment, "pass_fds": [status.fileno()], "mode": "subreaper"}
        assert run(text, init=(str(PYINIT), "--"), **given) == (5, "")
    assert (tmp_path / "status").read_text().count("exit-code") == 1


def test_a_descriptor_for_the_status_need_not_be_inheritable(mode: Mode, tmp_path: Path) -> None:
    text = f"""
import os, sys, pyinit
status = os.open({str(tmp_path / "status")!r}, os.O_CREAT | os.O_WRONLY)
pyinit.launch(subreaper=True, json_status_fd=status)
print(os.getpid(), os.get_inheritable(status))
sys.exit(3)
"""
    status, output = run(text, mode=mode)
    assert (status, output.split()[1]) == (3, "False")
    assert [json.loads(line) for line in (tmp_path / "status").read_text().splitlines()] == [
        {"child-pid": int(output.split()[0])},
        {"exit-code": 3},
    ]


def test_a_parent_death_signal_is_sent_to_the_program_when_its_parent_dies() -> None:
    text = """
import os, signal, pyinit
if (child := os.fork()) == 0:
    pyinit.launch(subreaper=True, parent_death_signal="USR1")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    print("launched", flush=True)
    print(signal.sigtimedwait({signal.SIGUSR1}, 60).si_signo, flush=True)
    os._exit(0)
print(child, flush=True)
os.wait()
"""
    with program(text, mode="subreaper") as process:
        pyinit = int(process.line())
        assert process.line() == b"launched\n"
        settled(pyinit)
        process.send(signal.SIGKILL)
        assert process.line() == b"10\n"


def test_at_a_terminal_the_program_is_in_the_foreground_and_ctrl_c_reaches_it_alone(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("""
import os, signal, sys, time, pyinit
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
pyinit.launch()
print("foreground", os.tcgetpgrp(0) == os.getpgrp() == os.getpid(), flush=True)
while not got: time.sleep(0.05)
print("got", len(got), flush=True)
sys.exit(4)
""")
    with terminal(*CONTAINER, PYTHON, file, env=ENVIRONMENT) as run:
        run.see_text("foreground True")
        run.type(CTRL_C)
        run.see_text("got 1")
        assert run.wait() == 4


def test_ctrl_z_while_it_launches_hangs_nobody(tmp_path: Path) -> None:
    """Not where no shell could continue the job: the parent of strace is in another session."""
    need("strace")
    file = tmp_path / "program.py"
    file.write_text(SUBREAPER + "os.execvp('cat', ['cat'])")
    slowly = ["-e", "trace=rt_sigprocmask", "-e", "inject=rt_sigprocmask:delay_exit=300000"]
    with terminal("strace", "-f", "-o", "/dev/null", *slowly, PYTHON, file, env=ENVIRONMENT) as run:
        run.forks()
        run.type(CTRL_Z)
        run.echoes("hello")
        run.type(CTRL_D)
        assert run.wait() == 0


def test_importing_it_and_launching_import_next_to_nothing() -> None:
    text = """
import sys
before = set(sys.modules)
import pyinit
imported = set(sys.modules) - before
pyinit.launch()
print(imported, sorted(set(sys.modules) - before - imported))
"""
    own = ["_thread", "gc", "pyinit.base", "pyinit.native", "pyinit.native.launch", "time"]
    status, output = run(text)
    imported, _, launched = output.partition(" ")
    assert (status, imported) == (0, "{'pyinit'}")
    assert set(json.loads(launched.replace("'", '"'))) <= {*own, "fcntl"}
