"""On a machine that denies PID namespaces, as an ordinary container does: the demo and the tests say so at once."""

import os
import subprocess
import sys

import pytest

from tests.harness import CHECKOUT, need, need_root

DENIED = ["setpriv", "--bounding-set", "-all", sys.executable]
REASON = "needs PID namespaces: unshare: unshare failed: Operation not permitted: in a container it takes `docker run"
ONE_TEST = "tests/namespace/test_namespace.py::test_what_is_mounted_inside_is_never_seen_outside"


def run(*words: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python with these words as root without a capability."""
    need_root()
    need("setpriv")
    environ = {**os.environ, "CI": ci, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*DENIED, *words], cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)


def test_the_demo_says_so_in_one_line() -> None:
    done = run("-m", "tools.demo")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"demo: {REASON} --privileged`\n"


@pytest.mark.parametrize(("ci", "status", "result"), [("", 0, "SKIPPED"), ("true", 1, "CI must have it: ")])
def test_a_test_says_so(ci: str, status: int, result: str) -> None:
    done = run("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", ONE_TEST, ci=ci)
    assert done.returncode == status
    assert result in done.stdout
    assert REASON in done.stdout
