"""Trees of processes that do anything at random: nothing of them is left, and the status is the command's.

Each tree is made by a seed, which a failure prints; `--seed N` runs that one again. `make stress` tries 500 of them,
`make test` fewer, the same ones each time.
"""

import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.faults.conftest import Record
from tests.harness import Mode, children_of, need_root, started, state_of, wait_until
from tests.programs import compiled

# What the root ignores, as it does SIGTERM until it is ready; the rest does what it likes.
NOISE = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGCONT, signal.SIGWINCH, signal.SIGURG]
AT_ONCE = 6


@dataclass(frozen=True)
class Tree:
    """What a seed makes: how pyinit is started, what the root of the tree does, the status that must come out."""

    seed: int
    mode: Mode
    options: tuple[str, ...]
    root: str
    status: int

    @classmethod
    def of(cls, seed: int) -> "Tree":
        """The tree that this seed makes."""
        draw = random.Random(seed)
        mode: Mode = draw.choice(["pid1", "subreaper"])
        root = draw.choice(["ends", "stops", "stays"])
        options = ["--grace", draw.choice(["0", "0.1", "0.2"])]
        options += draw.choice([[], [], ["-g"], ["--scope", "all"]])
        options += draw.choice([[], [], ["--pid-namespace"]])
        if root == "stays":
            options += ["--kill-after", "0.2"]
        status = 137 if root == "stays" else draw.choice([0, 3, 255, 129, 134, 137, 143])
        return cls(seed, mode, tuple(options), root, status)


def complaint(tree: Tree) -> str:
    """What is wrong with pyinit under this tree, or ""."""
    try:
        return seen(tree)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return str(error)


def seen(tree: Tree) -> str:
    """Let it grow, send signals to pyinit at random moments, then SIGTERM; what is wrong then, or ""."""
    draw = random.Random(tree.seed + 1)
    words = [*tree.options, "--", compiled("tree"), str(tree.seed), tree.root, str(tree.status)]
    with started(*words, mode=tree.mode, stderr=-3) as pyinit:
        if pyinit.line() != b"grown\n":
            return "did not grow"
        for _ in range(draw.randrange(8)):
            if not send(pyinit.pid, draw.choice(NOISE)):
                break
            time.sleep(draw.random() / 200)
        if tree.root != "ends":
            wait_until(lambda: not zombies_of(pyinit.pid), f"the zombies of tree {tree.seed} to be reaped")
            send(pyinit.pid, signal.SIGTERM)
        status = pyinit.wait()
        if left := pyinit.alive():
            return f"left behind: {len(left)}"
        return f"exit status {status}" if status != tree.status else ""


def send(pid: int, signum: int) -> bool:
    """Whether somebody was there to get it. The PID is 0 where pyinit had ended before it was seen."""
    try:
        if pid:
            os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return pid != 0


def zombies_of(pid: int) -> list[int]:
    return [child for child in children_of(pid) if state_of(child) == "Z"]


def test_nothing_is_left_of_any_tree(trees: list[int], record_property: Record) -> None:
    need_root()
    grown = [Tree.of(seed) for seed in trees]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        complaints = list(pool.map(complaint, grown))
    bad = [f"--seed {tree.seed}: {said}; {tree}" for tree, said in zip(grown, complaints, strict=True) if said]
    record_property("faults", f"trees: {len(grown)} grown, {len(bad)} ended badly")
    assert not bad, "\n".join(bad)
