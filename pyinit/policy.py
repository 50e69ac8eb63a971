"""What to do with each signal and each exit status: plain data and pure functions.

Called by cli (to read options) and by init (to decide). No system call is made here, so all of it is tested without a
process.
"""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:  # the signal module costs 6 ms at start, for its enums; the C module below it has all that is needed
    import signal as _signal
else:
    import _signal

STOP_SIGNALS = frozenset({_signal.SIGTERM, _signal.SIGINT, _signal.SIGQUIT})
SUSPEND_SIGNALS = frozenset({_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU})

ALIASES = ("SIG_", "SIGCLD", "SIGIOT", "SIGPOLL")  # SIG_ is no signal at all, the others have better known names

OWN_ERROR = 125
NOT_RUNNABLE = 126
NOT_FOUND = 127


class Policy:
    """What the options say about signals and exit statuses."""

    __slots__ = ("remapped", "rewrites", "scope")

    def __init__(self) -> None:
        self.scope = "group"
        self.rewrites: dict[int, int] = {}
        self.remapped: set[int] = set()

    def forwarded(self, signum: int) -> int | None:
        """The signal to forward where `signum` came in; None: none at all."""
        return self.rewrites.get(signum, signum) or None

    def stops(self, signum: int) -> bool:
        """Whether `signum`, coming in, asks the command to end."""
        return signum in STOP_SIGNALS or self.forwarded(signum) in STOP_SIGNALS

    def exit_status(self, wait_status: int) -> int:
        """pyinit's own exit status, for the main child's wait status; see waitpid(2)."""
        code = posix.waitstatus_to_exitcode(wait_status)
        status = code if code >= 0 else 128 - code
        return 0 if status in self.remapped else status


def signal_number(word: str) -> int:
    """The number of a signal.

    `word` is a number from 1 to 64 or a name, in any case, with or without SIG; RTMIN+N and RTMAX-N are names too.
    ValueError, with the reason, where it is neither. See signal(7).
    """
    if word.isascii() and word.isdigit():
        if len(word) < 9 and 1 <= int(word) <= 64:
            return int(word)
        raise ValueError("the numbers of signals are 1 to 64")
    name = word.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+" if "+" in name else "-")
    number = getattr(_signal, f"SIG{base}", None) if base.isalnum() else None
    if isinstance(number, int) and not sign:
        return number
    if isinstance(number, int) and base in ("RTMIN", "RTMAX") and offset.isascii() and offset.isdigit():
        number = int(f"{sign}{offset}") + number
        if _signal.SIGRTMIN <= number <= _signal.SIGRTMAX:
            return number
    raise ValueError(f"there is no signal named {word!r}")


def signal_name(signum: int) -> str:
    """The name of signal `signum`, for messages: `SIGTERM`, `SIGRTMIN+2`, else its number."""
    for name, number in vars(_signal).items():
        if number == signum and name.startswith("SIG") and not name.startswith(ALIASES):
            return name
    return f"SIGRTMIN+{signum - _signal.SIGRTMIN}" if signum > _signal.SIGRTMIN else f"signal {signum}"


def describe(wait_status: int) -> str:
    """How a process ended, in words, from its wait status: `exit 3`, `killed by SIGKILL`."""
    code = posix.waitstatus_to_exitcode(wait_status)
    return f"exit {code}" if code >= 0 else f"killed by {signal_name(-code)}"
