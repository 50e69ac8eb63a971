"""What several tests of jobs do."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness import children_of, name_of, need, settled
from tests.programs import recorder
from tests.shell import CTRL_D, CTRL_Z, SHELLS, Shell, Terminal, shell


@contextmanager
def reporting_job(front: str) -> Iterator[tuple[Shell, int]]:
    """An interactive bash that runs a reporter behind `front`, and pyinit's PID. In the end SIGTERM ends the job."""
    need("bash")
    with shell(*SHELLS["bash"]) as run:
        run.enter(" ".join([front, *(f"'{word}'" for word in recorder())]))
        run.see("up\r\n")
        pyinit = run.pyinit()
        job_is_known(pyinit)
        yield run, pyinit
        os.kill(pyinit, signal.SIGTERM)
        run.prompt()
        assert run.status() == 0
        run.leave()


def job_is_known(pyinit: int) -> None:
    """Wait until a pyinit, and with -n PID 1, knows that the command runs; before, it stops by itself."""
    for pid in (pyinit, *(child for child in children_of(pyinit) if name_of(child) == "pyinit")):
        settled(pid)


def cat_outlives_ctrl_z(run: Terminal, turns: int) -> None:
    """Check that a cat that nobody could continue goes on reading whatever Ctrl-Z does, and end it."""
    for turn in range(turns):
        run.echoes(f"turn {turn}")
        run.type(CTRL_Z)
    run.echoes("last")
    run.type(CTRL_D)
    assert run.wait() == 0
