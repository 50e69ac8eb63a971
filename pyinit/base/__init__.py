"""The options, what they mean for each signal and each exit status, and the error of a wrong command line.

The package run and native.launch make the options. All other modules read them. Nobody changes them. This module holds
plain data and pure functions. It makes no system call.
"""

import _signal
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

OWN_ERROR = 125
NOT_RUNNABLE = 126
NOT_FOUND = 127

GRACE = 5.0  # seconds; the default of --grace
# The environment variables that hold options, and those that name the process that should read them.
OWN_VARIABLE = b"PYINIT_OPTIONS"  # no other init reads it
VARIABLES = (OWN_VARIABLE, b"TINI_VERBOSITY", b"TINI_KILL_PROCESS_GROUP", b"DUMB_INIT_DEBUG", b"DUMB_INIT_SETSID")
READERS = (b"LISTEN_PID", b"WATCHDOG_PID")

STOP_SIGNALS = frozenset({_signal.SIGTERM, _signal.SIGINT, _signal.SIGQUIT})
ENDS_PAUSE = frozenset({_signal.SIGTERM, _signal.SIGINT})
SUSPEND_SIGNALS = frozenset({_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU})
KEYBOARD_STOPS = frozenset({_signal.SIGINT, _signal.SIGQUIT})  # Ctrl-C and Ctrl-\, which end a job
# The signals that a terminal sends to a whole process group. SIGCONT is not here: a wait status shows whether it came.
FROM_TERMINAL = SUSPEND_SIGNALS | KEYBOARD_STOPS | {_signal.SIGHUP, _signal.SIGWINCH}

# The bits of an order. SIGNAL: deliver this one, unless it is 0. STOPS: it is a stop signal. IF_SENT: only if a process
# has sent it. OR_TERM: if the command ignores it, deliver SIGTERM; if it ignores that too, signal its children.
# GROUP: deliver it to the command's process group.
SIGNAL, STOPS, IF_SENT, OR_TERM, GROUP = 0x7F, 0x80, 0x100, 0x200, 0x400

AS_IT_IS: "Mapping[int, int]" = {}  # no signal is rewritten


class UsageError(Exception):
    """An error in the command line, described in words."""


class Options:
    """The options that pyinit runs with.

    Times are in seconds. An Options is never changed: replace() returns another one.
    """

    command: list[str]
    scope: str = ""  # "": child, but a SIGINT goes to the command's process group
    rewrites: "Mapping[int, int]" = AS_IT_IS
    remapped: frozenset[int] = frozenset()
    grace: float | None = None  # None: GRACE, and no limit after a stop signal
    kill_after: float | None = None
    wait_all: bool = False
    parent_death_signal: int = 0
    pid_namespace: bool = False
    pause: bool = False
    warn_on_reap: bool = False
    verbosity: int = 0
    status_fd: int = -1
    prints: "Callable[[], str] | None" = None

    def __init__(self, **given: object) -> None:
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> "NoReturn":
        raise AttributeError(f"options are not changed: {name}")

    def replace(self, **given: object) -> "Options":
        """Return the same options, except for those that are `given`."""
        return Options(**{**self.__dict__, **given})

    def forwarded(self, signum: int) -> int | None:
        """Return the signal to forward if `signum` comes in, or None to forward nothing."""
        return self.rewrites.get(signum, signum) or None

    def stops(self, signum: int) -> bool:
        """Return whether an incoming `signum` asks the command to end. A signal that is dropped does not."""
        outgoing = self.forwarded(signum)
        return outgoing in STOP_SIGNALS or (outgoing is not None and signum in STOP_SIGNALS)

    def exit_status(self, wait_status: int) -> int:
        """Return pyinit's exit status for the main child's wait status; see waitpid(2)."""
        code = posix.waitstatus_to_exitcode(wait_status)
        status = code if code >= 0 else 128 - code
        return 0 if status in self.remapped else status


def orders(options: Options) -> list[int]:
    """Return for each signal, by its number, what to do if it comes in: the signal to deliver, 0 for none, and bits.

    The loop in Python, the adviser and the C program look a signal up here. With --pause there is nobody to deliver to.
    """
    found = [0]
    for signum in range(1, _signal.NSIG):
        order = outgoing = options.forwarded(signum) or 0
        if options.stops(signum):
            order |= STOPS | (OR_TERM if outgoing != _signal.SIGINT else 0)  # background jobs ignore SIGINT
        if outgoing == _signal.SIGINT and not options.scope:
            order |= GROUP  # as from a terminal
        if options.pause and not (signum in ENDS_PAUSE and order & STOPS):
            order = 0
        found.append(order | (IF_SENT if signum == _signal.SIGCHLD else 0))
    return found
