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
KEYS = frozenset({_signal.SIGINT, _signal.SIGQUIT})  # Ctrl-C and Ctrl-\, which end a job
# What a terminal sends to a whole process group. SIGCONT is not among them: the wait status tells whether it came.
FROM_TERMINAL = SUSPEND_SIGNALS | KEYS | {_signal.SIGHUP, _signal.SIGWINCH}

AS_IT_IS: "Mapping[int, int]" = {}  # no signal is rewritten


class UsageError(Exception):
    """What is wrong with the command line, in words."""


class Woken:
    """What the waiter says when it makes pyinit of itself again, see waiter.c, or a program that launches itself.

    `role` is that of this process, `child` its main child, 0 where there is none, and `group` the process group that it
    was started in. `status` is its wait status where it `has_ended` in the waiter's hands, else the exit status. `stop`
    is the stop signal that came last, and `signal`, `code` and `sender` are of a signal that is still to be acted on: a
    siginfo's si_signo, si_code and si_pid; all of them are 0 where there is none.
    """

    __slots__ = ("child", "code", "group", "has_ended", "role", "sender", "signal", "status", "stop")
    ONLY, INNER, OUTER, LAUNCHED = 0, 1, 2, 3  # roles: two are those of --pid-namespace; the last has never waited

    def __init__(self, word: str) -> None:
        """Read the waiter's word."""
        _, self.role, self.child, self.group, has_ended, self.status, self.stop, self.signal, code, self.sender = (
            int(number, 16) for number in word.removeprefix("--woken=").rstrip("+").split(",")
        )
        self.has_ended = bool(has_ended)
        self.code = code - (code >> 31 << 32)  # it may be negative

    def signals(self) -> "list[_signal.struct_siginfo]":
        """The signal that is still to be acted on, if there is one."""
        fields = (self.signal, self.code, 0, self.sender, 0, 0, 0)
        return [_signal.struct_siginfo(fields)] if self.signal else []

    @staticmethod
    def word(*numbers: int) -> str:
        """As waiter.c makes it of PID, role, child, group, has_ended, status, stop, signal, code and sender."""
        return "--woken=" + ",".join(f"{number & 0xFFFFFFFF:08x}" for number in numbers)

    @staticmethod
    def is_for(word: str, pid: int) -> bool:
        """Whether `word` is the waiter's, for the process `pid`: nobody else knows it before there is one."""
        return word.startswith(f"--woken={pid:08x},")


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
    woken: Woken | None = None
    prints: "Callable[[], str] | None" = None

    def __init__(self, **given: object) -> None:
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> "NoReturn":
        raise AttributeError(f"options are not changed: {name}")

    def but(self, **given: object) -> "Options":
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
