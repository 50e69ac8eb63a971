"""The base image: Debian by debootstrap, with CPython as the official Python images have it.

No registry of images is needed that way. It is kept in a cache, and so are images that are made from it by steps that
need the network, each as an archive of `docker save`. Used by conftest.py.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.engines.engine import Docker
from tools.cache import bootstrap, cached, key

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile.example"
BASE = "pyinit-base"
BASE_DOCKERFILE = Path(__file__).with_name("base.Dockerfile")
DEBIAN = "pyinit-debian"  # what BASE is made from
BUILD_STAGE = "pyinit-build-stage"
SERVERS = "pyinit-servers"  # BASE with what tests/servers/programs.py takes from PyPI
SERVER_PACKAGES = ("celery", "django", "gunicorn", "uvicorn")
STAGE = "pyinit-stage"  # the build stage of this checkout, for BuildKit, which cannot take BUILD_STAGE as a cache
SYSTEMD = "pyinit-systemd"  # BASE with Debian's systemd
SUITE = "trixie"
TOOLS = ("dockerd", "docker", "debootstrap", "setpriv", "unshare", "ip")  # that it and the engine need
# What the official images have for CPython's own modules, and what the tests start.
PACKAGES = ("ca-certificates", "libffi8", "libsqlite3-0", "redis-server", "busybox-static")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNNEEDED = ("var/cache/apt/archives", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")


def load(docker: Docker) -> None:
    """Give the engine the images BASE, BUILD_STAGE, SERVERS and SYSTEMD; the first time, make them from the network."""
    base = cached(f"base-{key(SUITE, *PACKAGES, BASE_DOCKERFILE.read_text())}.tar", make_base)
    network_steps = DOCKERFILE.read_text().partition("COPY")[0]
    inputs = key(base.name, network_steps, *SERVER_PACKAGES)
    images = cached(f"images-{inputs}.tar", lambda target: make_images(base, target))
    docker("load", "--quiet", "--input", str(images))


def make_base(target: Path) -> None:
    """Make BASE by debootstrap and base.Dockerfile, and save it there."""
    with Docker(online=True) as docker:
        import_debian(docker, DEBIAN, *PACKAGES)
        docker("build", "--network=host", "--tag", BASE, "-", text=BASE_DOCKERFILE.read_text())
        docker("save", "--output", str(target), BASE)


def import_debian(docker: Docker, name: str, *packages: str) -> None:
    """Give the engine an image of Debian with these packages, made by debootstrap."""
    with tempfile.TemporaryDirectory(prefix="pyinit-base-") as directory:
        root = Path(directory)
        bootstrap(root, SUITE, packages)
        for unneeded in UNNEEDED:
            shutil.rmtree(root / unneeded, ignore_errors=True)
        files = subprocess.Popen(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE)
        command = docker.client("import", "--change", f"ENV PATH={PATH}", "-", name)
        subprocess.run(command, stdin=files.stdout, check=True, capture_output=True)
        if files.wait():
            raise RuntimeError(f"tar: exit {files.returncode}")


def make_images(base: Path, target: Path) -> None:
    """Make BUILD_STAGE by the real Dockerfile.example, and what the tests add to BASE, and save all of them there."""
    servers = f"RUN python3 -m pip install --no-cache-dir --break-system-packages {' '.join(SERVER_PACKAGES)}"
    systemd = "RUN apt-get update && apt-get install --yes --no-install-recommends systemd && apt-get clean"
    with Docker(online=True) as docker:
        docker("load", "--quiet", "--input", str(base))
        build(docker, BUILD_STAGE, "--target=build", "--network=host")
        for name, step in ((SERVERS, servers), (SYSTEMD, systemd)):
            docker("build", "--network=host", "--tag", name, "-", text=f"FROM {BASE}\n{step}\n")
        docker("save", "--output", str(target), BASE, BUILD_STAGE, SERVERS, SYSTEMD)


def build(docker: Docker, name: str, *options: str, base: str = BASE) -> str:
    """Build Dockerfile.example on `base`, with the repository as context, as a user would."""
    command = ["build", "--file", str(DOCKERFILE), "--build-arg", f"BASE_IMAGE={base}", "--tag", name]
    return docker(*command, *options, str(REPOSITORY))


def build_stage(docker: Docker) -> None:
    """Build the first stage of Dockerfile.example; no step of it that is not cached has a network."""
    build(docker, STAGE, "--target=build", "--network=none", f"--cache-from={BUILD_STAGE}")


def example(docker: Docker) -> str:
    """The image that Dockerfile.example makes; no step of it that is not cached has a network."""
    build(docker, "pyinit-example", "--network=none", f"--cache-from={BUILD_STAGE}")
    return "pyinit-example"
