"""`python -m pyinit`: the command, in an isolated interpreter."""

import os
from typing import Any

from tests.harness import (
    PYTHON,
    Mode,
    name_of,
    proc,
    settled,
    started,
)
from tests.launch.launching import ENVIRONMENT, LIBRARY


def by_module(*words: str, **popen: Any) -> Any:
    """Start `python -m pyinit words`."""
    return started(*words, init=[PYTHON, "-m", "pyinit"], env=ENVIRONMENT, cwd="/", **popen)


def test_python_m_pyinit_is_the_command_in_an_isolated_interpreter(mode: Mode) -> None:
    with by_module(
        "-v", "-e", "7", "--", "sh", "-c", "echo up; read _; exit 7", mode=mode, stdin=-1, stderr=-3
    ) as process:
        process.up()
        settled(process.pid)
        words = proc(process.pid, "cmdline").split(b"\0")
        assert words[:2] == [PYTHON.encode(), b"-ISXutf8"]
        assert name_of(process.pid) == "pyinit"
        process.close_stdin()
        assert process.wait() == 0


def test_python_m_pyinit_says_what_is_wrong_as_the_command_does() -> None:
    with by_module("--nonsense", stderr=-1) as process:
        assert process.wait() == 125
        assert process.stderr.read() == b"pyinit: --nonsense is no option (see pyinit --help)\n"


def test_python_m_pyinit_leaves_the_locale_alone() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(LIBRARY)}
    with started("env", init=[PYTHON, "-m", "pyinit", "--"], env=environment, cwd="/") as process:
        names = {line.split(b"=")[0] for line in process.output().splitlines()}
    assert names == {b"PATH", b"PYTHONPATH", b"PYINIT_TEST"}
