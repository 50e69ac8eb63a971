"""What pyinit goes through while a system call fails, and what must hold of it all the same."""

import errno
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.copies import NOBODY
from tests.harness import UNSHARE, Started, children_of, started

DEADLINE = 40.0  # seconds until a run counts as hung
OWN_STATUSES = (125, 126, 127)
SUPERVISE = [sys.executable, "-m", "tests.faults.supervise"]
ROOT = Path(__file__).parents[2]
PID1 = (f"/usr/bin/{UNSHARE[0]}", *UNSHARE[1:])
AS_NOBODY = ("/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
AS_SESSION_LEADER = ("/usr/bin/setsid", "--ctty")

# What no kernel fails, and what does not return.
NEVER_FAILS = {
    "brk",
    "clock_gettime",
    "runs",
    "exit",
    "exit_group",
    "getegid",
    "geteuid",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getsid",
    "gettid",
}
ERRNOS = {
    "clone": (errno.EAGAIN, errno.EPERM),
    "fork": (errno.EAGAIN, errno.EPERM),
    "getdents64": (errno.EIO,),
    "ioctl": (errno.ENOTTY, errno.EIO),
    "mmap": (errno.ENOMEM,),
    "mprotect": (errno.ENOMEM,),
    "newfstatat": (errno.EACCES,),
    "openat": (errno.EMFILE, errno.EACCES),
    "pidfd_open": (errno.ENOSYS, errno.EPERM),
    "read": (errno.EIO,),
}


@dataclass(frozen=True)
class Scenario:
    """A shell script run by pyinit with `options`, and the status that pyinit must give.

    `stops` says that it is told to stop, `wrap` what starts pyinit.
    """

    name: str
    status: int
    script: str
    options: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()
    stops: bool = False

    def without_haste(self) -> "Scenario":
        """The same without the deadline, before which no adviser may have started, and with leftovers that all heed."""
        return replace(self, script=self.script.replace(IGNORES, ""), options=self.options[:-2])


WAITS = "trap 'exit 8' TERM; echo ready; while :; do sleep 0.02; done"
# One that is left heeds SIGTERM, the other does not, nor does its child.
HEEDS, IGNORES = "(trap 'exit 0' TERM; while :; do sleep 0.02; done) &", "trap '' TERM; sh -c 'sleep 1000; true' &"
LEAVES = f"{HEEDS} {IGNORES} sleep 0.05; exit 9"
SCENARIOS = [
    Scenario("start", 7, "sleep 0.05; exit 7"),
    Scenario("stop", 8, WAITS, stops=True),
    Scenario("stop of a group", 8, WAITS, ("-g",), stops=True),
    Scenario("terminal", 8, WAITS, wrap=AS_SESSION_LEADER, stops=True),
    Scenario("drain", 9, LEAVES, ("-t", "0.2")),
    Scenario("drain as PID 1", 9, LEAVES, ("-t", "0.2"), wrap=PID1),
    Scenario("namespace", 9, LEAVES, ("-n", "-t", "0.2")),
    Scenario("namespace of a user", 9, LEAVES, ("-n", "-t", "0.2"), wrap=AS_NOBODY),
]


@dataclass(frozen=True)
class Fault:
    """The `nth` call of `syscall` by the process `role` fails with `code`."""

    role: int
    syscall: str
    nth: int
    code: int

    def words(self) -> list[str]:
        """As supervise takes it."""
        return [str(self.role), self.syscall, str(self.nth), str(self.code)]

    def __str__(self) -> str:
        return f"{self.syscall} no. {self.nth} of process {self.role} fails with {errno.errorcode[self.code]}"


@dataclass
class Outcome:
    """How a run ended: its exit status, None for never, its messages, and the system calls as supervise lists them."""

    status: int | None
    messages: str
    calls: list[list[str]]
    left: list[list[str]] = field(default_factory=list)

    def faults(self) -> Iterator[Fault]:
        """One at a time: every call that may fail, with each errno that it may fail with."""
        for role, syscall, nth, *_ in self.calls:
            if syscall not in NEVER_FAILS:
                for code in ERRNOS.get(syscall, (errno.EPERM,)):
                    yield Fault(int(role), syscall, int(nth), code)

    def has_failed(self) -> bool:
        """Whether the fault was met: from run to run some calls are made more often, some less."""
        return any(words[-2] == "failed" for words in self.calls)

    def had_started(self) -> bool:
        """Whether the command ran before the fault was met."""
        first = next((words for words in self.calls if "runs" in words or "failed" in words), [])
        return "runs" in first


def run(scenario: Scenario, pyinit: str, fault: Fault | None = None) -> Outcome:
    """Have pyinit go through the scenario."""
    with tempfile.TemporaryDirectory() as folder:
        calls, messages = Path(folder, "calls"), Path(folder, "messages")
        init = [*SUPERVISE, str(calls), *(fault.words() if fault else ()), "--", *scenario.wrap, pyinit]
        controller, terminal = pty.openpty()
        with (
            messages.open("wb") as stderr,
            started(
                *scenario.options, "--", "/bin/sh", "-c", scenario.script,
                init=init, stderr=stderr, stdin=terminal, cwd=ROOT,
            ) as supervisor,
        ):  # fmt: skip
            os.close(terminal)
            if scenario.stops:
                supervisor.line()
                stop(supervisor)
            try:
                status = supervisor.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                status = None
        os.close(controller)
        lines = [line.split() for line in calls.read_text().splitlines()]
        made, left = [[words for words in lines if (words[0] == "left") is is_left] for is_left in (False, True)]
        return Outcome(status, messages.read_text(), made, left)


def stop(supervisor: Started) -> None:
    """SIGTERM to pyinit, and again, as people do whose first one seems lost."""
    for _ in range(int(DEADLINE)):
        for pyinit in children_of(supervisor.pid):
            os.kill(pyinit, signal.SIGTERM)
        try:
            supervisor.process.wait(1)
            return
        except subprocess.TimeoutExpired:
            pass


def complaint(scenario: Scenario, outcome: Outcome) -> str:
    """What is wrong with the outcome; "" for nothing.

    Until the command runs pyinit may give up, with one line and a status of its own; from there on the status is the
    command's. What runs outside because pyinit could not be made a subreaper has been warned of.
    """
    lines = [line for line in outcome.messages.splitlines() if line.startswith("pyinit: ")]
    if outcome.status is None:
        return "hangs"
    if outcome.left and "orphans will not be adopted" not in outcome.messages:
        return f"left behind: {outcome.left}"
    if "Traceback" in outcome.messages or "Fatal Python error" in outcome.messages:
        return "is at a loss"
    if outcome.status == scenario.status:
        return ""
    if outcome.status not in OWN_STATUSES or outcome.had_started():
        return f"status {outcome.status}"
    return "" if len(lines) == 1 else f"says {len(lines)} lines"
