"""What pyinit is for, shown: one command as PID 1 of a PID namespace, alone and behind pyinit. See `make demo`.

Without pyinit the namespace is made by unshare(1), with it by `pyinit --pid-namespace`: no container engine is needed.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

from tests.harness import (
    AS_USER,
    DEADLINE,
    PYINIT,
    UNSHARE,
    children_of,
    name_of,
    pid_one_below,
    started,
    state_of,
    status_of,
    wait_until,
    why_no_namespaces,
)

ORPHANS = 20
PATIENCE = 2.0  # seconds; docker stop waits ten, then sends SIGKILL
WITHOUT = [*UNSHARE, *AS_USER]
WITH = [str(PYINIT), "--pid-namespace", "--"]
# Each outer sh ends at once: the inner one, which reads until the demo closes the pipe, is an orphan from then on.
LEAVE_ORPHANS = f"exec 3<&0; for i in $(seq {ORPHANS}); do sh -c '(read line <&3; echo gone) &'; done; exec sleep 1000"


def main() -> None:
    if why := why_no_namespaces():
        sys.exit(f"demo: {why}")
    print(f"What a command does as PID 1 of a container:{'':13}alone{'':17}behind pyinit\n")
    row(f"zombies left by {ORPHANS} orphans", zombies(WITHOUT), zombies(WITH))
    row('SIGTERM to /bin/sh -c "sleep 1000; true"', stop(WITHOUT), stop(WITH))
    print("\nOne process, two PIDs: `pyinit --pid-namespace -- sh -c ps`, and the same from outside.\n")
    show_both_sides()


def row(what: str, alone: str, behind: str) -> None:
    print(f"  {what:<54} {alone:<21} {behind}")


def zombies(init: list[str]) -> str:
    """How many zombies PID 1 of the namespace has when its orphans have all ended."""
    with started("sh", "-c", LEAVE_ORPHANS, init=init, stdin=subprocess.PIPE) as run:
        first = run.main_child()
        command = wait_until(lambda: next(filter(is_command, [*children_of(run.pid), *children_of(first)]), 0), "sleep")
        run.close_stdin()
        for _ in range(ORPHANS):
            run.line()
        orphans = [pid for pid in children_of(first) if pid != command]
        wait_until(lambda: all(state_of(pid) in ("", "Z") for pid in orphans))
        with suppress(AssertionError):  # reaping takes a moment, and many on a machine with much to do
            patience = PATIENCE if init is WITHOUT else DEADLINE
            wait_until(lambda: not any(state_of(pid) for pid in orphans), deadline=patience)
        return str(sum(state_of(pid) == "Z" for pid in orphans))


def is_command(pid: int) -> bool:
    """Whether it is what LEAVE_ORPHANS becomes in the end."""
    return name_of(pid) == "sleep"


def stop(init: list[str]) -> str:
    """What SIGTERM does to a shell that waits for its command."""
    with started("/bin/sh", "-c", "echo up; sleep 1000; true", init=init) as run:
        run.line()
        # Without pyinit, unshare(1) is outside and does not pass the signal on: it goes to PID 1 directly.
        pid = run.pid if init is WITH else run.main_child()
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        try:
            run.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return f"ignored for {PATIENCE:g} s"
        return f"ends in {(time.monotonic() - began) * 1000:.0f} ms"


def show_both_sides() -> None:
    with started("sh", "-c", "ps -o pid,ppid,comm; echo; exec sleep 1000", init=WITH) as run:
        while line := run.line().rstrip():
            print(f"  inside   {line.decode()}")
        inner = pid_one_below(run.pid)
        (command,) = set(children_of(run.pid)) - {inner}
        print(f"\n  outside  launcher: PID {run.pid}; PID 1 of the namespace: {inner}; the command: {command}")
        print(f"  outside  /proc/{command}/status: NSpid: {status_of(command)['NSpid']}")
        print("\nBoth at once, what a stop does to each, and whom pyinit would tell: `pyinit-ps`.\n")
        show(inner)
    with started("/bin/sh", "-c", "echo up; sleep 1000; true", init=WITHOUT) as run:
        run.line()
        print("\nAnd alone:\n")
        show(run.main_child())


def show(pid: int) -> None:
    words = [str(PYINIT.with_name("pyinit-ps")), str(pid)]
    for line in subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines():
        print(f"  {line}".rstrip())


main()
