"""A drain, step by step, with a made family and a fake clock: no process is in it."""

import signal
from collections.abc import Iterable

import pytest

from pyinit.family import Targets
from pyinit.family.proc import Process
from pyinit.run.command import MainChild
from pyinit.stop import DRAINING, KILLING, Stop
from pyinit.stop.drain import Look
from pyinit.stop.order import Drain
from tests.unit.test_order import GROUP, process

TERM, INT, QUIT, CONT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCONT


class MadeLook(Look):
    """Of a pyinit that is PID 1; `readers` and `writers` are PIDs with the pipe on stdin, and with those they write."""

    def __init__(
        self, *left: Process, readers: dict[int, str] | None = None, writers: dict[int, set[str] | None] | None = None
    ) -> None:
        self.left = {one.pid: one for one in left}
        self.readers, self.writers = readers or {}, writers or {}

    def pipes(self, unsignalled: Iterable[Process]) -> tuple[dict[int, str], dict[int, set[str] | None]]:
        pids = {one.pid for one in unsignalled}
        return {pid: pipe for pid, pipe in self.readers.items() if pid in pids}, {
            pid: self.writers.get(pid, set()) for pid in self.left
        }

    def is_out_of_reach(self, process: Process, signum: int) -> bool:
        return False

    def waits_for_signals(self, process: Process) -> bool:
        return False

    def holds_off(self, process: Process, signum: int) -> bool:
        return False


def drain(signum: int = TERM, *, scope: str = "", grace: float | None = None) -> Drain:
    """A drain that begins at 0 s, after a stop signal, or without one."""
    stop = Stop(grace=grace)
    if signum:
        stop.ask(signum, 0.0)
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
    leftovers = drain(QUIT)
    assert leftovers.step(MadeLook(process(41), process(42, ignored=QUIT)), 0.0)[:2] == [(QUIT, [41]), (TERM, [42])]


def test_a_pipeline_is_signalled_from_its_head_and_a_reader_a_second_after_its_writers_end() -> None:
    leftovers = drain()
    writer, reader = process(41), process(42, caught=TERM)
    both = MadeLook(writer, reader, readers={42: "pipe:[7]"}, writers={41: {"pipe:[7]"}})
    alone = MadeLook(reader, readers={42: "pipe:[7]"})
    assert leftovers.step(both, 0.0) == [(TERM, [41]), (CONT, [41, 42])]
    assert leftovers.step(alone, 1.0) == [(CONT, [])]
    assert leftovers.step(alone, 2.0) == [(TERM, [42]), (CONT, [])]


def test_a_reader_of_what_pyinit_itself_writes_to_gets_no_end_of_file_and_is_signalled() -> None:
    leftovers = drain()
    look = MadeLook(process(42), readers={42: "pipe:[7]"})
    look.own_pipes = {"pipe:[7]"}
    assert leftovers.step(look, 0.0) == [(CONT, [42])]
    assert leftovers.step(look, 1.0) == [(TERM, [42]), (CONT, [])]


@pytest.mark.parametrize(("grace", "now"), [(None, 4.79), (5.0, 4.5), (60.0, 59.5)])
def test_a_reader_without_a_handler_finishes_its_work_until_the_grace_is_over(grace: float | None, now: float) -> None:
    """The signal would only kill it, so the last call is not for it either."""
    leftovers = drain(grace=grace)
    look = MadeLook(process(42), process(43, parent=42), readers={42: "pipe:[7]"})
    assert leftovers.step(look, 0.0) == [(CONT, [42, 43])]
    assert leftovers.step(look, now) == [(CONT, [])]
    assert leftovers.step(look, (grace or 5.0) - 0.2) == [(TERM, [42]), (CONT, [])]


def test_a_reader_that_runs_servers_is_signalled_at_once() -> None:
    look = MadeLook(process(42), process(43, parent=42, caught=TERM), readers={42: "pipe:[7]"})
    assert drain().step(look, 0.0)[0] == (TERM, [42])


def test_a_reader_has_the_time_of_the_grace_from_the_end_of_its_input_on_if_the_sender_allows_it() -> None:
    leftovers = drain()
    writer, reader = process(41), process(42)
    both = MadeLook(writer, reader, readers={42: "pipe:[7]"}, writers={41: {"pipe:[7]"}})
    alone = MadeLook(reader, readers={42: "pipe:[7]"})
    assert leftovers.step(both, 0.0) == [(TERM, [41]), (CONT, [41, 42])]
    for now in (6.0, 7.0, 10.7):
        assert leftovers.step(alone, now) == [(CONT, [])]
    assert leftovers.step(alone, 10.8) == [(TERM, [42]), (CONT, [])]


def test_each_stop_signal_that_comes_in_reaches_each_process_once_in_the_same_order() -> None:
    leftovers = drain(QUIT)
    look = MadeLook(process(41), process(42, parent=41))
    for signum, now in (QUIT, 0.0), (TERM, 1.0), (TERM, 2.0):
        if now:
            leftovers.stop.ask(signum, now)
            assert leftovers.has_news()
        assert leftovers.step(look, now)[0] == (signum, [41])
        assert leftovers.step(look, now + 0.5) == [(CONT, [])]


def test_the_first_stop_signal_in_a_drain_that_nobody_asked_for_is_not_sent_twice_if_it_is_the_same() -> None:
    for signum, then in (TERM, []), (QUIT, [(QUIT, [41])]):
        leftovers, look = drain(0), MadeLook(process(41))
        leftovers.step(look, 0.0)
        leftovers.stop.ask(signum, 1.0)
        assert leftovers.step(look, 1.0)[:-1] == then
        leftovers.stop.ask(TERM, 2.0)
        assert leftovers.step(look, 2.0)[0] == (TERM, [41])


def test_who_begins_to_ignore_a_signal_because_of_it_is_not_deaf_when_it_comes_again() -> None:
    leftovers, saving = drain(), process(41)
    leftovers.step(MadeLook(saving, process(42, parent=41)), 0.0)
    leftovers.stop.ask(TERM, 1.0)
    saves = MadeLook(process(41, ignored=TERM), process(42, parent=41))
    assert [pids for signum, pids in leftovers.step(saves, 1.0) if signum == TERM] in ([], [[41]])
    assert leftovers.step(saves, 2.0) == [(CONT, [])]


@pytest.mark.parametrize(
    ("kind", "expected"), [({"caught": INT}, INT), ({"ignored": INT}, TERM), ({}, TERM)], ids=["caught", "ignored", "-"]
)
def test_who_catches_sigint_gets_it_and_who_does_not_gets_sigterm(kind: dict[str, int], expected: int) -> None:
    assert drain(INT).step(MadeLook(process(41, **kind)), 0.0)[0] == (expected, [41])


def test_who_got_sigint_with_the_command_does_not_get_it_again() -> None:
    leftovers = drain(INT)
    leftovers.targets.newest_signalled = (100, 50)
    leftovers.targets.child.group = GROUP
    left = process(41, caught=INT), process(42, caught=INT, group=42), process(43, ignored=INT)
    assert leftovers.step(MadeLook(*left), 0.0) == [(INT, [42]), (TERM, [43]), (CONT, [41, 42, 43])]


@pytest.mark.parametrize("is_deaf", [True, False])
def test_a_command_that_ignores_the_signal_holds_nobody_back(is_deaf: bool) -> None:
    stop, child = Stop(), MainChild()
    child.pid = 41
    targets = Targets("", child, share_group=False)
    targets.child_is_deaf = is_deaf
    stop.ask(TERM, 0.0)
    look = MadeLook(process(41, ignored=TERM), process(42, parent=41), process(43, parent=42))
    expected: list[tuple[int, list[int]]] = [(TERM, [42])] if is_deaf else []
    assert Drain(stop, targets).step(look, 0.0) == [*expected, (CONT, [42, 43])]


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
