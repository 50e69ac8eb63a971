"""A drain, step by step, with a made family and a fake clock: no process is in it."""

import signal
from collections.abc import Iterable

import pytest

from pyinit.family import Targets
from pyinit.family.proc import Process
from pyinit.run.command import MainChild
from pyinit.stop import DRAINING, KILLING, Stop
from pyinit.stop.drain import Look
from pyinit.stop.order import Drain, descendants
from tests.unit.test_order import process

TERM, QUIT, CONT = signal.SIGTERM, signal.SIGQUIT, signal.SIGCONT


class MadeLook(Look):
    """Of a pyinit that is PID 1; `readers` and `writers` are PIDs with the pipe on stdin, and with those they write."""

    def __init__(
        self, *left: Process, readers: dict[int, str] | None = None, writers: dict[int, set[str] | None] | None = None
    ) -> None:
        self.left = {one.pid: one for one in left}
        self.readers, self.writers = readers or {}, writers or {}

    def descendants(self) -> list[Process]:
        return descendants(1, self.left)

    def pipes(self, unsignalled: Iterable[Process]) -> tuple[dict[int, str], dict[int, set[str] | None]]:
        pids = {one.pid for one in unsignalled}
        return {pid: pipe for pid, pipe in self.readers.items() if pid in pids}, {
            pid: self.writers.get(pid, set()) for pid in self.left
        }

    def is_out_of_reach(self, process: Process, signum: int) -> bool:
        return False

    def holds_off(self, process: Process, signum: int) -> bool:
        return False


def drain(*, scope: str = "child", grace: float | None = None) -> Drain:
    """A drain that begins at 0 s, after a SIGTERM."""
    stop = Stop(grace=grace)
    stop.ask(TERM, 0.0)
    stop.main_child_ended(0.0)
    assert stop.phase == DRAINING
    return Drain(stop, Targets(scope, MainChild(), share_group=False))


def test_who_was_signalled_before_the_drain_is_known_at_a_later_look_too() -> None:
    """A look may miss a process that has just lost its parent. A second signal may end it."""
    leftovers = drain(scope="all")
    leftovers.targets.newest_signalled = (100, 50)
    missed, forked_later = process(41, started=99), process(42, started=101)
    assert leftovers.step(MadeLook(), 0.0) == [(CONT, [])]
    assert leftovers.step(MadeLook(missed, forked_later), 1.0) == [(TERM, [42]), (CONT, [41, 42])]
    assert leftovers.step(MadeLook(missed, forked_later), 2.0) == [(CONT, [])]


def test_an_ancestor_is_signalled_first_and_its_child_when_it_has_ended() -> None:
    leftovers = drain()
    parent, child = process(41), process(42, parent=41)
    assert leftovers.step(MadeLook(parent, child), 0.0) == [(TERM, [41]), (CONT, [41, 42])]
    assert leftovers.step(MadeLook(parent, child), 1.0) == [(CONT, [])]
    assert leftovers.step(MadeLook(process(42)), 2.0) == [(TERM, [42]), (CONT, [])]


def test_who_ignores_the_signal_is_passed_over_and_its_child_is_signalled() -> None:
    deaf, child = process(41, ignored=TERM), process(42, parent=41)
    assert drain().step(MadeLook(deaf, child), 0.0) == [(TERM, [42]), (CONT, [41, 42])]


def test_who_ignores_sigquit_gets_sigterm() -> None:
    leftovers = drain()
    leftovers.signum = QUIT
    assert leftovers.step(MadeLook(process(41), process(42, ignored=QUIT)), 0.0)[:2] == [(QUIT, [41]), (TERM, [42])]


def test_a_pipeline_is_signalled_from_its_head_and_a_reader_a_second_after_its_writers_end() -> None:
    leftovers = drain()
    writer, reader = process(41), process(42)
    both = MadeLook(writer, reader, readers={42: "pipe:[7]"}, writers={41: {"pipe:[7]"}})
    alone = MadeLook(reader, readers={42: "pipe:[7]"})
    assert leftovers.step(both, 0.0) == [(TERM, [41]), (CONT, [41, 42])]
    assert leftovers.step(alone, 1.0) == [(CONT, [])]
    assert leftovers.step(alone, 2.0) == [(TERM, [42]), (CONT, [])]


def test_coprocesses_which_read_each_other_are_signalled_together() -> None:
    circle = MadeLook(process(41), process(42), readers={41: "a", 42: "b"}, writers={41: {"b"}, 42: {"a"}})
    assert drain().step(circle, 0.0)[0] == (TERM, [41, 42])


@pytest.mark.parametrize(("now", "is_last"), [(8.9, False), (9.0, True), (9.5, True)])
def test_one_second_before_the_deadline_everybody_is_signalled(now: float, is_last: bool) -> None:
    leftovers = drain(grace=10.0)
    parent, child = process(41), process(42, parent=41)
    leftovers.step(MadeLook(parent, child), 0.0)
    assert leftovers.is_last_call(now) is is_last
    assert leftovers.step(MadeLook(parent, child), now) == [*([(TERM, [42])] if is_last else []), (CONT, [])]
    assert not leftovers.is_last_call(now)


def test_the_time_is_over_if_two_looks_after_the_grace_show_the_deaf_alone() -> None:
    leftovers = drain()
    deaf = MadeLook(process(41, ignored=TERM))
    for now in (0.0, 4.9):
        leftovers.step(deaf, now)
        assert not leftovers.seems_over
    leftovers.step(deaf, 5.0)
    assert (leftovers.seems_over, leftovers.stop.phase) == (True, DRAINING)
    leftovers.step(deaf, 5.0)
    assert leftovers.stop.phase == KILLING


def test_who_heeds_the_signal_has_all_the_time_that_the_sender_allows() -> None:
    leftovers = drain()
    for now in (0.0, 5.0, 5.1, 3600.0):
        leftovers.step(MadeLook(process(41), process(42, ignored=TERM)), now)
    assert leftovers.stop.phase == DRAINING
