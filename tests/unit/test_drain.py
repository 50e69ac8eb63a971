"""Who of those that a look shows has been told, with no process in it."""

import signal

from pyinit.family import Targets
from pyinit.run.command import MainChild
from pyinit.stop import Stop
from pyinit.stop.drain import Drain
from tests.unit.test_order import process


def test_who_was_told_before_the_drain_is_known_at_a_later_look_too() -> None:
    """A look may miss a process that has just lost its parent; who is told again may die of that."""
    stop = Stop()
    stop.ask(signal.SIGTERM, 0.0)
    targets = Targets("all", MainChild(), share_group=False)
    targets.newest_signalled = (100, 50)
    leftovers = Drain(stop, targets)
    missed, forked_later = process(41, started=99), process(42, started=101)
    assert leftovers.meet([]) == []
    assert leftovers.meet([missed, forked_later]) == [41, 42]
    assert leftovers.signalled == {missed.birth}
    assert leftovers.meet([missed, forked_later]) == []
