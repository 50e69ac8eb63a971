"""Copies of the pyinit under test: for another user, in a namespace of its own, and with something missing."""

import functools
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pyinit.native import FLAGS
from tests.harness import (
    BASE_PYTHON,
    IN_C,
    PYINIT,
    SCRIPT,
    missing,
    need,
    started,
)
from tests.programs import build_directory

LAUNCHER = [str(PYINIT), "--pid-namespace"]
NOBODY = 65534


def run(script: str, *, init: list[str] | None = None, **popen: Any) -> tuple[int, bytes]:
    """Run `sh -c script` under the launcher to its end: exit status and output, stderr included."""
    with started("sh", "-c", script, init=init or LAUNCHER, stderr=subprocess.STDOUT, **popen) as process:
        output = process.output()
        return process.wait(), output


class User(NamedTuple):
    """Somebody who isn't root, with a directory that nobody else may read and a pyinit of their own in it."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: Path

    @property
    def launcher(self) -> list[str]:
        return self.command(str(self.home / "bin/pyinit"), "--pid-namespace")

    def command(self, *words: str) -> list[str]:
        """`words` run as this user, by setpriv(1), which needs root."""
        groups = ["--groups", ",".join(map(str, self.groups))] if self.groups else ["--clear-groups"]
        return ["setpriv", "--reuid", str(self.uid), "--regid", str(self.gid), *groups, *words]


@contextmanager
def somebody(uid: int, gid: int, groups: tuple[int, ...] = ()) -> Iterator[User]:
    """A user with a pyinit of their own; the directory goes in the end."""
    need("setpriv")
    interpreter = Path(interpreter_of(SCRIPT))
    with tempfile.TemporaryDirectory(prefix="pyinit-test-") as outer:
        os.chmod(outer, 0o711)
        user = User(uid, gid, groups, Path(outer, "home"))
        copy_installation(user.home)
        for path in [user.home, *user.home.rglob("*")]:
            os.chown(path, uid, gid)
        user.home.chmod(0o700)
        if subprocess.run(user.command("test", "-x", str(interpreter)), check=False).returncode:
            missing(f"a Python that user {uid} may run: {interpreter} is not")
        yield user


@functools.cache
def public_pyinit() -> str:
    """The path of a copy of the pyinit under test that every user may run, wherever the checkout lies."""
    home = build_directory() / "home"
    copy_installation(home)
    return str(home / "bin/pyinit")


def without(*functions: str) -> list[str]:
    """pyinit, run by a CPython that lacks functions of posix or _signal, as one that was built for an old glibc."""
    script = f"""
import _signal, posix, sys
for name in {functions}:
    for module in (_signal, posix):
        vars(module).pop(name, None)
del sys.argv[0]
__file__ = sys.argv[0]
exec(compile(open(__file__).read(), __file__, "exec"))
"""
    return [interpreter_of(SCRIPT), FLAGS, "-c", script, str(SCRIPT)]


def interpreter_of(script: Path) -> str:
    """The interpreter that the first line of a script names."""
    return script.read_text().split(maxsplit=1)[0].removeprefix("#!")


def copy_installation(home: Path) -> None:
    """Put a copy of the pyinit under test below `home`, laid out as pip does."""
    packages = Path("lib", "python%d.%d" % sys.version_info[:2], "site-packages")
    (home / "bin").mkdir(parents=True)
    for program in {PYINIT, SCRIPT}:
        shutil.copy(program, home / "bin")
    if IN_C:  # as pip writes it for an interpreter that every user may run
        (home / "bin/pyinit-python").write_text(f"#!{BASE_PYTHON}\n{SCRIPT.read_text().partition(chr(10))[2]}")
    installed = PYINIT.parent.parent / packages
    shutil.copytree(installed / "pyinit", home / packages / "pyinit")
    for library in installed.glob("_prctl*"):
        shutil.copy(library, home / packages)


def in_mount_namespace(script: str, *words: str) -> list[str]:
    """A command line that runs `script` in a mount namespace of its own, then execs `words`. It needs root."""
    return [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-ec",
        f'{script}\nexec {shlex.join(words)} "$@"',
        "sh",
    ]
