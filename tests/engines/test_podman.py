"""Podman, this machine's and that of Debian's next release: run, stop, and the manifests of examples/pod.yaml."""

import importlib
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.engines.base import REPOSITORY
from tests.engines.engine import BY_ITSELF, Docker, until
from tests.engines.podman import Podman
from tests.harness import children_of, missing, name_of, need

MANIFESTS = REPOSITORY / "examples/pod.yaml"
FINISHING = 2.0  # seconds that the Deployment's command needs
GRACE = 30  # seconds: terminationGracePeriodSeconds


@pytest.fixture(scope="module", params=["this release", "next release"])
def podman(request: pytest.FixtureRequest, docker: Docker, pyinit: str, example: str) -> Iterator[Podman]:
    """Podman with the image that has pyinit, and with Dockerfile.example's, which the manifests call `example`."""
    if request.param == "next release":
        engine = Podman(request.getfixturevalue("newer_root").inside, runtime="crun")
    else:
        need("podman", "runc", "conmon")
        engine = Podman()
    try:
        docker("tag", example, "example")
        engine.load(docker, pyinit, "example")
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def played(podman: Podman) -> Iterator[dict[str, str]]:
    """The pods of pod.yaml, played; the names of their containers, by those of the manifests."""
    podman("kube", "play", "--network=none", str(MANIFESTS))
    # Podman 4.3 numbers the pods of a Deployment, Podman 5 does not.
    containers = [name for name in podman("ps", "--format={{.Names}}").split() if name.endswith("-worker")]
    yield {name.partition("-")[0]: name for name in containers}
    podman("kube", "play", "--down", str(MANIFESTS), check=False)


def says(podman: Podman, container: str, text: str) -> None:
    """Wait until the container's logs hold `text`."""
    until(lambda: text in podman.logs(container), lambda: f"{text!r} in the logs: {podman.logs(container)!r}")


def test_podman_run_exits_as_the_command_did(podman: Podman, pyinit: str) -> None:
    result = podman.run("run", "--rm", "--network=none", pyinit, "sh", "-c", "echo out; exit 7", check=False)
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "")


def test_podman_stop_ends_a_shell_form_command_by_itself(podman: Podman, pyinit: str) -> None:
    container = podman("run", "--detach", "--network=none", pyinit, "sh", "-c", "echo ready; sleep 1000; exit 4")
    says(podman, container, "ready")
    assert podman("exec", container, "cat", "/proc/1/comm") == "pyinit"
    began = time.monotonic()
    podman("stop", container)
    assert time.monotonic() - began < BY_ITSELF
    assert podman.inspect(container)["State"]["ExitCode"] == 143
    assert podman.logs(container) == "ready\n"


def test_what_podman_stop_sends_to_a_systemd_can_become_sigterm(podman: Podman, pyinit: str) -> None:
    script = "trap 'echo got TERM; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    words = ["--systemd=always", "--env=PYINIT_OPTIONS=--rewrite=RTMIN+3:TERM", pyinit, "sh", "-c", script]
    container = podman("run", "--detach", "--network=none", *words)
    says(podman, container, "ready")
    assert podman.inspect(container)["Config"]["StopSignal"] in (37, "SIGRTMIN+3")
    began = time.monotonic()
    podman("stop", container)
    assert time.monotonic() - began < BY_ITSELF
    assert podman.logs(container) == "ready\ngot TERM\n"
    assert podman.inspect(container)["State"]["ExitCode"] == 5


def test_a_played_deployment_finishes_its_work_within_its_grace_period(podman: Podman, played: dict[str, str]) -> None:
    container = played["graceful"]
    says(podman, container, "ready")
    assert name_of(podman.inspect(container)["State"]["Pid"]) == "pyinit"
    began = time.monotonic()
    podman("pod", "stop", podman.inspect(container)["Pod"])
    assert time.monotonic() - began >= FINISHING
    assert "finished" in podman.logs(container).splitlines()
    assert podman.inspect(container)["State"]["ExitCode"] == 3


def test_in_a_shared_pid_namespace_pyinit_is_a_subreaper_and_takes_its_orphan_along(
    podman: Podman, played: dict[str, str]
) -> None:
    container = played["shared"]
    says(podman, container, "ready")
    pid = podman.inspect(container)["State"]["Pid"]
    assert name_of(pid) == "pyinit"
    assert podman("exec", container, "cat", "/proc/1/comm") != "pyinit"
    until(lambda: list(map(name_of, children_of(pid))) == ["sh", "sh"], "pyinit adopted the orphan")
    podman("stop", container)
    assert "the orphan got TERM" in podman.logs(container)
    assert podman.inspect(container)["State"]["ExitCode"] == 143


def test_a_played_pod_has_the_grace_period_of_its_manifest(podman: Podman, played: dict[str, str]) -> None:
    if int(podman("version", "--format={{.Client.Version}}").partition(".")[0]) < 5:
        pytest.skip("Podman 4.3 gives every container 10 s")
    assert podman.inspect(played["graceful"])["Config"]["StopTimeout"] == GRACE


def test_the_manifests_are_valid_kubernetes() -> None:
    try:
        kubernetes_validate = importlib.import_module("kubernetes_validate")  # it comes without types
    except ImportError:
        missing("kubernetes-validate not installed")
    version = kubernetes_validate.latest_version()
    for manifest in yaml.safe_load_all(MANIFESTS.read_text()):
        kubernetes_validate.validate(manifest, version, strict=True)
