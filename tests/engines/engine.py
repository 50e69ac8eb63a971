"""A Docker engine of the suite's own, and what its containers look like from the host.

The engine has its own socket, data root, containerd, cgroup and mounts, and a network with nothing but a loopback
interface: nothing of it meets another engine on the machine, or a second run of this suite. Used by conftest.py, and by
the tests through the fixtures there.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from tests.harness import descendants_of, name_of, proc, wait_until

Inside = Callable[..., list[str]]  # the argv that runs these words where an engine is: here(), or Root.inside()

PATIENCE = 120.0  # seconds that anything may take on a loaded machine
GRACE = 10.0  # seconds from `docker stop` to SIGKILL: Docker's default
BY_ITSELF = 8.0  # seconds: a stop that took less did not wait for that SIGKILL


# Each look asks an engine, which takes a while itself.
until = functools.partial(wait_until, deadline=PATIENCE, pause=0.1)


def here(*words: str) -> list[str]:
    """The argv of an engine's program of this machine: the one that came with the engine, before any other in PATH."""
    return [shutil.which(words[0], path=f"/usr/bin:{os.environ.get('PATH', '')}") or words[0], *words[1:]]


class Docker:
    """A Docker engine, while the context lasts; calling it runs the client with these words."""

    def __init__(self, *, online: bool = False, inside: Inside = here) -> None:
        self.online = online  # in the host's network namespace, for builds that need the network
        self.inside = inside
        # Not below pytest's directory: the path of a socket may not be longer than 107 bytes, see unix(7).
        self.directory = Path(tempfile.mkdtemp(prefix="pyinit-docker-"))
        self.socket = f"unix://{self.directory}/docker.sock"
        # The classic builder runs without a plugin, and takes images of its own as a cache.
        self.environment = os.environ | {"DOCKER_HOST": self.socket, "DOCKER_BUILDKIT": "0"}
        self.environment["DOCKER_CONFIG"] = str(self.directory / "client")
        self.daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        Path(self.directory, "daemon.json").write_text("{}")
        places = {"config-file": "daemon.json", "data-root": "data", "exec-root": "exec", "pidfile": "docker.pid"}
        argv = ["unshare", "--mount-proc"]
        if not self.online:
            argv += ["--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        argv += ["dockerd", f"--host={self.socket}", f"--cgroup-parent=/{self.directory.name}"]
        argv += [f"--{option}={self.directory / name}" for option, name in places.items()]
        argv += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        with open(self.directory / "log", "wb") as log:
            # Should this suite be killed, the engine is told to end, and ends its containers.
            argv = ["setpriv", "--pdeathsig", "TERM", *self.inside(*argv)]
            self.daemon = subprocess.Popen(argv, stdout=log, stderr=log)
        until(self.answers, f"the engine answers; its log is {self.directory}/log")

    def answers(self) -> bool:
        """Whether the daemon is ready."""
        if self.daemon and self.daemon.poll() is not None:
            pytest.fail(f"dockerd did not start:\n{Path(self.directory, 'log').read_text()[-3000:]}")
        return self.run("version", check=False).returncode == 0

    def stop(self) -> None:
        """End the containers, then the daemon; leave no mount and no file."""
        if self.daemon and self.daemon.poll() is None:
            if containers := self("ps", "--all", "--quiet", check=False).split():
                self("rm", "--force", "--volumes", *containers, check=False)
            self.daemon.terminate()
            try:
                self.daemon.wait(60)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        remove(self.directory)

    def run(self, *words: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the client, with `text` on its standard input; a failure of it fails the test if `check`."""
        argv = self.client(*words)
        result = subprocess.run(argv, env=self.environment, input=text, text=True, capture_output=True, timeout=600)
        if check and result.returncode:
            pytest.fail(f"docker {' '.join(words)}: exit {result.returncode}\n{result.stdout[-3000:]}{result.stderr}")
        return result

    def __call__(self, *words: str, text: str | None = None, check: bool = True) -> str:
        """As run(), but returns what was printed to stdout."""
        return self.run(*words, text=text, check=check).stdout.strip()

    def image(self, name: str, dockerfile: str, context: Path | None = None) -> str:
        """Build an image of that name from the text of a Dockerfile."""
        where = ["--file", "-", str(context)] if context else ["-"]
        self("build", "--quiet", "--network=none", "--tag", name, *where, text=dockerfile)
        return name

    def client(self, *words: str) -> list[str]:
        """The argv of a client, for those who start it themselves."""
        return [*self.inside("docker"), "--host", self.socket, *words]


class Container:
    """A container, from `docker run --detach` to `docker rm`."""

    def __init__(self, docker: Docker, *words: str) -> None:
        self.docker = docker
        network = [] if any(word.startswith(("--network", "--net=")) for word in words) else ["--network=none"]
        self.id = docker("run", "--detach", *network, *words)

    def inspect(self, key: str) -> str:
        """A value such as State.Status."""
        return self.docker("inspect", "--format", f"{{{{.{key}}}}}", self.id)

    @property
    def pid(self) -> int:
        """The PID, on the host, of the container's first process; 0 if it does not run."""
        return int(self.inspect("State.Pid"))

    @property
    def exit_code(self) -> int:
        """The exit code of a container that has ended."""
        return int(self.inspect("State.ExitCode"))

    def names(self) -> list[str]:
        """The names of the processes below the first one, as the host sees them."""
        return [name_of(pid) for pid in descendants_of(self.pid)]

    def logs(self) -> str:
        """What was written to stdout and, after that, to stderr."""
        result = self.docker.run("logs", self.id)
        return result.stdout + result.stderr

    def says(self, text: str) -> None:
        """Wait until the logs hold `text`."""
        until(lambda: text in self.logs(), lambda: f"{text!r} in the logs, which are {self.logs()!r}")

    def exec(self, *words: str) -> str:
        """The output of a command in the container."""
        return self.docker("exec", self.id, *words)

    def stop(self) -> float:
        """`docker stop`; the seconds that it took."""
        began = time.monotonic()
        self.docker("stop", self.id)
        return time.monotonic() - began

    def wait(self) -> int:
        """Wait for the container's end; its exit code."""
        until(lambda: self.inspect("State.Status") == "exited", lambda: f"the end of what logged {self.logs()!r}")
        return self.exit_code

    def remove(self) -> None:
        """Kill it if it runs, and remove it."""
        self.docker("rm", "--force", "--volumes", self.id, check=False)


def remove(directory: Path) -> None:
    """Remove an engine's directory: kill what still runs from it, undo its mounts, remove its cgroups."""
    containerd = directory / "exec/containerd/containerd.pid"
    if containerd.exists() and name_of(pid := int(containerd.read_text())) == "containerd":
        os.kill(pid, 9)
    for line in reversed(proc("self", "mountinfo").decode().splitlines()):
        if (mounted := line.split()[4]).startswith(f"{directory}/"):
            subprocess.run(["umount", "--lazy", mounted], check=False)
    shutil.rmtree(directory, ignore_errors=True)
    cgroups = Path("/sys/fs/cgroup").glob(f"**/{directory.name}/**/")  # BuildKit leaves one in there
    for cgroup in sorted(cgroups, reverse=True):
        with contextlib.suppress(OSError):  # a controller may appear under two names, such as cpu and cpu,cpuacct
            cgroup.rmdir()


Run = Callable[..., Container]  # the fixture `run`
AddTable = Callable[[str, list[str], list[list[str]]], None]  # the fixture `table`
