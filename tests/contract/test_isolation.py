"""Nothing of Python's environment gets into pyinit, however it was installed, and the command sees all of it."""

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.copies import copy_installation
from tests.harness import BASE_PYTHON, CHECKOUT, PYINIT, SCRIPT, UNSHARE, Mode, need, need_root, started
from tests.programs import build_directory

PIP = next(Path(sys.prefix).glob("lib/python3*/site-packages/pip"))
QUIET = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--break-system-packages"]
# The first four install a wheel, which has the C program.
WHEEL_KINDS = [pytest.param(kind, marks=pytest.mark.c_program) for kind in ("system", "prefix", "user", "target")]
KINDS = [*WHEEL_KINDS, "venv", "symlink", "symlink-to-symlink", "relative", "isolated-form"]

HOSTILE = "import sys; sys.stderr.write('HOSTILE {}\\n'); sys.stdout.write('HOSTILE\\n')\n"
VARIABLES = {
    "PYTHONHOME": "/nonexistent",
    "PYTHONINSPECT": "1",
    "PYTHONVERBOSE": "1",
    "PYTHONTRACEMALLOC": "25",
    "PYTHONPROFILEIMPORTTIME": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONMALLOC": "debug",
    "PYTHONIOENCODING": "utf-16",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "warn",
    "PYTHONFAULTHANDLER": "1",
    "PYTHONSTARTUP": "/nonexistent.py",
    "PYTHONPLATLIBDIR": "nonexistent",
    "PYTHONEXECUTABLE": "/nonexistent",
    "PYTHONUNBUFFERED": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONDUMPREFS": "1",
    "PYTHONHASHSEED": "nonsense",
    "PYTHONINTMAXSTRDIGITS": "nonsense",
    "PYTHONBREAKPOINT": "os.abort",
    "PYTHONCASEOK": "1",
}
MODULES = ["sitecustomize", "usercustomize", "signal", "os", "enum", "errno", "posix", "time", "io", "_prctl", "prctl"]
MODULES += ["pyinit", "_stat", "encodings", "codecs", "abc", "site", "zipimport", "select", "warnings"]


@functools.cache
def wheel() -> Path:
    """pyinit's wheel, built once a session from a copy of the checkout."""
    source = build_directory() / "source"
    source.mkdir()
    shutil.copytree(CHECKOUT / "pyinit", source / "pyinit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "build_steps.py", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(source / "dist"), str(source)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return next((source / "dist").glob("*.whl"))


@functools.cache
def installed(kind: str) -> tuple[str, ...]:
    """How to start a pyinit that was installed in this way."""
    root = build_directory() / kind
    base_pip = [BASE_PYTHON, str(PIP), "install", *QUIET, "--ignore-installed"]
    environment = dict(os.environ)
    if kind == "isolated-form":
        return (BASE_PYTHON, "-I", "-S", "-X", "utf8", str(SCRIPT), "--")
    if kind in ("symlink", "symlink-to-symlink", "relative", "venv"):
        if kind == "venv":
            return (str(PYINIT), "--")
        (root / "bin").mkdir(parents=True)
        if kind == "relative":
            return ("sh", "-c", f'cd "{PYINIT.parent}" && exec ./pyinit -- "$@"', "sh")
        (root / "bin" / "pyinit").symlink_to(PYINIT)
        if kind == "symlink":
            return (str(root / "bin" / "pyinit"), "--")
        (root / "init").symlink_to("bin/pyinit")
        return (str(root / "init"), "--")
    where = {"system": "--root", "prefix": "--prefix", "target": "--target", "user": "--user"}[kind]
    if kind == "user":
        environment["PYTHONUSERBASE"] = str(root)
    words = [*base_pip, where, *([] if kind == "user" else [str(root)]), str(wheel())]
    subprocess.run(words, check=True, env=environment, stdin=subprocess.DEVNULL)
    return (str(next(root.rglob("bin/pyinit"))), "--")


def hostile_directory(path: Path) -> Path:
    """A directory of modules that tell when they are imported, pyinit's own name among them."""
    path.mkdir()
    for name in MODULES:
        (path / f"{name}.py").write_text(HOSTILE.format(name))
    (path / "hostile.pth").write_text("import sitecustomize\n")
    return path


def behaviour(init: tuple[str, ...], mode: Mode, directory: Path, environment: dict[str, str]) -> tuple[object, ...]:
    """All that can be seen of a few runs, with every number replaced; where the script lies does not matter."""
    seen: list[object] = []
    words = [*(UNSHARE if mode == "pid1" else []), *init]
    options = words[:-1] if words[-1] == "--" else None
    runs = [[*words, "sh", "-c", "(true &); echo out; exit 7"], [*words, "/no/where"], [*words, "-"]]
    if options:
        verbose = [*options, "-v", "-w", "--", "sh", "-c", "kill -9 $$"]
        runs += [verbose, [*options, "--nonsense"], [*options, "--version"], [*options, "-e", "x", "true"]]
    for run in runs:
        with started(init=run, env=environment, cwd=directory, stderr=-1) as running:
            out, err = running.process.communicate(timeout=60)
            seen += [running.wait(), out, re.sub(rb"\d+", b"N", err)]
    return tuple(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_environment_and_working_directory_change_nothing(mode: Mode, tmp_path: Path, kind: str) -> None:
    if mode == "pid1":
        need_root()
    init = installed(kind)
    calm = {"PATH": "/usr/bin:/bin", "HOME": "/root"}
    (tmp_path / "calm").mkdir()
    hostile = hostile_directory(tmp_path / "hostile")
    site = tmp_path / "home" / ".local" / "lib" / "python{}.{}".format(*sys.version_info[:2])
    site.mkdir(parents=True)
    hostile_directory(site / "site-packages")
    wild = {**calm, **VARIABLES, "PYTHONPATH": f"{hostile}:", "HOME": str(tmp_path / "home")}
    wild["PYTHONUSERBASE"] = str(tmp_path / "home" / ".local")
    expected = behaviour(init, mode, tmp_path / "calm", calm)
    assert expected[0] == 7
    assert behaviour(init, mode, hostile, wild) == expected


def test_the_command_still_sees_those_variables(mode: Mode, tmp_path: Path) -> None:
    wild = {**VARIABLES, "PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    with started("env", "-0", mode=mode, env=wild) as run:
        entries = run.output().decode().split("\0")
    assert {f"{name}={value}" for name, value in wild.items()} <= set(entries)


def test_the_command_gets_its_own_python_environment(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('injected')\n")
    with started(BASE_PYTHON, "-c", "pass", env={**os.environ, "PYTHONPATH": str(tmp_path)}) as run:
        assert run.output() == b"injected\n"


def test_pyinit_reads_nothing_from_the_working_directory_and_pythonpath(tmp_path: Path, mode: Mode) -> None:
    """By strace(1): no path below them is even looked at."""
    need("strace")
    trace = tmp_path / "trace"
    hostile = hostile_directory(tmp_path / "hostile")
    init = ["strace", "-o", str(trace), "-e", "trace=%file", "-E", f"PYTHONPATH={hostile}", str(PYINIT), "--"]
    with started("true", init=init, cwd=hostile, mode=mode) as run:
        assert run.wait() == 0
    looked_at = trace.read_text().split("\n", 1)[1]  # without the execve that shows the environment
    assert str(hostile) not in looked_at
    assert not re.findall(r'^\w+\((?:AT_FDCWD, )?"(?!/)[^"]+"', looked_at, re.MULTILINE)


@pytest.mark.parametrize("kind", ["system", "user", "prefix"])
def test_an_installed_package_is_typed_and_holds_no_test(kind: str) -> None:
    installed(kind)
    files = {path.name for path in (build_directory() / kind).rglob("pyinit/*")}
    assert "py.typed" in files
    assert not [path for path in (build_directory() / kind).rglob("*") if "tests" in path.parts[-2:]]


@pytest.mark.parametrize("kind", KINDS)
def test_it_works_wherever_it_was_installed_and_from_any_directory(mode: Mode, kind: str, tmp_path: Path) -> None:
    script = "cd /; (sleep 0.01 &); sleep 0.05; exit 7"
    with started("sh", "-c", script, init=list(installed(kind)), mode=mode, cwd=tmp_path) as run:
        assert run.wait() == 7


def test_a_relative_path_through_path_works(tmp_path: Path) -> None:
    """A relative directory in PATH, as `PATH=bin:$PATH pyinit …`."""
    environment = {**os.environ, "PATH": f"{PYINIT.parent.name}:/usr/bin:/bin"}
    init = ["sh", "-c", 'exec pyinit "$@"', "sh"]
    with started("sh", "-c", "exit 7", init=init, env=environment, cwd=PYINIT.parent.parent) as run:
        assert run.wait() == 7


@pytest.mark.parametrize("content", [b"def", b"\0", b"1/0", b"\xff"], ids=repr)
@pytest.mark.parametrize("module", ["__init__", "run/__init__", "run/init"])
def test_a_damaged_package_is_one_line_and_125(tmp_path: Path, module: str, content: bytes) -> None:
    copy_installation(tmp_path)
    (damaged,) = tmp_path.rglob(f"pyinit/{module}.py")
    damaged.write_bytes(content)
    assert_says_one_line(tmp_path / "bin" / "pyinit")


def test_a_script_that_lost_its_package_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for program in {PYINIT, SCRIPT}:
        shutil.copy(program, tmp_path / "bin")
    assert_says_one_line(tmp_path / "bin" / "pyinit")


def assert_says_one_line(script: Path) -> None:
    """It cannot be loaded if it has options to read, and ends with 125."""
    with started("-t", "5", "true", init=[str(script)], stderr=-1) as run:
        said = run.stderr.read()
        assert run.wait() == 125
    assert said.startswith(b"pyinit: ")
    assert said.count(b"\n") == 1
