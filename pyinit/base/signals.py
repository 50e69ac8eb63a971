"""The names of signals, as people write them in options and read them in messages.

This module makes no system call.
"""

import _signal
import posix

ALIASES = ("SIG_", "SIGCLD", "SIGIOT", "SIGPOLL")  # SIG_... is no signal; the others have better known names


def signal_number(word: str) -> int:
    """Return the number of the signal `word`, which is a number or a name.

    A name is in upper or lower case, with or without SIG. RTMIN+N and RTMAX-N are names too.
    ValueError, with the reason, if `word` is neither. See signal(7).
    """
    if word.isascii() and word.isdigit():
        if len(word) < 9 and int(word) in _signal.valid_signals():
            return int(word)
        raise ValueError(f"the numbers of signals are 1 to {_signal.SIGRTMAX}, except two that the C library keeps")
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
    """Return the name of signal `signum` for messages, such as `SIGTERM` or `SIGRTMIN+2`, or else its number."""
    for name, number in vars(_signal).items():
        if number == signum and name.startswith("SIG") and not name.startswith(ALIASES):
            return name
    return f"SIGRTMIN+{signum - _signal.SIGRTMIN}" if signum > _signal.SIGRTMIN else f"signal {signum}"


def describe(wait_status: int) -> str:
    """Return in words how a process ended, from its wait status, such as `exit 3` or `killed by SIGKILL`."""
    code = posix.waitstatus_to_exitcode(wait_status)
    return f"exit {code}" if code >= 0 else f"killed by {signal_name(-code)}"
