"""Job control as a table: what pyinit does when somebody stops or continues it, or its main child.

In a job of a shell both are in one process group, and the kernel stops and continues them together. Two things are left
to pyinit. It stops after the main child has stopped, because the shell waits for that. And it continues a stopped
command that nobody else could continue. The package tty knows what has happened, and does what the table says. This
module makes no system call. See "Orphaned process groups" in credentials(7).
"""

ALONE = "alone"  # there is no main child (yet, or any more)
RUNNING = "running"
ASKED = "asked"  # it runs, but SIGTSTP, SIGTTIN or SIGTTOU has come, and most commands stop for one of these
STOPPED = "stopped"  # the main child is stopped, pyinit is not
FOLLOWING = "following"  # both are stopped; if pyinit runs again, SIGCONT has come to it
RESUMED = "resumed"  # it runs; a SIGCONT has continued it that has come, or is about to come, to pyinit too
STATES = (ALONE, RUNNING, ASKED, STOPPED, FOLLOWING, RESUMED)

SUSPEND_SIGNAL = "suspend signal"  # SIGTSTP, SIGTTIN or SIGTTOU came to pyinit
CHILD_STOPPED = "child stopped"  # if nobody asked pyinit for this stop, leave it to whoever sent the signal
CHILD_LEFT_US = "child left us"  # it stopped, and pyinit's parent waits to see that, or nobody else could continue it
CHILD_CONTINUED = "child continued"
CONTINUED = "continued"  # SIGCONT came to pyinit
SPARED = "spared"  # the attempt to stop did nothing, because nobody could continue pyinit
STARTED, ENDED = "started", "ended"  # of the main child
EVENTS = (STARTED, SUSPEND_SIGNAL, CHILD_STOPPED, CHILD_LEFT_US, CHILD_CONTINUED, CONTINUED, SPARED, ENDED)

STOP_SELF, CONTINUE_CHILD, FORWARD = "stop self", "continue child", "forward"

# An event that has no row for a state changes nothing: it cannot happen then, or it is no news.
TABLE: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    (ALONE, STARTED): (RUNNING, ()),
    (ALONE, SUSPEND_SIGNAL): (ALONE, (STOP_SELF,)),
    (ALONE, CONTINUED): (ALONE, (FORWARD,)),
    (RUNNING, SUSPEND_SIGNAL): (ASKED, ()),
    (RUNNING, CHILD_STOPPED): (STOPPED, ()),
    (RUNNING, CONTINUED): (RUNNING, (FORWARD,)),
    (ASKED, CHILD_STOPPED): (FOLLOWING, (STOP_SELF,)),
    (ASKED, CONTINUED): (RUNNING, (FORWARD,)),
    (STOPPED, SUSPEND_SIGNAL): (FOLLOWING, (STOP_SELF,)),
    (STOPPED, CONTINUED): (RUNNING, (CONTINUE_CHILD,)),
    (FOLLOWING, SUSPEND_SIGNAL): (FOLLOWING, (STOP_SELF,)),
    (FOLLOWING, CHILD_STOPPED): (FOLLOWING, (STOP_SELF,)),
    (FOLLOWING, CONTINUED): (RUNNING, (CONTINUE_CHILD,)),
    (FOLLOWING, SPARED): (RUNNING, (CONTINUE_CHILD,)),
    (RESUMED, SUSPEND_SIGNAL): (ASKED, ()),
    (RESUMED, CHILD_STOPPED): (STOPPED, ()),
    (RESUMED, CONTINUED): (RUNNING, ()),
    **{(state, CHILD_LEFT_US): (FOLLOWING, (STOP_SELF,)) for state in STATES if state != ALONE},
    **{(state, CHILD_CONTINUED): (RESUMED, ()) for state in STATES if state != ALONE},
    **{(state, ENDED): (ALONE, ()) for state in STATES},
}


def step(state: str, event: str) -> tuple[str, tuple[str, ...]]:
    """Return the next state, and what to do, in the order in which to do it."""
    return TABLE.get((state, event), (state, ()))
