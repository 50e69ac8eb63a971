"""What would be uploaded to an index: its checkers take it, and pip installs it."""

import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import CHECKOUT, need

DEPRECATED = "DeprecationWarning"  # setuptools'
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "tests", "bench", "tools")


def output(*words: str | Path) -> str:
    """What a command that succeeds says, on stdout and stderr."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the sdist and the wheel that is built from it."""
    directory = tmp_path_factory.mktemp("packaging")
    shutil.copytree(CHECKOUT, directory / "source", ignore=NOT_SOURCE)
    said = output(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory / "dist", directory / "source")
    assert DEPRECATED not in said
    assert "does not inherit" not in said
    yield directory / "dist"
    shutil.rmtree(directory)


def test_the_checkers_of_the_index_take_both(distributions: Path) -> None:
    both = list(distributions.iterdir())
    assert sorted(path.suffix for path in both) == [".gz", ".whl"]
    assert output(sys.executable, "-m", "twine", "check", "--strict", *both).count("PASSED") == 2
    output(sys.executable, "-m", "check_wheel_contents", *distributions.glob("*.whl"))


def test_the_source_distribution_has_what_the_c_program_is_built_from(distributions: Path) -> None:
    need("gcc")
    assert list(distributions.glob("*-py3-none-*.whl")), (
        "this wheel was built from it, and one without is for one version of CPython"
    )


@pytest.mark.slow
def test_pip_installs_the_source_distribution_alone(distributions: Path, tmp_path: Path) -> None:
    venv.create(tmp_path, with_pip=True)
    options = ("--verbose", "--no-cache-dir", "--no-deps")
    said = output(tmp_path / "bin/pip", "install", *options, *distributions.glob("*.gz"))
    assert "DEPRECATION" not in said
    assert DEPRECATED not in said
    assert output(tmp_path / "bin/pyinit", "--", "sh", "-c", "echo it works") == "it works\n"
    assert output(tmp_path / "bin/pyinit", "--version").startswith("pyinit ")
    assert sorted(path.name for path in (tmp_path / "share/man/man1").iterdir()) == ["pyinit-ps.1", "pyinit.1"]
