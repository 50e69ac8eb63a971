"""Who is told of a stop, and in which order, with no process in it."""

import os
import signal
import time

import pytest

from pyinit.family import proc
from pyinit.family.proc import Process, below
from pyinit.stop.order import Turn, guardians, was_signalled

GROUP = 40


def process(
    pid: int, *, parent: int = 1, group: int = GROUP, started: int = 0, ignored: int = 0, caught: int = 0
) -> Process:
    """As from /proc/PID/stat; `ignored` and `caught` are signals."""
    fields = [b"0"] * 33
    fields[0], fields[1], fields[2], fields[19] = b"S", b"%d" % parent, b"%d" % group, b"%d" % started
    fields[30], fields[31] = (b"%d" % (1 << (signum - 1) if signum else 0) for signum in (ignored, caught))
    return Process(pid, fields)


@pytest.mark.parametrize(
    ("scope", "inside", "outside"), [("child", False, False), ("group", True, False), ("all", True, True)]
)
def test_the_scope_says_who_was_told(scope: str, inside: bool, outside: bool) -> None:
    assert was_signalled(process(41), scope, GROUP, signal.SIGTERM, (100, 50)) == inside
    assert was_signalled(process(41, group=41), scope, GROUP, signal.SIGTERM, (100, 50)) == outside


@pytest.mark.parametrize(
    ("pid", "started", "told"),
    [(50, 99, True), (51, 99, True), (50, 100, True), (51, 100, False), (41, 101, False)],
)
def test_who_was_forked_later_was_not_told(pid: int, started: int, told: bool) -> None:
    assert was_signalled(process(pid, started=started), "group", GROUP, signal.SIGTERM, (100, 50)) == told


def test_who_ignores_the_signal_was_not_told_by_it() -> None:
    ignoring = process(41, ignored=signal.SIGINT)
    assert not was_signalled(ignoring, "group", GROUP, signal.SIGINT, (100, 50))
    assert was_signalled(ignoring, "group", GROUP, signal.SIGTERM, (100, 50))


@pytest.mark.parametrize(
    ("deaf", "expected"),
    [
        (set(), {5: 5, 9: 5, 12: 5, 20: 20}),
        ({5}, {5: 5, 9: 9, 12: 9, 20: 20}),
        ({9}, {5: 5, 9: 5, 12: 5, 20: 20}),
        ({5, 9}, {5: 5, 9: 9, 12: 12, 20: 20}),
        ({12}, {5: 5, 9: 5, 12: 5, 20: 20}),
    ],
)
def test_who_has_somebody_above_who_is_going_is_left_to_that(deaf: set[int], expected: dict[int, int]) -> None:
    everyone = {pid: process(pid, parent=parent) for pid, parent in {5: 1, 9: 5, 12: 9, 20: 0}.items()}
    assert guardians(everyone, deaf) == expected


def test_a_circle_of_parents_as_reused_pids_can_make_ends() -> None:
    everyone = {pid: process(pid, parent=parent) for pid, parent in {5: 9, 9: 5}.items()}
    assert guardians(everyone, set()).keys() == everyone.keys()


@pytest.mark.parametrize("name", ["SIGWINCH", "SIGURG", "SIGCHLD", "SIGCONT"])
def test_what_is_ignored_by_default_is_ignored_unless_it_is_caught(name: str) -> None:
    signum = getattr(signal, name)
    one = process(41)
    assert one.ignores(signum)
    one.caught = 1 << (signum - 1)
    assert not one.ignores(signum)


# What each process reads and writes, who is deaf, who is due at once, and who reads a pipe without a writer.
CASES = {
    "server | tee": ({2: "a"}, {1: {"a"}}, set(), {1}, set()),
    "server | filter | tee": ({2: "a", 3: "b"}, {1: {"a"}, 2: {"b"}}, set(), {1}, set()),
    "the writer has gone": ({2: "a"}, {3: {"b"}}, set(), {2, 3}, {2}),
    "the writer of the first of two has gone": ({2: "a", 3: "b"}, {2: {"b"}}, set(), {2}, {2}),
    "a deaf writer, and two readers": ({2: "a", 3: "b"}, {1: {"a"}, 2: {"b"}}, {1}, {1, 2}, set()),
    "two coprocesses before a reader": ({1: "a", 2: "b", 3: "b"}, {1: {"b"}, 2: {"a"}}, set(), {1, 2}, set()),
    "and one that reads from that": (
        {1: "a", 2: "b", 3: "b", 4: "c"},
        {1: {"b"}, 2: {"a"}, 3: {"c"}},
        set(),
        {1, 2},
        set(),
    ),
    "it holds the other end itself": ({2: "a"}, {2: {"a"}}, set(), {2}, {2}),
    "the writer is deaf": ({2: "a"}, {1: {"a"}}, {1}, {1, 2}, set()),
    "one of two writers is deaf": ({3: "a"}, {1: {"a"}, 2: {"a"}}, {2}, {1, 2}, set()),
    "two coprocesses": ({1: "a", 2: "b"}, {1: {"b"}, 2: {"a"}}, set(), {1, 2}, set()),
    "two coprocesses behind a server": ({1: "a", 2: "b"}, {1: {"b"}, 2: {"a"}, 3: {"a"}}, set(), {3}, set()),
    "somebody's descriptors cannot be read": ({2: "a"}, {1: None}, set(), {1}, set()),
    "two pipelines": ({2: "a", 4: "b"}, {1: {"a"}}, set(), {1, 4}, {4}),
    "one pipe for all": ({1: "a", 2: "a", 3: "a"}, {1: {"a"}, 2: {"a"}}, set(), {1, 2}, set()),
}


@pytest.mark.parametrize(("readers", "writers", "deaf", "due", "alone"), CASES.values(), ids=CASES)
def test_a_pipeline_is_signalled_from_its_head(
    readers: dict[int, str],
    writers: dict[int, set[str] | None],
    deaf: set[int],
    due: set[int],
    alone: set[int],
) -> None:
    left = {pid: process(pid, parent=0) for pid in {*readers, *writers}}
    written = {pid: writers.get(pid, set()) for pid in left}
    turn = Turn(left, list(left.values()), {left[pid].birth for pid in deaf}, readers, written)
    assert turn.alone == alone
    assert {one.pid for one in turn.due()} == due


def family(parents: dict[int, int]) -> dict[int, Process]:
    return {pid: process(pid, parent=parent) for pid, parent in parents.items()}


def test_a_reader_whose_own_children_write_its_input_holds_nobody_back() -> None:
    left = family({5: 1, 9: 5})
    turn = Turn(left, list(left.values()), (), {5: "a"}, {5: set(), 9: {"a"}})
    assert [one.pid for one in turn.due()] == [9]


def test_who_finishes_is_left_alone_with_its_children_that_only_finish_too() -> None:
    """`exec > >(tee >(gzip >file))`. The last has a handler, but waits for its input."""
    left = family({5: 1, 9: 5, 12: 5})
    written: dict[int, set[str] | None] = {5: {"b"}, 9: {"c"}, 12: set()}
    turn = Turn(left, list(left.values()), (), {5: "a", 12: "b"}, written, always, lambda one: one.pid != 12)
    assert (turn.ended, turn.finishing, turn.due()) == ({5}, {5, 9}, [])


def test_who_runs_a_process_with_a_handler_is_signalled_and_then_that() -> None:
    """`echo x | xargs server`: xargs would start the next one."""
    left = family({5: 1, 9: 5})
    turn = Turn(left, list(left.values()), (), {5: "a"}, {5: set(), 9: set()}, always, lambda one: one.pid != 9)
    assert (turn.finishing, turn.alone, [one.pid for one in turn.due(turn.alone)]) == (set(), set(), [5])


def test_who_can_write_to_its_own_input_never_sees_its_end_and_is_not_left_alone() -> None:
    """`mkfifo p; cat <>p >log & server >p`."""
    left = family({5: 1})
    turn = Turn(left, list(left.values()), (), {5: "a"}, {5: {"a"}}, always, always)
    assert (turn.finishing, turn.alone) == (set(), {5})


def always(_: Process) -> bool:
    return True


def test_who_reads_from_one_that_finishes_waits_for_it() -> None:
    left = family({5: 1, 9: 1})
    turn = Turn(left, list(left.values()), (), {5: "a", 9: "b"}, {5: {"b"}, 9: set()}, always, always)
    assert (turn.finishing, turn.due()) == ({5}, [])


def test_who_came_in_from_outside_is_no_descendant() -> None:
    everyone = family({5: 1, 9: 5, 12: 9, 20: 0, 21: 20, 3: 12})
    assert below([20], everyone) == {20, 21}
    assert below([1], everyone) == {1, 5, 9, 12, 3}


def test_a_look_at_proc_ends_at_its_deadline() -> None:
    with pytest.raises(proc.LateError):
        proc.left(time.monotonic())
    assert os.getpid() not in proc.left(time.monotonic() + 60)


@pytest.mark.parametrize("shape", ["pipeline", "chain", "crowd", "one pipe for all"])
def test_ten_times_the_processes_take_some_ten_times_as_long(shape: str) -> None:
    """Not a hundred times: pyinit neither reaps nor hears meanwhile."""

    def seconds(count: int) -> float:
        pids = range(2, count + 2)
        left = family({pid: pid - 1 if shape == "chain" else 1 for pid in pids})
        pipes = {pid: "a" if shape == "one pipe for all" else f"{pid}" for pid in pids}
        piped = shape in ("pipeline", "one pipe for all")
        readers = {pid: pipes[pid] for pid in pids if piped and pid > 2}
        written: dict[int, set[str] | None] = {pid: {pipes.get(pid + 1, "a")} for pid in pids} if piped else {}
        began = time.process_time()
        Turn(left, list(left.values()), (), readers, written).due()
        return time.process_time() - began

    assert min(seconds(10_000) for _ in range(3)) < 40 * min(seconds(1_000) for _ in range(3))
