"""Job control as a table: what pyinit does when it, or its main child, is stopped or continued. No system call in it.

Under a terminal both are in one process group, and the kernel stops and continues them together. What is left to do is
to stop after the main child has, which is what a shell waits for, and to undo a stop that nobody else could undo.
Called by terminal, which knows what happened and does what the table says. See "Orphaned process groups" in
credentials(7).
"""

ALONE = "alone"  # there is no main child (yet, or any more)
RUNNING = "running"
ASKED = "asked"  # running, but SIGTSTP, SIGTTIN or SIGTTOU has come, which most commands stop for
STOPPED = "stopped"  # the main child; pyinit is not
FOLLOWING = "following"  # both; when pyinit runs again, SIGCONT has come to it
RESUMED = "resumed"  # running; the SIGCONT that came to pyinit, or is about to, has come to the main child too
STATES = (ALONE, RUNNING, ASKED, STOPPED, FOLLOWING, RESUMED)

STOP_SIGNAL = "stop signal"  # SIGTSTP, SIGTTIN or SIGTTOU came to pyinit
CHILD_STOPPED = "child stopped"  # and unless somebody asked for it, that is between the two who know
CHILD_LEFT_US = "child left us"  # stopped: pyinit's parent waits to see that, or nobody could undo it
CHILD_CONTINUED = "child continued"
CONTINUED = "continued"  # SIGCONT came to pyinit
SPARED = "spared"  # the attempt to stop did nothing, because nobody could continue pyinit
STARTED, ENDED = "started", "ended"  # the main child
EVENTS = (STARTED, STOP_SIGNAL, CHILD_STOPPED, CHILD_LEFT_US, CHILD_CONTINUED, CONTINUED, SPARED, ENDED)

STOP_SELF, CONTINUE_CHILD, FORWARD = "stop self", "continue child", "forward"

# What is not here changes nothing and asks for nothing: it cannot happen, or is no news.
TABLE: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    (ALONE, STARTED): (RUNNING, ()),
    (ALONE, STOP_SIGNAL): (ALONE, (STOP_SELF,)),
    (ALONE, CONTINUED): (ALONE, (FORWARD,)),
    (RUNNING, STOP_SIGNAL): (ASKED, ()),
    (RUNNING, CHILD_STOPPED): (STOPPED, ()),
    (RUNNING, CHILD_LEFT_US): (FOLLOWING, (STOP_SELF,)),
    (RUNNING, CHILD_CONTINUED): (RESUMED, ()),
    (RUNNING, CONTINUED): (RUNNING, (FORWARD,)),
    (RUNNING, ENDED): (ALONE, ()),
    (ASKED, CHILD_STOPPED): (FOLLOWING, (STOP_SELF,)),
    (ASKED, CHILD_LEFT_US): (FOLLOWING, (STOP_SELF,)),
    (ASKED, CHILD_CONTINUED): (RESUMED, ()),
    (ASKED, CONTINUED): (RUNNING, (FORWARD,)),
    (ASKED, ENDED): (ALONE, ()),
    (STOPPED, STOP_SIGNAL): (FOLLOWING, (STOP_SELF,)),
    (STOPPED, CHILD_LEFT_US): (FOLLOWING, (STOP_SELF,)),
    (STOPPED, CHILD_CONTINUED): (RESUMED, ()),
    (STOPPED, CONTINUED): (RUNNING, (CONTINUE_CHILD,)),
    (STOPPED, ENDED): (ALONE, ()),
    (FOLLOWING, STOP_SIGNAL): (FOLLOWING, (STOP_SELF,)),
    (FOLLOWING, CHILD_STOPPED): (FOLLOWING, (STOP_SELF,)),
    (FOLLOWING, CHILD_LEFT_US): (FOLLOWING, (STOP_SELF,)),
    (FOLLOWING, CHILD_CONTINUED): (RESUMED, ()),
    (FOLLOWING, CONTINUED): (RUNNING, (CONTINUE_CHILD,)),
    (FOLLOWING, SPARED): (RUNNING, (CONTINUE_CHILD,)),
    (FOLLOWING, ENDED): (ALONE, ()),
    (RESUMED, STOP_SIGNAL): (ASKED, ()),
    (RESUMED, CHILD_STOPPED): (STOPPED, ()),
    (RESUMED, CHILD_LEFT_US): (FOLLOWING, (STOP_SELF,)),
    (RESUMED, CONTINUED): (RUNNING, ()),
    (RESUMED, ENDED): (ALONE, ()),
}


def step(state: str, event: str) -> tuple[str, tuple[str, ...]]:
    """The next state and what to do, in this order."""
    return TABLE.get((state, event), (state, ()))
