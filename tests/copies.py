"""Copies of the pyinit under test: for another user, and with something missing."""

import functools
import shlex
import shutil
import sys
from pathlib import Path

from pyinit.native import FLAGS
from tests.harness import BASE_PYTHON, IN_C, PYINIT, SCRIPT
from tests.programs import build_directory

NOBODY = 65534


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
