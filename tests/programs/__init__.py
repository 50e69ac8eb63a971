"""The C programs beside this file, compiled once a session: for what Python is too slow or too careful."""

import atexit
import functools
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from tests.harness import need

COMPILING = threading.Lock()


@functools.cache
def build_directory() -> Path:
    """A directory of this session's own that every user may read."""
    directory = Path(tempfile.mkdtemp(prefix="pyinit-programs-"))
    directory.chmod(0o755)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def compiled(name: str, *flags: str) -> str:
    """The path of the program made of NAME.c; its first comment says what it does."""
    with COMPILING:
        return _compiled(name, *flags)


@functools.cache
def _compiled(name: str, *flags: str) -> str:
    need("gcc")
    source, target = Path(__file__).with_name(f"{name}.c"), build_directory() / name
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", *flags, "-o", target, source], check=True)
    return str(target)
