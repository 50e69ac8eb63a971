"""Podman with storage of the suite's own. Used by test_podman.py."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.engines.engine import Docker, Inside, here, remove

# Raising a limit, which Podman does by default, is forbidden where CAP_SYS_RESOURCE is; and the controller of its other
# default may be one of cgroups version 1.
CONFIG = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
pids_limit = 0
"""


class Podman:
    """Calling it runs podman with these words."""

    def __init__(self, inside: Inside = here, runtime: str = "runc") -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pyinit-podman-"))
        config = self.directory / "containers.conf"
        config.write_text(CONFIG)
        self.environment = os.environ | {"CONTAINERS_CONF": str(config)}
        self.argv = [*inside("podman"), f"--runtime={runtime}", "--cgroup-manager=cgroupfs", "--events-backend=file"]
        places = {"root": "root", "runroot": "run", "tmpdir": "tmp"}
        self.argv += [f"--{option}={self.directory / name}" for option, name in places.items()]

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run podman; a failure of it fails the test if `check`."""
        # Its pause process and conmon inherit a pipe on stdout, and would keep it open: hence a file.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            argv, nothing = [*self.argv, *words], subprocess.DEVNULL
            ended = subprocess.run(
                argv, env=self.environment, stdin=nothing, stdout=output, stderr=errors, timeout=600, check=False
            )
            output.seek(0)
            errors.seek(0)
            result = subprocess.CompletedProcess(argv, ended.returncode, output.read(), errors.read())
        if check and result.returncode:
            pytest.fail(f"podman {' '.join(words)}: exit {result.returncode}\n{result.stdout[-3000:]}{result.stderr}")
        return result

    def __call__(self, *words: str, check: bool = True) -> str:
        """As run(), but returns what was printed to stdout."""
        return self.run(*words, check=check).stdout.strip()

    def load(self, docker: Docker, *images: str) -> None:
        """Copy images of a Docker engine."""
        archive = self.directory / "images.tar"
        docker("save", "--output", str(archive), *images)
        self("load", "--quiet", "--input", str(archive))
        archive.unlink()

    def inspect(self, container: str) -> Any:
        """All that podman knows about a container."""
        return json.loads(self("container", "inspect", container))[0]

    def logs(self, container: str) -> str:
        """What was written to stdout and, after that, to stderr."""
        result = self.run("logs", container)
        return result.stdout + result.stderr

    def stop(self) -> None:
        """End all containers and leave no mount and no file."""
        self("pod", "rm", "--all", "--force", "--time=0", check=False)
        self("rm", "--all", "--force", "--time=0", check=False)
        remove(self.directory)
