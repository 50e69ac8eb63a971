"""Who is told of a stop, and in which order, with no process in it."""

import signal

import pytest

from pyinit.family.proc import Process
from pyinit.stop.order import descendants, left_to, wait_for_end_of_file, was_signalled, without_writer

GROUP = 40


def process(pid: int, *, parent: int = 1, group: int = GROUP, started: int = 0, ignored: int = 0) -> Process:
    """As from /proc/PID/stat; `ignored` is a signal."""
    fields = [b"0"] * 33
    fields[0], fields[1], fields[2], fields[19] = b"S", b"%d" % parent, b"%d" % group, b"%d" % started
    fields[30] = b"%d" % (1 << (ignored - 1) if ignored else 0)
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
    births = {(0, pid) for pid in deaf}
    assert left_to(everyone, births) == expected


def test_a_circle_of_parents_as_reused_pids_can_make_ends() -> None:
    everyone = {pid: process(pid, parent=parent) for pid, parent in {5: 9, 9: 5}.items()}
    assert left_to(everyone, set()).keys() == everyone.keys()


@pytest.mark.parametrize("name", ["SIGWINCH", "SIGURG", "SIGCHLD", "SIGCONT"])
def test_what_is_ignored_by_default_is_ignored_unless_it_is_caught(name: str) -> None:
    signum = getattr(signal, name)
    one = process(41)
    assert one.ignores(signum)
    one.caught = 1 << (signum - 1)
    assert not one.ignores(signum)


CASES = {
    "server | tee": ({2: "a"}, {1: {"a"}, 2: set()}, {1}, {2}, set()),
    "server | filter | tee": ({2: "a", 3: "b"}, {1: {"a"}, 2: {"b"}, 3: set()}, {1}, {2, 3}, set()),
    "the writer has gone": ({2: "a"}, {2: set(), 3: {"b"}}, {3}, set(), {2}),
    "the writer of the first of two has gone": ({2: "a", 3: "b"}, {2: {"b"}, 3: set()}, set(), {3}, {2}),
    "it holds the other end itself": ({2: "a"}, {2: {"a"}}, set(), set(), {2}),
    "the writer is deaf": ({2: "a"}, {1: {"a"}, 2: set()}, set(), set(), set()),
    "one of two writers is deaf": ({3: "a"}, {1: {"a"}, 2: {"a"}, 3: set()}, {1}, {3}, set()),
    "two coprocesses": ({1: "a", 2: "b"}, {1: {"b"}, 2: {"a"}}, set(), set(), set()),
    "two coprocesses behind a server": ({1: "a", 2: "b"}, {1: {"b"}, 2: {"a"}, 3: {"a"}}, {3}, {1, 2}, set()),
    "somebody's descriptors cannot be read": ({2: "a"}, {1: None, 2: set()}, {1}, {2}, set()),
    "two pipelines": ({2: "a", 4: "b"}, {1: {"a"}, 2: set(), 4: set()}, {1}, {2}, {4}),
}


@pytest.mark.parametrize(("readers", "writers", "going", "waiting", "alone"), CASES.values(), ids=CASES)
def test_a_pipeline_is_told_from_its_head(
    readers: dict[int, str],
    writers: dict[int, set[str] | None],
    going: set[int],
    waiting: set[int],
    alone: set[int],
) -> None:
    assert without_writer(readers, writers) == alone
    assert wait_for_end_of_file(readers, writers, going | alone) == waiting


def test_who_came_in_from_outside_is_no_descendant() -> None:
    everyone = {pid: process(pid, parent=parent) for pid, parent in {5: 1, 9: 5, 12: 9, 20: 0, 21: 20, 3: 12}.items()}
    assert {found.pid for found in descendants(1, everyone)} == {5, 9, 12, 3}
