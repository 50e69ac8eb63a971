"""The table that compares pyinit with unshare(1) and bwrap(1) says of pyinit what is promised.

The other tests here look at each row.
"""

import subprocess

import pytest

from tests.harness import PYTHON, need, need_root

EXPECTED = {
    "PID 1 inside": "pyinit",
    "SIGTERM to the launcher": "exit 143, nothing left",
    "the same, and the command has a trap": "told, exit 7",
    "SIGTERM in the first 20 ms": "20 of 20: exit 143, nothing left",
    "exit statuses 0 to 255": "unchanged",
    "killed by a signal": "128+N",
    "command not found": "exit 127",
    "command not runnable": "exit 126",
    "orphans that end": "reaped",
    "what the command leaves behind": "SIGTERM first, exit 0",
    "Ctrl-Z under bash, then `fg`": "suspended, `fg` continues it",
    "SIGKILL to the launcher": "nothing left",
}


@pytest.mark.slow
def test_the_table_says_what_pyinit_promises() -> None:
    need_root()
    need("unshare", "bwrap", "bash")
    run = subprocess.run([PYTHON, "-m", "tools.compare"], capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in run.stdout.splitlines()]
    assert all(len(row) == 4 for row in rows[2:])
    assert {row[0]: row[1] for row in rows[2:]} == EXPECTED
