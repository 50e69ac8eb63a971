"""The base image: Debian with Python, made by debootstrap, because no registry of images is needed that way.

Kept in a cache, with the build stage of Dockerfile.example whose steps need the network, as an archive of
`docker save`. Its name holds a hash of all that went in. Used by conftest.py.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.engines.engine import Docker

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile.example"
BASE = "pyinit-base"
BUILD_STAGE = "pyinit-build-stage"
SERVERS = "pyinit-servers"  # BASE with what tests/servers/programs.py takes from PyPI
SERVER_PACKAGES = ("celery", "django", "gunicorn", "uvicorn")
SUITE = "bookworm"
TOOLS = ("dockerd", "docker", "debootstrap", "setpriv", "unshare", "ip")  # that it and the engine need
PACKAGES = (
    "python3",
    "python3-pip",
    "libpython3-dev",  # what the official Python images have, and Debian's python3 has not: headers, but no compiler
    "ca-certificates",
    "redis-server",
    "busybox-static",
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
UNNEEDED = ("var/cache/apt/archives", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")


def load(docker: Docker) -> None:
    """Give the engine the images BASE, BUILD_STAGE and SERVERS, from the cache or, the first time, from the network."""
    archive = cache() / f"{key()}.tar"
    with open(archive.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two suites that start at once, one makes it and the other waits
        if not archive.exists():
            unfinished = archive.with_suffix(".unfinished")
            with Docker(online=True) as maker:
                make(maker)
                maker("save", "--output", str(unfinished), BASE, BUILD_STAGE, SERVERS)
            unfinished.rename(archive)
    docker("load", "--quiet", "--input", str(archive))


def cache() -> Path:
    """The directory of archives: $XDG_CACHE_HOME/pyinit-tests, else /var/cache/pyinit-tests."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache", "pyinit-tests")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def key() -> str:
    """A hash of what the images are made from."""
    network_steps = DOCKERFILE.read_text().partition("COPY")[0]
    inputs = "\n".join([SUITE, *PACKAGES, platform.machine(), network_steps, Path(__file__).read_text()])
    return hashlib.sha256(inputs.encode()).hexdigest()[:16]


def make(docker: Docker) -> None:
    """Make BASE by debootstrap and, from it, BUILD_STAGE by the real Dockerfile.example, and SERVERS by pip."""
    root = Path(tempfile.mkdtemp(prefix="pyinit-base-"))
    try:
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"debootstrap: exit {result.returncode}\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
        for directory in UNNEEDED:
            shutil.rmtree(root / directory, ignore_errors=True)
        # The build stage reaches the package index the way the host does.
        shutil.copyfile(f"/{CERTIFICATES}", root / CERTIFICATES)
        archive = subprocess.Popen(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE)
        command = docker.client("import", "--change", f"ENV PATH={PATH}", "-", BASE)
        subprocess.run(command, stdin=archive.stdout, check=True, capture_output=True)
        if archive.wait():
            raise RuntimeError(f"tar: exit {archive.returncode}")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    build(docker, BUILD_STAGE, "--target=build", "--network=host")
    install = f"RUN python3 -m pip install --no-cache-dir --break-system-packages {' '.join(SERVER_PACKAGES)}"
    docker("build", "--network=host", "--tag", SERVERS, "-", text=f"FROM {BASE}\n{install}\n")


def build(docker: Docker, name: str, *options: str) -> str:
    """Build Dockerfile.example on BASE, with the repository as context, as a user would."""
    command = ["build", "--file", str(DOCKERFILE), "--build-arg", f"BASE_IMAGE={BASE}", "--tag", name]
    return docker(*command, *options, str(REPOSITORY))


def example(docker: Docker) -> str:
    """The image that Dockerfile.example makes; no step of it that is not cached has a network."""
    build(docker, "pyinit-example", "--network=none", f"--cache-from={BUILD_STAGE}")
    return "pyinit-example"
