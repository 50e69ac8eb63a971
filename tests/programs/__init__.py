"""The programs beside this file, which pyinit runs in tests: in C where Python is too slow, or changes what is seen."""

import atexit
import functools
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from tests.harness import BASE_PYTHON, need

COMPILING = threading.Lock()
HERE = Path(__file__).parent
# What they do is said in them. They are given as words, because not every user may read the checkout.
RECORDER, SAVER = (Path(HERE, f"{name}.py").read_text() for name in ("recorder", "saver"))


def recorder(*ends: str) -> list[str]:
    """The words of a program that says which signals come, until one of these."""
    return [BASE_PYTHON, "-ISc", RECORDER, *ends]


def saver(file: Path, seconds: float = 0.3, *way: object) -> list[str]:
    """The words of a server that saves when it is told to stop, and writes into `file` what came."""
    return [BASE_PYTHON, "-ISc", SAVER, str(file), str(seconds), *map(str, way)]


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
    source, target = HERE / f"{name}.c", build_directory() / name
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", *flags, "-o", target, source], check=True)
    return str(target)
