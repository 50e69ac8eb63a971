"""Runs of the launcher, and users who run it."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.copies import copy_installation, interpreter_of
from tests.harness import PYINIT, SCRIPT, missing, need, started

LAUNCHER = [str(PYINIT), "--pid-namespace"]


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
