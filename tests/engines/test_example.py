"""Dockerfile.example, built for real: what it holds and what it weighs."""

import pytest

from tests.engines.base import BASE
from tests.engines.engine import BY_ITSELF, AddTable, Docker, Run, until

LIMIT = 1000  # kB; with the byte-code that pip leaves of the standard library it would be 9,000


def test_dockerfile_example_stops_by_itself_in_shell_form(run: Run, example: str) -> None:
    container = run(example)
    until(lambda: "python3" in container.names(), "the server runs, behind its shell")
    assert container.exec("cat", "/proc/1/comm") == "pyinit"
    assert container.stop() < BY_ITSELF
    assert container.exit_code == 143


def test_dockerfile_example_does_not_run_as_root(run: Run, example: str) -> None:
    assert run(example).exec("id", "--user") == "1000"


@pytest.mark.parametrize("program", ["gcc", "cc", "make"])
def test_dockerfile_example_has_no_compiler(docker: Docker, example: str, program: str) -> None:
    result = docker.run("run", "--rm", "--network=none", example, "sh", "-c", f"command -v {program}", check=False)
    assert (result.returncode, result.stdout) == (127, "")


def test_dockerfile_example_keeps_pythonpath_out_of_pid_1(run: Run, example: str) -> None:
    script = "mkdir /tmp/evil && echo 'print(\"injected\")' > /tmp/evil/sitecustomize.py && PYTHONPATH=/tmp/evil exec "
    entrypoint = "pyinit -g -- true"
    container = run("--entrypoint=sh", example, "-c", script + entrypoint)
    assert container.wait() == 0
    assert container.logs() == ""


def test_pyinit_runs_in_an_image_without_a_shell(docker: Docker, run: Run, pyinit: str) -> None:
    image = docker.image("pyinit-no-shell", f"FROM {pyinit}\nRUN rm /bin/sh /bin/dash /bin/bash /bin/busybox")
    assert docker.run("run", "--rm", "--network=none", image, "sh", check=False).returncode == 127
    container = run(image, "python3", "-c", "import time; print('ready', flush=True); time.sleep(1000)")
    container.says("ready")
    assert container.stop() < BY_ITSELF
    assert container.exit_code == 143


def test_pyinit_adds_little_to_an_image(docker: Docker, example: str, table: AddTable) -> None:
    without, with_pyinit = (int(docker("image", "inspect", "--format={{.Size}}", image)) for image in (BASE, example))
    added = (with_pyinit - without) / 1000
    table("Dockerfile.example", ["image", "kB"], [["base", f"{without // 1000}"], ["pyinit adds", f"{added:.0f}"]])
    assert 0 < added < LIMIT


def test_a_users_adviser_compiles_nothing(docker: Docker, example: str) -> None:
    script = "cd /usr/local/lib/python3*; find site-packages/pyinit encodings -name '*.pyc'"
    there = docker.run("run", "--rm", "--network=none", example, "sh", "-c", script).stdout
    own = ("base/{}/log", "run/{}/__init__", "run/{}/options", "stop/{}/adviser", "stop/{}/drain", "stop/{}/order")
    for module in (*own, "family/{}/proc", "encodings/{}/utf_8"):
        assert f"{module.format('__pycache__')}.cpython-3" in there
