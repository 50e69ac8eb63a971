"""Whatever is wrong with what pyinit is asked for: one clear line on stderr and the documented status."""

import os
from pathlib import Path

import pytest

from tests.copies import public_pyinit
from tests.harness import PYINIT, Mode, need, need_root, started

Capture = pytest.CaptureFixture[str]

USAGE = {
    (): "no command given",
    ("--",): "no command given",
    ("-v",): "no command given",
    ("-x", "true"): "-x is no option",
    ("-vx", "true"): "-x is no option",
    ("--nonsense", "true"): "--nonsense is no option",
    ("--nonsense=3", "true"): "--nonsense is no option",
    ("--=3", "true"): "no option",
    ("--s", "true"): "ambiguous",
    ("--verbose=3", "true"): "takes no value",
    ("-r",): "needs a value",
    ("--rewrite",): "needs a value",
    ("-e",): "needs a value",
    ("-p",): "needs a value",
    ("--scope",): "needs a value",
    ("--scope", "nobody", "true"): "child, group",
    ("--scope=", "true"): "child, group",
    ("-r", "0:15", "true"): "0",
    ("-r", "65:15", "true"): "65",
    ("-r", "15:65", "true"): "65",
    ("-r", "-1:15", "true"): "-1",
    ("-r", "TERN:QUIT", "true"): "TERN",
    ("-r", "TERM:QUIET", "true"): "QUIET",
    ("-r", "TERM", "true"): "SIG:SIG",
    ("-r", "TERM:", "true"): "no signal",
    ("-r", ":TERM", "true"): "no signal",
    ("-r", "TERM:QUIT:HUP", "true"): "QUIT:HUP",
    ("-r", "", "true"): "SIG:SIG",
    ("-r", "KILL:TERM", "true"): "cannot be caught",
    ("-r", "19:TERM", "true"): "cannot be caught",
    ("-r", "RTMAX+1:TERM", "true"): "RTMAX+1",
    ("-e", "256", "true"): "0 to 255",
    ("-e", "x", "true"): "0 to 255",
    ("-e", "-1", "true"): "0 to 255",
    ("-e", "", "true"): "0 to 255",
    ("-e", "1.5", "true"): "0 to 255",
    ("-e", "9" * 5000, "true"): "-e 999",
    ("-e", "\u0663", "true"): "0 to 255",
    ("-p", "nonsense", "true"): "nonsense",
    ("-p", "0", "true"): "0",
    ("-p", "SIG", "true"): "SIG",
    ("-p", "_DFL", "true"): "_DFL",
    ("-p", "SIG_IGN", "true"): "SIG_IGN",
    ("-p", "\xdf", "true"): "no signal",
}


@pytest.mark.parametrize("words", USAGE, ids=lambda words: " ".join(words)[:40] or "nothing")
def test_a_wrong_command_line_is_one_line_and_125(capfd: Capture, words: tuple[str, ...]) -> None:
    with started(*words) as run:
        assert run.output() == b""
        assert run.wait() == 125
    said = capfd.readouterr().err
    assert said.startswith("pyinit: ")
    assert said.count("\n") == 1
    assert USAGE[words] in said


def test_a_wrong_command_line_as_pid_1_is_125_too(capfd: Capture) -> None:
    with started("--nonsense", mode="pid1") as run:
        assert run.wait() == 125
    assert "--nonsense is no option" in capfd.readouterr().err


@pytest.mark.parametrize("words", [[b"--\xff"], [b"-\xe4"], [b"-r", b"\xff:\xfe"], [b"-e", b"\xff"]], ids=str)
def test_bytes_that_are_no_utf_8_are_told_as_they_are(words: list[bytes]) -> None:
    with started(*words, "true", stderr=-1, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}) as run:
        said = run.stderr.read()
        assert run.wait() == 125
    assert said.startswith(b"pyinit: ")
    assert said.count(b"\n") == 1
    assert words[-1][-1:] in said


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("-e 256", "0 to 255"),
        ("true", "no option"),
        ("-v nonsense", "'nonsense' is no option"),
        ("-r", "needs a value"),
    ],
)
def test_wrong_words_in_pyinit_options_are_told_with_its_name(capfd: Capture, value: str, reason: str) -> None:
    with started("true", env={**os.environ, "PYINIT_OPTIONS": value}) as run:
        assert run.wait() == 125
    said = capfd.readouterr().err
    assert "PYINIT_OPTIONS: " in said
    assert reason in said


def test_a_fork_that_fails_is_one_line_and_125(capfd: Capture, mode: Mode) -> None:
    """EAGAIN, for a user who has as many processes as allowed; root is never refused."""
    need_root()
    need("setpriv", "prlimit")
    uid = str(100_000 + os.getpid())  # nobody else's
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "prlimit", "--nproc=0:0"]
    with started("true", init=[*drop, public_pyinit(), "--"], mode=mode) as run:
        assert run.wait() == 125
    said = capfd.readouterr().err
    assert said.startswith("pyinit: cannot fork: ")
    assert "temporarily unavailable" in said
    assert said.count("\n") == 1


def test_too_few_descriptors_to_start_a_command_are_one_line_and_125(capfd: Capture) -> None:
    """Four are enough for CPython to read its files, one at a time, and too few for a pipe."""
    need("prlimit")
    with started("true", init=["prlimit", "--nofile=4:4", str(PYINIT), "--"]) as run:
        assert run.wait() == 125
    said = capfd.readouterr().err
    assert said.startswith("pyinit: cannot make a pipe: ")
    assert "oo many open files" in said
    assert said.count("\n") == 1


def test_a_stdout_that_takes_nothing_is_told_when_something_is_to_be_printed(capfd: Capture) -> None:
    with open("/dev/full", "wb") as full, started("--help", stdout=full) as run:
        assert run.wait() == 125
    said = capfd.readouterr().err
    assert said.startswith("pyinit: cannot write to stdout: ")
    assert said.count("\n") == 1


def test_a_working_directory_that_cannot_be_read_is_no_obstacle(tmp_path: Path) -> None:
    need_root()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    drop = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", public_pyinit(), "--"]
    with started("sh", "-c", "exit 5", init=drop, cwd=closed, stderr=-3) as run:
        assert run.wait() == 5
