"""pyinit-ps on containers, by their names: what it finds in front of redis is what `docker stop` then shows."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.engines.base import BASE
from tests.engines.engine import BY_ITSELF, Container, Docker, Run, until
from tests.engines.podman import Podman
from tests.engines.test_podman import podman, says  # noqa: F401, the fixture

PS = str(Path(sys.executable).with_name("pyinit-ps"))
REDIS = 'redis-server --save "" --logfile /dev/stdout'


class Case(NamedTuple):
    """How redis is started, and what is found then."""

    name: str
    image: str
    options: tuple[str, ...]
    words: tuple[str, ...]
    kinds: tuple[str, ...]


SHELL = ("sh", "-c", f"{REDIS}; true")
CASES = (
    Case("exec form", "base", (), tuple(shlex.split(REDIS)), ()),
    Case("shell form", "base", (), SHELL, ("shell",)),
    Case("shell form, docker --init", "base", ("--init",), SHELL, ("untold",)),
    Case("exec form, docker --init", "base", ("--init",), tuple(shlex.split(REDIS)), ()),
    Case("shell form, pyinit", "pyinit", (), SHELL, ()),
    Case("no handler", "base", (), ("sleep", "1000"), ("deaf-init",)),
    Case(
        "the host's PIDs, deaf", "base", ("--pid=host",), ("sh", "-c", "trap '' TERM; exec sleep 1000"), ("deaf-init",)
    ),
    Case("the host's PIDs, shell form", "base", ("--pid=host",), SHELL, ("untold",)),
    Case("the host's PIDs, exec form", "base", ("--pid=host",), tuple(shlex.split(REDIS)), ()),
)


def found(target: str, environment: "dict[str, str] | os._Environ[str]") -> tuple[str, ...]:
    """The kinds of the problems of a container."""
    words = [PS, "--json", target]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    (namespace,) = json.loads(done.stdout)["namespaces"]
    return tuple(finding["kind"] for finding in namespace["findings"] if finding["is_problem"])


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_found_is_what_a_stop_shows(docker: Docker, run: Run, pyinit: str, case: Case) -> None:
    container: Container = run(*case.options, pyinit if case.image == "pyinit" else BASE, *case.words)
    is_redis = any("redis" in word for word in case.words)
    if is_redis:
        container.says("Ready to accept connections")
    else:
        until(lambda: container.pid, "the container's start")
    assert found(container.id, docker.environment) == case.kinds
    check = subprocess.run([PS, "--check", container.id], env=docker.environment, capture_output=True, text=True)
    assert check.returncode == (1 if case.kinds else 0)
    began = time.monotonic()
    docker("stop", container.id)
    took = time.monotonic() - began
    killed = case.kinds in (("shell",), ("deaf-init",))
    assert (took > BY_ITSELF) == killed, f"{took:.1f} s"
    if is_redis:
        assert ("User requested shutdown" in container.logs()) == (not case.kinds)


def test_root_inside_without_the_capability_to_look_says_so(docker: Docker, run: Run, pyinit: str) -> None:
    container: Container = run("--user=1000:1000", pyinit, "sh", "-c", "trap '' TERM; echo ready; sleep 1000")
    container.says("ready")
    done = docker.run("exec", "-u", "0", container.id, "pyinit-ps", "--check", check=False)
    assert done.returncode == 2
    assert "it takes the same user and group, or root with CAP_SYS_PTRACE" in done.stderr
    done = docker.run("exec", container.id, "pyinit-ps", "--check", check=False)
    assert done.returncode == 1
    assert "ignores SIGTERM" in done.stdout


def test_it_looks_from_inside(docker: Docker, run: Run, pyinit: str) -> None:
    container: Container = run(pyinit, "sh", "-c", "echo ready; sleep 1000; true")
    container.says("ready")
    text = container.exec("pyinit-ps")
    lines = text.splitlines()
    assert lines[0].split() == ["PID", "USER", "S", "AGE", "THR", "SIGTERM", "COMMAND"]
    (shell,), (sleep,) = (
        re.findall(rf"^(\d+) .* {words}$", text, re.MULTILINE) for words in (" sh -c .*", "sleep 1000")
    )
    assert f"PID 1, pyinit, signals {shell} (sh), then {sleep} (sleep)" in text


def test_a_container_of_podman_is_found_by_its_name(
    podman: Podman,  # noqa: F811
    pyinit: str,
    tmp_path: Path,
) -> None:
    container = podman("run", "--detach", "--network=none", pyinit, "sh", "-c", "trap '' TERM; echo ready; sleep 1000")
    says(podman, container, "ready")
    # It asks `podman`, which knows nothing of this one's storage.
    wrapper = tmp_path / "podman"
    wrapper.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin exec {shlex.join(podman.argv)} "$@"\n')
    wrapper.chmod(0o755)
    environment = {**podman.environment, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert set(found(container, environment)) == {"deaf"}
    podman("rm", "--force", "--time=0", container)
