"""What is kept when a container's PID 1 is told to stop, as a Markdown table: python -m tools.stops.

Real servers as PID 1 of a PID namespace, alone and behind pyinit, tini, dumb-init and catatonit, in the exec form and
behind shells. Every cell is a count of what was seen in this run; the README holds such a table. A test runs this and
checks pyinit's column.
"""

import os
import signal
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.harness import PYINIT, children_of, need, need_root, wait_until
from tests.servers.servers import Careful, Celery, Gunicorn, Interrupted, Node, Python, Redis, Server, Tolerant
from tests.servers.stop import FORMS, PIPELINES, SHELLS, Way, running, stops
from tests.shell import CONTAINER, terminal

PATIENCE = 3.0  # seconds from the stop signal to SIGKILL: ten in Docker, but no server here needs more than two
EACH = 7

INITS = {
    "none": ("env",),
    "tini": ("tini", "--"),
    "tini -g": ("tini", "-g", "--"),
    "dumb-init": ("dumb-init", "--"),
    "catatonit": ("catatonit", "--"),
    "pyinit": (str(PYINIT), "--"),
}


class Count(NamedTuple):
    """How often something was kept."""

    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.kept} of {self.of}"


def behind_shells(init: tuple[str, ...], forms: Iterable[str]) -> list[Way]:
    """The ways through each of the forms in each shell."""
    return [Way(init, "pid1", shell, form) for shell in SHELLS for form in forms]


def saved(init: tuple[str, ...], kinds: Iterable[type[Server]]) -> Count:
    """The data of servers behind shells."""
    outcomes = [outcome for kind in kinds for outcome in stops(kind, behind_shells(init, FORMS), patience=PATIENCE)]
    return Count(sum(outcome.kept for outcome in outcomes), len(outcomes))


def read(init: tuple[str, ...]) -> Count:
    """The data and the last line of a server that prints into a pipe as it ends."""
    ways = [Way(init, "pid1", "bash", form) for form in PIPELINES] * EACH
    outcomes = stops(Careful, ways, patience=PATIENCE)
    kept = [outcome.kept and outcome.printed.endswith("the last line\n") for outcome in outcomes]
    return Count(sum(kept), len(kept))


def interrupted(init: tuple[str, ...]) -> Count:
    """The data of a program that saves on KeyboardInterrupt, in the foreground of shells, at SIGINT."""
    ways = behind_shells(init, ("{}; true", "cd . && {}", "({}; true); true")) * 2
    outcomes = stops(Interrupted, ways, signal.SIGINT, PATIENCE)
    return Count(sum(outcome.kept for outcome in outcomes), len(outcomes))


def read_by_fifo(init: tuple[str, ...]) -> Count:
    """The data and the last line of a server that prints into a FIFO with a path as it ends."""
    ways = behind_shells(init, ("mkfifo p; cat <p & {} >p; true",)) * 6
    outcomes = stops(Careful, ways, patience=PATIENCE)
    kept = [outcome.kept and outcome.printed.endswith("the last line\n") for outcome in outcomes]
    return Count(sum(kept), len(kept))


def hooked(init: tuple[str, ...]) -> Count:
    """The data of a server that saves for 1 s, if a preStop hook sends SIGQUIT, and SIGTERM comes 0.2 s later."""
    outcomes = stops(Tolerant, behind_shells(init, FORMS), signal.SIGQUIT, PATIENCE, then=(0.2, signal.SIGTERM))
    return Count(sum(outcome.kept for outcome in outcomes), len(outcomes))


def killed_its_group(init: tuple[str, ...]) -> Count:
    """Scripts on a terminal, as with `docker run -t`, that end their children by `kill -- -$$` in a trap."""
    script = "trap 'trap - TERM; kill -- -$$' INT TERM EXIT; sleep 1000 & echo ready; while :; do sleep 0.05; done"
    ended = []
    for shell in [*SHELLS.values()] * 6:
        with terminal(*CONTAINER, *init, *shell, script) as run:
            run.see("ready\r\n")
            os.kill(children_of(run.pid)[0], signal.SIGTERM)
            try:
                wait_until(lambda: not run.alive(), deadline=PATIENCE)
            except AssertionError:
                pass
            ended.append(not run.alive())
    return Count(sum(ended), len(ended))


def worked(init: tuple[str, ...], kind: type[Server], patience: float) -> Count:
    """The work in flight of a server that has workers, in the exec form and behind shells."""
    outcomes = stops(kind, [Way(init, "pid1"), *behind_shells(init, ["{}; true"])], patience=patience)
    return Count(sum(outcome.kept for outcome in outcomes), len(outcomes))


def managed(init: tuple[str, ...]) -> Count:
    """gunicorn's at SIGHUP, a reload, and at SIGUSR2, a new master."""
    kept = []
    for signum in (signal.SIGHUP, signal.SIGUSR2):
        with running(Gunicorn, Way(init, "pid1")) as (run, server):
            run.send(signum)
            kept.append(server.kept())
    return Count(sum(kept), len(kept))


ROWS: dict[str, Callable[[tuple[str, ...]], Count]] = {
    "data that servers behind a shell save on SIGTERM": lambda init: saved(init, (Careful, Python, Node)),
    "redis' data, behind a shell": lambda init: saved(init, (Redis,)),
    "data and last line, before a pipe": read,
    "the same, before a FIFO": read_by_fifo,
    "data saved on KeyboardInterrupt, at SIGINT": interrupted,
    "data, at SIGQUIT and then SIGTERM (preStop)": hooked,
    "scripts that end by `kill -- -$$`, on a terminal": killed_its_group,
    "celery's running task": lambda init: worked(init, Celery, 3 * PATIENCE),
    "gunicorn's request in flight, at SIGTERM": lambda init: worked(init, Gunicorn, PATIENCE),
    "the same, at SIGHUP and SIGUSR2": managed,
}


def seen(rows: Iterable[str] = ROWS, inits: Iterable[str] = INITS) -> dict[str, dict[str, Count]]:
    """The table: for each row, what each init has kept."""
    need_root()
    for signum in (signal.SIGINT, signal.SIGQUIT):  # a shell's background job would have its servers ignore them
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    for kind in (Careful, Python, Node, Redis):
        need(*kind.needs)
    return {row: {init: ROWS[row](INITS[init]) for init in inits} for row in rows}


def markdown(table: dict[str, dict[str, Count]]) -> str:
    """The table as the README has it."""
    inits = list(next(iter(table.values())))
    lines = [["kept", *(f"`{init}`" if init != "none" else init for init in inits)], ["---"] * (len(inits) + 1)]
    lines += [[row, *(str(counts[init]) for init in inits)] for row, counts in table.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(markdown(seen()))
