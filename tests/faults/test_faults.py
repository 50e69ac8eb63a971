"""Whatever system call fails: no hang, no traceback, nothing left behind, and the command's status or 125 and one line.

`make stress` tries every call of every scenario, `make test` a fixed sample of them.
"""

import errno
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from math import ceil

import pytest

from tests.copies import public_pyinit
from tests.faults.conftest import Record
from tests.faults.scenarios import ROOT, SCENARIOS, SUPERVISE, Fault, Scenario, complaint, run
from tests.harness import Rounds, missing, need, need_root

SAMPLE, ALL = 10, 10**6  # faults of each scenario, evenly spread
AT_ONCE = 4


@pytest.fixture(scope="module")
def pyinit() -> str:
    """One that every user may run."""
    need_root()
    need("setpriv", "setsid", "unshare")
    if subprocess.run([*SUPERVISE, "/dev/null", "--", "/bin/true"], cwd=ROOT, stderr=-3, check=False).returncode:
        missing("needs seccomp's user notification, for which one listener is allowed")
    return public_pyinit()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_one_system_call_fails(scenario: Scenario, pyinit: str, rounds: Rounds, record_property: Record) -> None:
    """Each in turn, in a run of its own."""
    plain = run(scenario, pyinit)
    assert plain.status == scenario.status, plain
    assert not complaint(scenario, plain)
    faults = list(plain.faults())
    chosen = faults[:: ceil(len(faults) / rounds(SAMPLE, ALL))]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(run, repeat(scenario), repeat(pyinit), chosen))
    bad = [
        f"{fault}: {wrong}, {outcome.messages!r}"
        for fault, outcome in zip(chosen, outcomes, strict=True)
        if (wrong := complaint(scenario, outcome))
    ]
    met = sum(outcome.has_failed() for outcome in outcomes)
    record_property("faults", f"{scenario.name}: {met} of {len(chosen)} faults were met, {len(bad)} ended badly")
    assert not bad, "\n".join(bad)
    assert met > len(chosen) / 2


@pytest.mark.parametrize(
    ("name", "role", "syscall"),
    [
        ("drain", 0, "chdir"),
        ("drain", 0, "readlinkat"),
        ("drain", 2, "pidfd_open"),
        ("drain", 2, "pidfd_send_signal"),
        ("drain", 2, "execve"),
        ("drain", 2, "rt_sigtimedwait"),
        ("drain as PID 1", 2, "readlink"),
        ("drain as PID 1", 2, "kill"),
        ("namespace", 0, "chdir"),
        ("namespace", 0, "kill"),
        ("namespace", 1, "kill"),
        ("namespace", 3, "getdents64"),
        ("namespace of a user", 3, "kill"),
    ],
)
def test_a_system_call_is_denied_throughout(name: str, role: int, syscall: str, pyinit: str) -> None:
    """As by a seccomp profile: what the call was for is done without it."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name).without_haste()
    outcome = run(scenario, pyinit, Fault(role, syscall, 0, errno.EPERM))
    assert outcome.has_failed()
    assert not complaint(scenario, outcome), outcome.messages
    assert outcome.status == scenario.status


@pytest.mark.parametrize(
    ("role", "syscall", "code"),
    [
        (0, "unshare", errno.EPERM),
        (0, "clone", errno.EPERM),
        (1, "prctl", errno.EPERM),
        (1, "mount", errno.EPERM),
        (2, "unshare", errno.EPERM),
        (2, "mount", errno.EACCES),
    ],
)
def test_a_step_of_the_launcher_is_denied(role: int, syscall: str, code: int, pyinit: str) -> None:
    """One line names the step, the error and what to allow."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "namespace")
    outcome = run(scenario, pyinit, Fault(role, syscall, 0, code))
    assert outcome.has_failed()
    assert outcome.status == 125
    assert not outcome.left
    (line,) = outcome.messages.splitlines()
    assert syscall in line or syscall == "clone"
    assert errno.errorcode[code] in line or syscall == "clone"
