"""systemd: examples/app.service, under the real one, which is PID 1 of a container of its own."""

from collections.abc import Iterator

import pytest

from tests.engines import base
from tests.engines.engine import Container, Docker, until

UNIT = base.REPOSITORY / "examples/app.service"
# What app.service starts: a shell in front of a server, as a script for a service often is.
APP = """#!/bin/sh
python3 /usr/local/bin/server
echo "the server has ended"
"""
# Says that it is ready, saves when it is told to stop, and how often it has been told by then.
SERVER = """
import os, signal, socket, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
    address = os.environ["NOTIFY_SOCKET"]
    systemd.sendto(b"READY=1", address.replace("@", "\\0", 1) if address[0] == "@" else address)
while not told:
    time.sleep(0.05)
time.sleep(0.5)
open("/told", "w").write(str(len(told)))
"""
DOCKERFILE = f"""
FROM {base.SYSTEMD}
COPY --from={base.STAGE} /wheels /wheels
RUN python3 -B -m pip install --no-cache-dir --no-index --find-links /wheels pyinit-pid1
COPY --chmod=755 app server /usr/local/bin/
COPY app.service /etc/systemd/system/
RUN systemctl mask redis-server && systemctl enable app
ENV container=docker
CMD mount -o remount,bind,rw /sys/fs/cgroup && exec /usr/lib/systemd/systemd
"""
RIGHTS = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined")


@pytest.fixture(scope="module")
def booted(newer_docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A container that systemd has booted, with app.service and what that starts."""
    context = tmp_path_factory.mktemp("systemd")
    (context / "app").write_text(APP)
    (context / "server").write_text(SERVER)
    (context / "app.service").write_text(UNIT.read_text())
    image = newer_docker.image("pyinit-app", DOCKERFILE, context)
    container = Container(newer_docker, *RIGHTS, "--cgroupns=private", "--tmpfs=/run", "--tmpfs=/tmp", image)
    until(lambda: said(container, "systemctl", "is-system-running") == "running", "systemd has booted")
    yield container
    container.remove()


def said(container: Container, *words: str) -> str:
    """What a command in it printed, whatever its exit status."""
    return container.docker("exec", container.id, *words, check=False)


def test_a_stopped_unit_has_not_failed_and_its_server_was_told_once(booted: Container) -> None:
    assert said(booted, "systemctl", "is-active", "app") == "active"  # as the server has told systemd
    main = booted.exec("systemctl", "show", "--property=MainPID", "--value", "app")
    assert booted.exec("cat", f"/proc/{main}/comm") == "pyinit"
    booted.exec("systemctl", "stop", "app")
    assert booted.exec("cat", "/told") == "1"
    states = "--property=ActiveState,SubState,Result,ExecMainStatus"
    found = dict(line.split("=") for line in booted.exec("systemctl", "show", states, "app").splitlines())
    assert found == {"ActiveState": "inactive", "SubState": "dead", "Result": "success", "ExecMainStatus": "143"}


def test_systemd_has_no_warning_about_the_unit(booted: Container) -> None:
    result = booted.docker.run("exec", booted.id, "systemd-analyze", "verify", "app.service")
    assert result.stdout + result.stderr == ""
