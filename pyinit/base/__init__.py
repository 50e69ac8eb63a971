"""What pyinit was asked to do, what follows from that for each signal and each exit status, and what may be wrong.

The ground floor: made by cli, options and program, read by everybody else, and changed by nobody. Plain data and pure
functions: no system call is made here.
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

GRACE = 5.0  # seconds, where --grace does not say otherwise
# What holds options in the environment, besides the command line.
VARIABLES = (b"PYINIT_OPTIONS", b"TINI_VERBOSITY", b"TINI_KILL_PROCESS_GROUP", b"DUMB_INIT_DEBUG", b"DUMB_INIT_SETSID")

STOP_SIGNALS = frozenset({_signal.SIGTERM, _signal.SIGINT, _signal.SIGQUIT})
NEVER_REPLACED = (_signal.SIGTERM, _signal.SIGINT)  # where the main child ignores a stop signal
ENDS_PAUSE = frozenset({_signal.SIGTERM, _signal.SIGINT})
SUSPEND_SIGNALS = frozenset({_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU})
KEYBOARD_STOPS = frozenset({_signal.SIGINT, _signal.SIGQUIT})  # Ctrl-C and Ctrl-\, which end a job
# What a terminal sends to a whole process group. SIGCONT is not among them: the wait status tells whether it came.
FROM_TERMINAL = SUSPEND_SIGNALS | KEYBOARD_STOPS | {_signal.SIGHUP, _signal.SIGWINCH}

AS_IT_IS: "Mapping[int, int]" = {}  # no signal is rewritten


class UsageError(Exception):
    """What is wrong with the command line, in words."""


class Options:
    """What was asked for; times are in seconds. Never changed: but() makes others of it."""

    command: list[str]
    scope: str = "child"
    rewrites: "Mapping[int, int]" = AS_IT_IS
    remapped: frozenset[int] = frozenset()
    grace: float | None = None  # the module stop's default
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
        """The same options with others `given` in place of theirs."""
        return Options(**{**self.__dict__, **given})

    def forwarded(self, signum: int) -> int | None:
        """The signal to forward where `signum` came in; None: none at all."""
        return self.rewrites.get(signum, signum) or None

    def stops(self, signum: int) -> bool:
        """Whether `signum`, coming in, asks the command to end; what is dropped does not."""
        outgoing = self.forwarded(signum)
        return outgoing in STOP_SIGNALS or (outgoing is not None and signum in STOP_SIGNALS)

    def exit_status(self, wait_status: int) -> int:
        """pyinit's own exit status, for the main child's wait status; see waitpid(2)."""
        code = posix.waitstatus_to_exitcode(wait_status)
        status = code if code >= 0 else 128 - code
        return 0 if status in self.remapped else status
