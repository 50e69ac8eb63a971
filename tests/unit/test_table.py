"""The table of job control: every cell of it, and the stories that a person at a terminal goes through."""

from itertools import product

import pytest

from pyinit.tty.table import (
    ALONE,
    ASKED,
    CHILD_CONTINUED,
    CHILD_LEFT_US,
    CHILD_STOPPED,
    CONTINUE_CHILD,
    CONTINUED,
    ENDED,
    EVENTS,
    FOLLOWING,
    FORWARD,
    RESUMED,
    RUNNING,
    SPARED,
    STARTED,
    STATES,
    STOP_SELF,
    STOPPED,
    SUSPEND_SIGNAL,
    step,
)

# A line for each event, a column for each state; `!` stops pyinit, `>` forwards SIGCONT, `+` continues the child.
CELLS = """
                  alone    running     asked       stopped     following   resumed
started           running  running     asked       stopped     following   resumed
suspend signal       alone!   asked       asked       following!  following!  asked
child stopped     alone    stopped     following!  stopped     following!  stopped
child left us     alone    following!  following!  following!  following!  following!
child continued   alone    resumed     resumed     resumed     resumed     resumed
continued         alone>   running>    running>    running+    running+    running
spared            alone    running     asked       stopped     running+    resumed
ended             alone    alone       alone       alone       alone       alone
"""
MARKS = {"!": STOP_SELF, ">": FORWARD, "+": CONTINUE_CHILD}


def cells() -> list[tuple[str, str, str]]:
    """State, event, and what the cell says."""
    head, *lines = CELLS.strip("\n").splitlines()
    states = head.split()
    return [
        (state, line[:17].strip(), cell)
        for line in lines
        for state, cell in zip(states, line[17:].split(), strict=True)
    ]


@pytest.mark.parametrize(("state", "event", "cell"), cells(), ids=lambda word: word)
def test_a_cell(state: str, event: str, cell: str) -> None:
    actions = (MARKS[cell[-1]],) if cell[-1] in MARKS else ()
    assert step(state, event) == (cell.rstrip("".join(MARKS)), actions)


def test_there_is_a_cell_for_every_state_and_event() -> None:
    assert sorted(cell[:2] for cell in cells()) == sorted(product(STATES, EVENTS))


def goes_through(*events: str, state: str = RUNNING) -> tuple[str, list[str]]:
    """The state and all actions after the events."""
    done: list[str] = []
    for event in events:
        state, actions = step(state, event)
        done += actions
    return state, done


def test_ctrl_z_and_fg() -> None:
    assert goes_through(SUSPEND_SIGNAL, CHILD_STOPPED) == (FOLLOWING, [STOP_SELF])
    assert goes_through(CHILD_CONTINUED, CONTINUED, state=FOLLOWING) == (RUNNING, [])


def test_a_stop_is_seen_before_the_signal_that_asked_for_it() -> None:
    assert goes_through(CHILD_STOPPED, SUSPEND_SIGNAL) == (FOLLOWING, [STOP_SELF])


def test_a_command_that_handles_ctrl_z_goes_on_and_so_does_pyinit() -> None:
    assert goes_through(SUSPEND_SIGNAL, CONTINUED) == (RUNNING, [FORWARD])


def test_stop_and_cont_to_the_command_alone_are_none_of_pyinits_business() -> None:
    assert goes_through(*[CHILD_STOPPED, CHILD_CONTINUED] * 3) == (RESUMED, [])


def test_where_nobody_could_continue_it_the_command_goes_on() -> None:
    assert goes_through(SUSPEND_SIGNAL, CHILD_STOPPED, SPARED) == (RUNNING, [STOP_SELF, CONTINUE_CHILD])
    assert goes_through(CHILD_LEFT_US, SPARED) == (RUNNING, [STOP_SELF, CONTINUE_CHILD])


def test_sigcont_to_pyinit_alone_continues_the_command() -> None:
    assert goes_through(SUSPEND_SIGNAL, CHILD_STOPPED, CONTINUED) == (RUNNING, [STOP_SELF, CONTINUE_CHILD])


def test_ctrl_z_right_after_fg_stops_the_job_again() -> None:
    assert goes_through(CHILD_STOPPED, state=FOLLOWING) == (FOLLOWING, [STOP_SELF])
    assert goes_through(CHILD_CONTINUED, CONTINUED, SUSPEND_SIGNAL, CHILD_STOPPED, state=FOLLOWING) == (
        FOLLOWING,
        [STOP_SELF],
    )


def test_ctrl_z_in_a_drain_stops_pyinit() -> None:
    assert goes_through(ENDED, SUSPEND_SIGNAL, CONTINUED, state=ASKED) == (ALONE, [STOP_SELF, FORWARD])


def test_a_stop_that_nobody_followed_ends_with_sigcont() -> None:
    assert goes_through(STARTED, CHILD_STOPPED, state=ALONE) == (STOPPED, [])
    assert goes_through(CONTINUED, state=STOPPED) == (RUNNING, [CONTINUE_CHILD])
