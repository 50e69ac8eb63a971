"""The manual pages and the completions, as pip installs them, read by man and used by real shells."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

import pyinit.stop
from tests.harness import PYINIT, missing, need
from tests.shell import PROMPT
from tools.pages import files, of_pyinit, of_pyinit_ps

SHARE = PYINIT.parents[1] / "share"
BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
TAB = "\t"
WORDS = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i", "+o", "promptsp"]}
# What is typed before TAB, and what stands there then.
COMPLETED = {
    "pyinit --gra": "pyinit --grace",
    "pyinit --scope a": "pyinit --scope all",
    "pyinit --scope=gr": "pyinit --scope=group",
    "pyinit -p SIGWIN": "pyinit -p SIGWINCH",
    "pyinit -r TERM:QU": "pyinit -r TERM:QUIT",
    "pyinit -r USR1": "pyinit -r USR1:",
    "pyinit -vp WIN": "pyinit -vp WINCH",
    "pyinit-ps --signal WIN": "pyinit-ps --signal WINCH",
    "pyinit -v -- unsha": "pyinit -v -- unshare",
    "pyinit -t 5 unsha": "pyinit -t 5 unshare",
    "pyinit --grace=5 unsha": "pyinit --grace=5 unshare",
    "pyinit -r TERM:QUIT unsha": "pyinit -r TERM:QUIT unshare",
    "pyinit -- thing --spec": "pyinit -- thing --special",
    "pyinit -v thing --spec": "pyinit -v thing --special",
    "pyinit-ps --jso": "pyinit-ps --json",
}


def read_by_man(page: str) -> str:
    """What `man page` shows, without its markup, where the command's directory is in PATH."""
    need("man")
    path = f"{PYINIT.parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "MANPAGER": "cat", "MANWIDTH": "100", "LC_ALL": "C.UTF-8"}
    environ.pop("MANPATH", None)
    shown = subprocess.run(["man", page], env=environ, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return re.sub(".\b", "", shown.stdout)


def test_the_page_and_the_code_explain_a_stop_in_the_same_words() -> None:
    page = one_line(re.sub("\N{HYPHEN}\n *", "", read_by_man("pyinit")).replace(" (see Time)", ""))
    rules = re.findall(r"^ *(\d+)\. (.*(?:\n {4}.*)*)", pyinit.stop.__doc__ or "", re.MULTILINE)
    assert [int(number) for number, _ in rules] == [*range(1, 13)]
    for number, rule in rules:
        assert f" {number}. {one_line(rule)} " in page


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("program", ["pyinit", "pyinit-ps"])
def test_man_shows_the_page_that_was_installed_with_every_option(program: str) -> None:
    text = read_by_man(program)
    assert re.search(rf"^NAME\n +{program} \W+ ", text, re.MULTILINE)
    for row in {"pyinit": of_pyinit, "pyinit-ps": of_pyinit_ps}[program]():
        words = ", ".join(row.typed())
        assert re.search(rf"^ +{re.escape(f'{words} {row.value}'.strip())}\b", text, re.MULTILINE), words


def test_the_manual_pages_have_no_fault_in_them() -> None:
    need("mandoc")
    for page in SHARE.glob("man/man1/pyinit*.1"):
        found = subprocess.run(["mandoc", "-T", "lint", page], capture_output=True, text=True).stdout
        # Which other pages there are is a matter of the machine.
        assert [line for line in found.splitlines() if "referenced manual not found" not in line] == []


def test_no_word_of_a_tag_is_taken_for_a_macro() -> None:
    """As in `.It No stop signal`, which mandoc says nothing about, and shows as "stop signal"."""
    assert re.search("^ +No stop signal has come$", read_by_man("pyinit"), re.MULTILINE)


@pytest.mark.parametrize("made", files().items(), ids=lambda made: Path(made[0]).name)
def test_the_pages_and_completions_are_those_of_the_tables(made: tuple[Path, str]) -> None:
    path, text = made
    assert path.read_text() == text, "python -m tools.pages writes it"


def test_what_is_made_is_what_is_installed() -> None:
    for path, text in files().items():
        if not path.is_relative_to(SHARE):
            continue  # this is a source of the C program
        *_, folder, name = path.parts
        assert [found.read_text() for found in SHARE.rglob(f"{folder}/{name}")] == [text]


@contextmanager
def prepared(shell: str, first: str) -> Iterator["pexpect.spawn[str]"]:
    """A shell with a line editor on a pty that has run the line `first`."""
    need(shell)
    environ = {"PATH": os.environ["PATH"], "PS1": PROMPT, "TERM": "dumb", "INPUTRC": "/dev/null", "LC_ALL": "C.UTF-8"}
    spawn = pexpect.spawn(shell, WORDS[shell], env=environ, encoding="utf-8", timeout=30, dimensions=(24, 200))
    try:
        spawn.sendline(f"{first}; echo rea''dy")
        spawn.expect_exact("ready\r\n")
        spawn.expect_exact(PROMPT)
        yield spawn
    finally:
        spawn.kill(signal.SIGKILL)  # close() waits a second for what a shell does not do
        spawn.wait()
        spawn.close()


def bash_with(*more: str) -> str:
    """A line that loads the completions, and what `more` says before, into bash."""
    completions = SHARE / "bash-completion/completions"
    sourced = [*more, *(str(completions / program) for program in ("pyinit", "pyinit-ps"))]
    return "; ".join([*(f". {shlex.quote(path)}" for path in sourced), "complete -W --special thing"])


@pytest.mark.parametrize("typed", COMPLETED)
def test_bash_completes(typed: str) -> None:
    if not Path(BASH_COMPLETION).exists():
        missing("bash-completion")
    with prepared("bash", bash_with(BASH_COMPLETION)) as spawn:
        spawn.send(typed + TAB)
        spawn.expect_exact(COMPLETED[typed])


@pytest.mark.parametrize("typed", [typed for typed in COMPLETED if "thing" not in typed])
def test_bash_completes_without_the_package_for_that(typed: str) -> None:
    with prepared("bash", bash_with()) as spawn:
        spawn.send(typed + TAB)
        spawn.expect_exact(COMPLETED[typed])


@pytest.mark.parametrize("typed", COMPLETED)
def test_zsh_completes(typed: str) -> None:
    first = f"fpath=({shlex.quote(str(SHARE / 'zsh/site-functions'))} $fpath); autoload -U compinit; compinit -u -D"
    thing = "_thing() { _arguments --special'[x]' }; compdef _thing thing"
    with prepared("zsh", f"{first}; {thing}") as spawn:
        spawn.send(typed + TAB)
        spawn.expect_exact(COMPLETED[typed])


@pytest.mark.parametrize("typed", [typed for typed in COMPLETED if "SIG" not in typed and typed != "pyinit -r USR1"])
def test_fish_completes(typed: str) -> None:
    need("fish")
    sourced = "; ".join(f"source {SHARE}/fish/vendor_completions.d/{name}.fish" for name in ("pyinit", "pyinit-ps"))
    line = f"{sourced}; complete -c thing -l special; complete -C '{typed}'"
    found = subprocess.run(["fish", "--no-config", "-c", line], capture_output=True, text=True, check=True).stdout
    assert re.split("[ =]", COMPLETED[typed])[-1] in re.split("[\n\t=]", found)
