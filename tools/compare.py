"""What three ways of making a PID namespace do with the same cases, as a Markdown table: python -m tools.compare.

pyinit, unshare(1) and bwrap(1). Every cell is what was seen in this run; bench/README.md holds such a table.
A test runs this and checks pyinit's column.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.harness import (
    PYINIT,
    Started,
    descendants_of,
    name_of,
    started,
    state_of,
    status_of,
    wait_until,
)
from tests.shell import SHELLS, shell

PATIENCE = 1.0  # seconds after which a signal that did nothing is said to be ignored
ORPHANS = 5
EARLY = 20
DEADLY = [1, 2, 3, 6, 9, 11, 13, 15, 34, 64]

# Says `up`, then nothing: it ends by the signals that a shell's command ends by.
WAITS = ["sh", "-c", "echo up; sleep 1000; true"]


class Contender(NamedTuple):
    """One of the three: its name in the table, and the words before the command's."""

    name: str
    words: list[str]


CONTENDERS = [
    Contender("pyinit -n", [str(PYINIT), "-n", "--"]),
    Contender("unshare", ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]),
    Contender(
        "bwrap", ["bwrap", "--unshare-pid", "--dev-bind", "/", "/", "--proc", "/proc", "--die-with-parent", "--"]
    ),
]


def ended(run: Started, patience: float = PATIENCE) -> int | None:
    """The exit status, or None where it goes on."""
    try:
        return run.wait(patience)
    except subprocess.TimeoutExpired:
        return None


def left(run: Started) -> str:
    """Whether anything is alive that the launcher had started, a moment after its end."""
    try:
        wait_until(lambda: not run.alive(), deadline=PATIENCE)
    except AssertionError:
        return "the inside goes on"
    return "nothing left"


def sigterm(words: list[str]) -> str:
    """SIGTERM to the launcher, while a shell waits for its command."""
    with started(*WAITS, init=words) as run:
        run.line()
        run.send(signal.SIGTERM)
        status = ended(run)
        return f"ignored for {PATIENCE:g} s" if status is None else f"exit {status}, {left(run)}"


def told(words: list[str]) -> str:
    """Whether the command can do something about SIGTERM."""
    script = "trap 'echo told; exit 7' TERM; echo up; while :; do sleep 0.01; done"
    with started("sh", "-c", script, init=words) as run:
        run.line()
        run.send(signal.SIGTERM)
        status = ended(run)
        if status is None:
            return f"not told for {PATIENCE:g} s"
        wait_until(lambda: not run.alive(), "the end of it", 20)
        return f"{'told' if b'told' in run.output() else 'not told'}, exit {status}"


def statuses(words: list[str]) -> str:
    """Exit statuses that come out as they are."""
    wrong = [
        status
        for status in range(256)
        if subprocess.run([*words, "sh", "-c", f"exit {status}"], check=False).returncode != status
    ]
    return "unchanged" if not wrong else f"changed: {wrong}"


def deaths(words: list[str]) -> str:
    """What comes out where a signal killed the command."""
    wrong = {}
    for signum in DEADLY:
        with started("sh", "-c", f"ulimit -c 0; kill -{signum} $$", init=words, stderr=subprocess.DEVNULL) as run:
            status = ended(run)
            if status != 128 + signum:
                wrong[signum] = status
    if not wrong:
        return "128+N"
    return "128+N, but for " + ", ".join(f"{n}: {'goes on' if s is None else s}" for n, s in wrong.items())


def not_found(words: list[str]) -> str:
    """The exit status where the command is not there."""
    with started("/nowhere/at-all", init=words, stderr=subprocess.DEVNULL) as run:
        return f"exit {ended(run)}"


def not_runnable(words: list[str]) -> str:
    """The exit status where the command cannot be run."""
    with started("/etc/passwd", init=words, stderr=subprocess.DEVNULL) as run:
        return f"exit {ended(run)}"


def early(words: list[str]) -> str:
    """SIGTERM sent at once after the start, and a little later, up to 20 ms."""
    outcomes: dict[str, int] = {}
    for turn in range(EARLY):
        with started("sleep", "1000", init=words) as run:
            time.sleep(turn * 0.001)  # not a wait: it is where in the start the signal falls
            run.send(signal.SIGTERM)
            status = ended(run)
            outcome = "ignored" if status is None else f"exit {status}, {left(run)}"
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return "; ".join(f"{count} of {EARLY}: {outcome}" for outcome, count in outcomes.items())


def zombies(words: list[str]) -> str:
    """How many zombies are left of orphans that have ended."""
    script = f"for i in $(seq {ORPHANS}); do sh -c '(sleep 0.05; echo gone) &'; done; exec sleep 1000"
    with started("sh", "-c", script, init=words) as run:
        for _ in range(ORPHANS):
            run.line()
        try:
            wait_until(lambda: not dead_below(run.pid), deadline=PATIENCE)
        except AssertionError:
            return f"{len(dead_below(run.pid))} of {ORPHANS} stay zombies"
        return "reaped"


def dead_below(pid: int) -> list[int]:
    """The zombies below a process."""
    return [other for other in descendants_of(pid) if state_of(other) == "Z"]


def orphans(words: list[str]) -> str:
    """A process that the command leaves behind: whether it is asked to end before it is killed."""
    script = "(trap 'echo asked' TERM; echo up; sleep 0.2; sleep 0.2; echo too late) & read line <&3; exit 0"
    reader, writer = os.pipe()
    try:
        with started("sh", "-c", script.replace("<&3", f"<&{reader}"), init=words, pass_fds=[reader]) as run:
            run.line()
            os.write(writer, b"go\n")
            status = ended(run, 5)
            wait_until(lambda: not run.alive(), "the end of it", 20)
            asked = b"asked" in run.output()
            return f"{'SIGTERM first' if asked else 'killed at once'}, exit {status}"
    finally:
        os.close(reader)
        os.close(writer)


def ctrl_z(words: list[str]) -> str:
    """Ctrl-Z and fg under an interactive bash."""
    with shell(*SHELLS["bash"]) as bash:
        bash.start(" ".join([*words, "cat"]))
        bash.echoes("hello")
        bash.spawn.timeout = 3 * PATIENCE
        bash.type("\x1a")
        if not saw(bash.prompt):
            return "not suspended"
        (cat,) = bash.named("cat")
        try:
            wait_until(lambda: state_of(cat) == "T", deadline=PATIENCE)
        except AssertionError:
            return "the launcher stops, the command goes on"
        bash.start("fg")
        return "suspended, `fg` continues it" if saw(lambda: bash.echoes("again")) else "suspended, `fg` does nothing"


def saw(look: Callable[[], object]) -> bool:
    """Whether something came to the screen in time."""
    import pexpect

    try:
        look()
    except pexpect.TIMEOUT:
        return False
    return True


def killed(words: list[str]) -> str:
    """SIGKILL to the launcher."""
    script = "trap '' TERM HUP; (setsid sleep 1000 &); echo up; sleep 1000; true"
    with started("sh", "-c", script, init=words) as run:
        run.line()
        run.send(signal.SIGKILL)
        run.wait()
        return left(run)


def who_is_pid_1(words: list[str]) -> str:
    """The name of PID 1 inside."""
    with started(*WAITS, init=words) as run:
        run.line()
        for pid in run.alive():
            if status_of(pid).get("NSpid", "").split()[1:] == ["1"]:
                return "the command" if name_of(pid) == "sh" else name_of(pid)
        return "?"


CASES: list[tuple[str, Callable[[list[str]], str]]] = [
    ("PID 1 inside", who_is_pid_1),
    ("SIGTERM to the launcher", sigterm),
    ("the same, and the command has a trap", told),
    ("SIGTERM in the first 20 ms", early),
    ("exit statuses 0 to 255", statuses),
    ("killed by a signal", deaths),
    ("command not found", not_found),
    ("command not runnable", not_runnable),
    ("orphans that end", zombies),
    ("what the command leaves behind", orphans),
    ("Ctrl-Z under bash, then `fg`", ctrl_z),
    ("SIGKILL to the launcher", killed),
]


def table(contenders: Iterable[Contender]) -> dict[str, dict[str, str]]:
    """What was seen: by case, by contender."""
    return {case: {name: look(words) for name, words in contenders} for case, look in CASES}


def main() -> None:
    here = [contender for contender in CONTENDERS if shutil.which(contender.words[0])]
    for name in {contender.name for contender in CONTENDERS} - {contender.name for contender in here}:
        print(f"{name} is not installed: no column", file=sys.stderr)
    print(f"| | {' | '.join(f'`{name}`' for name, _ in here)} |")
    print(f"| --- |{' --- |' * len(here)}")
    for case, seen in table(here).items():
        print(f"| {case} | {' | '.join(seen[name] for name, _ in here)} |")


if __name__ == "__main__":
    main()
