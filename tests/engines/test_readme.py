"""The commands of README.md that need an engine, in their order, and its lines for a Dockerfile."""

import json
import os
import subprocess
import time

from tests.engines.base import BASE, BUILD_STAGE
from tests.engines.engine import BY_ITSELF, Docker, Run, until
from tests.harness import PYINIT
from tests.readme import IN_CONTAINERS, blocks, commands

# Where no registry and no network is.
OFFLINE = f"docker build --network=none --cache-from={BUILD_STAGE} --build-arg BASE_IMAGE={BASE}"


def test_every_command_does_what_the_readme_says(docker: Docker, example: str) -> None:
    environ = docker.environment | {"PATH": f"{PYINIT.parent}:/usr/bin:{os.environ['PATH']}"}
    said = {}
    try:
        for command in filter(lambda command: command.startswith(IN_CONTAINERS), commands(blocks("sh"))):
            began = time.monotonic()
            line = command.replace("docker build", OFFLINE)
            done = subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            said[command] = done.stdout
            if command.endswith("docker stop example"):
                assert time.monotonic() - began < BY_ITSELF
                assert docker("inspect", "--format={{.State.ExitCode}}", "example") == "143"
            if command == "docker start example":
                until(lambda: "python3" in docker("top", "example"), "the server, behind its shell")
    finally:
        docker("rm", "--force", "example")
    assert "http.server" in said["pyinit-ps example"]
    assert "pyinit" in said["pyinit-ps -a"]
    assert said["pyinit-ps --check example"] == ""


def test_the_dockerfile_stops_by_itself(docker: Docker, run: Run, pyinit: str) -> None:
    lines = blocks("dockerfile")[0]
    container = run(docker.image("pyinit-readme", f"FROM {pyinit}\n{lines}"))
    container.says("Ready to accept connections")
    assert json.loads(docker("inspect", "--format={{json .Config.Entrypoint}}", "pyinit-readme")) == ["pyinit", "--"]
    assert container.stop() < BY_ITSELF
    container.says("Received SIGTERM")
