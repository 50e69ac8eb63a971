"""The options of `docker run` that change what PID 1 is, or what it may do."""

import psutil
import pytest

from tests.engines.engine import BY_ITSELF, Container, Docker, Run, until
from tests.harness import children_of, name_of

ORPHAN = "trap 'echo the orphan got TERM; exit' TERM; echo ready; while :; do sleep 0.1; done"
# The orphan's parent is gone and it is in another session: only an init that adopted it can find it.
LEAVE_ORPHAN = ["sh", "-c", f'(setsid sh -c "{ORPHAN}" &); sleep 1000; :']
RESTRICTIONS = {
    "read-only": ["--read-only"],
    "no-capabilities": ["--cap-drop=ALL"],
    "user": ["--user=65534:65534"],
    "no-new-privileges": ["--security-opt=no-new-privileges"],
    "pids-limit": ["--pids-limit=10"],
}
RESTRICTIONS["all-of-them"] = [option for options in RESTRICTIONS.values() for option in options]
RIGHTS = {
    "cap-sys-admin": ["--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined"],
    "user-namespace": [
        "--user=1000:1000",
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--security-opt=systempaths=unconfined",
    ],
}


def stops_with_its_orphan(container: Container) -> None:
    """`docker stop` ends a command that left an orphan: by SIGTERM, both."""
    assert container.stop() < BY_ITSELF
    assert "the orphan got TERM\n" in container.logs()
    assert container.exit_code == 143


@pytest.mark.parametrize("options", RESTRICTIONS.values(), ids=RESTRICTIONS)
def test_a_restricted_container_stops_with_its_orphan(run: Run, pyinit: str, options: list[str]) -> None:
    container = run(*options, pyinit, *LEAVE_ORPHAN)
    container.says("ready")
    stops_with_its_orphan(container)


@pytest.mark.parametrize("options", RESTRICTIONS.values(), ids=RESTRICTIONS)
def test_a_restricted_container_exits_as_its_command_did(run: Run, pyinit: str, options: list[str]) -> None:
    container = run(*options, pyinit, "sh", "-c", "(true &); exit 7")
    assert container.wait() == 7
    assert container.logs() == ""


def test_behind_docker_init_pyinit_adopts_as_a_subreaper(run: Run, pyinit: str) -> None:
    container = run("--init", pyinit, *LEAVE_ORPHAN)
    container.says("ready")
    (second,) = children_of(container.pid)
    assert name_of(second) == "pyinit"
    until(lambda: list(map(name_of, children_of(second))) == ["sh", "sh"], "pyinit adopted the orphan")
    stops_with_its_orphan(container)


def test_in_the_hosts_pid_namespace_pyinit_adopts_and_leaves_nothing(run: Run, pyinit: str) -> None:
    container = run("--pid=host", pyinit, *LEAVE_ORPHAN)
    container.says("ready")
    first = container.pid
    assert container.exec("cat", f"/proc/{first}/comm") == "pyinit"
    until(lambda: list(map(name_of, children_of(first))) == ["sh", "sh"], "pyinit adopted the orphan")
    family = psutil.Process(first).children(recursive=True)
    stops_with_its_orphan(container)
    assert family
    assert not any(process.is_running() for process in family)


def test_in_another_containers_pid_namespace_only_the_own_orphan_ends(run: Run, pyinit: str) -> None:
    other = run(pyinit, "sleep", "1000")
    container = run(f"--pid=container:{other.id}", pyinit, *LEAVE_ORPHAN)
    container.says("ready")
    until(lambda: list(map(name_of, children_of(container.pid))) == ["sh", "sh"], "pyinit adopted the orphan")
    stops_with_its_orphan(container)
    assert list(map(name_of, children_of(other.pid))) == ["sleep"]
    assert other.stop() < BY_ITSELF


def test_a_health_check_becomes_healthy_and_its_orphans_are_reaped(docker: Docker, run: Run, pyinit: str) -> None:
    check = "HEALTHCHECK --interval=1s --retries=100 CMD (true &); echo probe >> /tmp/probes; test -e /tmp/healthy"
    container = run(docker.image("pyinit-healthcheck", f"FROM {pyinit}\n{check}"), "sleep", "1000")
    container.exec("touch", "/tmp/healthy")
    until(lambda: container.inspect("State.Health.Status") == "healthy", "a healthy state")
    until(lambda: list(map(name_of, children_of(container.pid))) == ["sleep"], "all orphans are reaped")
    assert container.stop() < BY_ITSELF


@pytest.mark.parametrize("options", RIGHTS.values(), ids=RIGHTS)
def test_a_pid_namespace_in_a_container_that_allows_it(run: Run, pyinit: str, options: list[str]) -> None:
    script = "echo $$ of $(ls -d /proc/[0-9]* | wc -l); exit 7"
    container = run("--env=PYINIT_OPTIONS=--pid-namespace", *options, pyinit, "sh", "-c", script)
    assert container.wait() == 7
    shell, _, count = container.logs().strip().partition(" of ")
    # pyinit is 1, the shell 2, and ls and wc are the others that /proc may show.
    assert shell == "2"
    assert 2 <= int(count) <= 5


@pytest.mark.parametrize("options", RIGHTS.values(), ids=RIGHTS)
def test_docker_stop_reaches_through_a_pid_namespace(run: Run, pyinit: str, options: list[str]) -> None:
    container = run("--env=PYINIT_OPTIONS=--pid-namespace", *options, pyinit, *LEAVE_ORPHAN)
    container.says("ready")
    stops_with_its_orphan(container)


@pytest.mark.parametrize("options", [[], ["--user=1000:1000"]], ids=["root", "user"])
def test_a_pid_namespace_that_is_not_allowed_is_one_clear_line(run: Run, pyinit: str, options: list[str]) -> None:
    container = run("--env=PYINIT_OPTIONS=--pid-namespace", *options, pyinit, "echo", "it ran")
    assert container.wait() == 125
    (line,) = container.logs().splitlines()
    assert line.startswith("pyinit: ")
    assert "Operation not permitted" in line
