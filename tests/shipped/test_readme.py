"""Every command of README.md does what is said there, but for those that need an engine: see tests/engines."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PYINIT, Started, descendants_of, name_of, need, need_root, started, wait_until
from tests.readme import IN_CONTAINERS, README, blocks, commands

CHECKOUT = README.parent
MAKEFILE = "all:\n\t@sleep 1000 & echo made\n"
SERVER = "#!/bin/sh\necho I am PID $$\nread -r line\n"
INSTALL_MINUTES = 5
# What make(1) tells a make that it runs, as `make test` would these: one below another names its directories.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTEST_OPTIONS")
}


@contextmanager
def typed(command: str, directory: Path, **popen: Any) -> Iterator[Started]:
    """Run a command of the README in `directory`, with the installed pyinit in PATH."""
    environ = {**ENVIRONMENT, "PATH": f"{PYINIT.parent}:{os.environ['PATH']}"}
    with started(init=["sh", "-c", f"exec {command}"], env=environ, cwd=directory, **popen) as run:
        yield run


def saves_its_data(command: str, directory: Path) -> None:
    need("redis-server", "redis-cli", "ip", "nsenter")
    online = "ip link set lo up && exec unshare --pid --fork --mount-proc --kill-child"
    need_root()
    with typed(f"unshare --net sh -c '{online} {command}'", directory) as run:
        wait_until(lambda: "redis-server" in names(run), "redis-server")
        enter = ["nsenter", "--net", f"--target={run.pid}", "redis-cli"]
        wait_until(lambda: subprocess.run([*enter, "set", "key", "value"], capture_output=True).stdout == b"OK\n")
        os.kill(run.main_child(), signal.SIGTERM)
        run.wait()
        assert b"Received SIGTERM" in run.output()
    assert (directory / "dump.rdb").exists()


def names(run: Started) -> list[str]:
    """Of those below it: redis-server overwrites its environment, by which run.alive() knows a process."""
    return [name_of(pid) for pid in descendants_of(run.pid)]


def shows_what_pyinit_is_for(command: str, directory: Path) -> None:
    need_root()
    shown = at_the_checkout(command)
    begins = README.read_text().partition("`make demo` begins with:\n\n")[2].partition("\n\n## ")[0]
    expected = re.sub(" +", " ", re.escape(re.sub(r" +", " ", begins.replace("\n    ", "\n").strip())))
    assert re.match(re.sub(r"\d+\\ ms", r"\\d+\\ ms", expected), re.sub(r" +", " ", shown).replace("\n ", "\n "))


def runs_the_tests(command: str, directory: Path) -> None:
    """As this run shows; here only that there is such a target."""
    assert re.search("-m pytest .*tests/smoke ", at_the_checkout(f"{command} --dry-run"), re.MULTILINE)


def at_the_checkout(command: str) -> str:
    """What a command prints there."""
    words = ["sh", "-c", command]
    return subprocess.run(words, cwd=CHECKOUT, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


def starts_nothing_that_outlives_it(command: str, directory: Path) -> None:
    (directory / "Makefile").write_text(MAKEFILE)
    with typed(command, directory) as run:
        assert run.output() == b"made\n"
        assert run.wait() == 0
        assert run.alive() == []


def has_a_namespace_of_its_own(command: str, directory: Path) -> None:
    server = directory / "server"
    server.write_text(SERVER)
    server.chmod(0o755)
    with typed(command, directory, stdin=subprocess.PIPE) as run:
        assert run.line() == b"I am PID 2\n"
        run.close_stdin()
        assert run.wait() == 1


CHECKS: dict[str, Callable[[str, Path], None]] = {
    'pyinit -- /bin/sh -c "redis-server"': saves_its_data,
    "make demo": shows_what_pyinit_is_for,
    "make test": runs_the_tests,
    "pyinit -- make -j8": starts_nothing_that_outlives_it,
    "pyinit --pid-namespace -- ./server": has_a_namespace_of_its_own,
}
INSTALL = next(list(commands([block])) for block in blocks("sh") if "pip install" in block)
SYSTEM_PATH = "/usr/bin:/usr/sbin:/bin:/sbin"
ALONE = [line for line in commands(blocks("sh")) if not line.startswith(IN_CONTAINERS) and line not in INSTALL]


@pytest.mark.parametrize("command", ALONE)
def test_the_command_does_what_the_readme_says(command: str, tmp_path: Path) -> None:
    CHECKS[command](command, tmp_path)


@pytest.mark.slow
def test_it_installs_as_the_readme_says(tmp_path: Path) -> None:
    """With Debian's packages on this very system, as `make test` has installed them already, and a home of its own.

    A reader types `python3 -m pip` for an image next: that must not be the Python of the venv.
    """
    need_root()
    need("apt-get", "man")
    source = tmp_path / "source"
    shutil.copytree(
        CHECKOUT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "tests", "bench", "tools")
    )
    settings = ("Get::Assume-Yes true", "Get::Upgrade false", "Install-Recommends false")
    lines = [*(f"APT::{setting};\n" for setting in settings), "DPkg::Lock::Timeout 300;\n"]
    (tmp_path / "apt.conf").write_text("".join(lines))
    lines = [*INSTALL, "pyinit -- echo it works", 'ls "$HOME/.pyinit/bin"', "man -w pyinit"]
    lines.append("python3 -c 'import sys; print(sys.prefix)'")
    words = ["sh", "-ec", "\n".join(lines)]
    environ = {**os.environ, "APT_CONFIG": str(tmp_path / "apt.conf"), "PIP_NO_CACHE_DIR": "1", "HOME": str(tmp_path)}
    environ["PATH"] = SYSTEM_PATH
    done = subprocess.run(
        words, cwd=source, env=environ, capture_output=True, text=True, timeout=60 * INSTALL_MINUTES, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\nit works\n" in done.stdout
    assert {"pyinit", "pyinit-ps", f"{tmp_path}/.pyinit/share/man/man1/pyinit.1"} <= set(done.stdout.split())
    assert done.stdout.endswith("\n/usr\n")


def test_a_python_program_becomes_the_child_of_its_own_pyinit(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(blocks("python")[0] + "import os\nprint(os.getpid(), flush=True)\ninput()\n")
    with started(init=[sys.executable, str(tmp_path / "app.py")], mode="pid1", stdin=subprocess.PIPE) as run:
        assert run.line() == b"2\n"
        wait_until(lambda: name_of(run.pid) == "pyinit", "pyinit as PID 1")
        run.send(signal.SIGTERM)
        assert run.wait() == 143


def test_the_readme_is_read_in_ten_minutes() -> None:
    assert len(README.read_text().splitlines()) <= 180
