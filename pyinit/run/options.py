"""The table of options: what parsing, --help, the manual page and the completions are made from.

Called by cli where there is an option or a variable to read; `pyinit -- command` does without it. Parsed by hand:
getopt costs 8 ms of the start, argparse 10.
"""

import _signal
import posix

from ..base import OWN_ERROR, Options, UsageError, log
from ..base.signals import signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def read(words: list[str], environ: dict[bytes, bytes]) -> Options:
    """What the environment asks for, then the options that `words` begins with; the words after them are the command.

    UsageError where they don't make sense.
    """
    options, command = _read_options(_read_environment(environ, Options()), words)
    return options.replace(command=command)


class Option:
    """A row of the table: `letter` and `name` as typed, `value` its placeholder or "", `peers` who else has it."""

    __slots__ = ("apply", "letter", "meaning", "name", "peers", "value")

    def __init__(
        self, letter: str, name: str, value: str, peers: str, apply: "Callable[[Options, str], Options]", meaning: str
    ) -> None:
        self.letter, self.name, self.value = letter, name, value
        self.peers, self.apply, self.meaning = peers, apply, meaning


def _read_environment(environ: dict[bytes, bytes], options: Options) -> Options:
    """What tini and dumb-init take from the environment, then PYINIT_OPTIONS."""
    # TINI_SUBREAPER asks for what pyinit always is.
    if b"TINI_KILL_PROCESS_GROUP" in environ:
        options = options.replace(scope="group")
    verbosity = environ.get(b"TINI_VERBOSITY", b"")
    if verbosity.isdigit() and len(verbosity) < 9:  # tini's 1, its default, is warnings
        options = options.replace(verbosity=int(verbosity) - 1)
    if environ.get(b"DUMB_INIT_DEBUG") == b"1":
        options = options.replace(verbosity=log.INFO)
    if environ.get(b"DUMB_INIT_SETSID") == b"0":
        options = options.replace(scope="child")
    words = environ.get(b"PYINIT_OPTIONS", b"").decode(errors="surrogateescape").split()
    try:
        options, rest = _read_options(options, words)
    except UsageError as error:
        raise UsageError(f"PYINIT_OPTIONS: {error}") from None
    if rest:
        raise UsageError(f"PYINIT_OPTIONS: {rest[0]!r} is no option")
    return options


def _read_options(options: Options, words: list[str]) -> tuple[Options, list[str]]:
    """Add the options that `words` begins with; return the words after them too."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            option = _long_option(name)
            if option.value and not equals:
                value = _following(f"--{option.name}", option, rest)
            elif equals and not option.value:
                raise UsageError(f"--{option.name} takes no value")
            options = _apply(f"--{option.name}", option, options, value)
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            option = _short_option(letter)
            value = ""
            if option.value:
                value = letters or _following(f"-{letter}", option, rest)
                letters = ""
            options = _apply(f"-{letter}", option, options, value)
    return options, rest


def _long_option(name: str) -> Option:
    """The option of that name or, as in getopt_long(3), the only one that begins so."""
    found = [option for option in OPTIONS if option.name.startswith(name)]
    exact = [option for option in found if option.name == name]
    if len(exact or found) != 1 or not name:
        raise UsageError(f"--{name} is {'ambiguous' if found and name else 'no option'}")
    return (exact or found)[0]


def _short_option(letter: str) -> Option:
    for option in OPTIONS:
        if option.letter == letter:
            return option
    raise UsageError(f"-{letter} is no option")


def check_status_fd(options: Options) -> None:
    """UsageError if nothing can be written to --json-status-fd."""
    if options.status_fd >= 0:
        import fcntl

        try:
            is_for_reading = fcntl.fcntl(options.status_fd, fcntl.F_GETFL) & posix.O_ACCMODE == posix.O_RDONLY
        except OSError:
            raise UsageError(f"--json-status-fd {options.status_fd}: this descriptor is not open") from None
        if is_for_reading:
            raise UsageError(f"--json-status-fd {options.status_fd}: this descriptor is not open for writing")


def _following(typed: str, option: Option, rest: list[str]) -> str:
    if not rest:
        raise UsageError(f"{typed} needs a value: {option.value}")
    return rest.pop(0)


def _apply(typed: str, option: Option, options: Options, value: str) -> Options:
    try:
        return option.apply(options, value)
    except ValueError as error:
        raise UsageError(f"{typed} {value}: {error}") from None


def _scope(options: Options, value: str) -> Options:
    if value not in ("child", "group", "all"):
        raise ValueError("a scope is child, group or all")
    return options.replace(scope=value)


def _rewrite(options: Options, value: str) -> Options:
    came, colon, goes = value.partition(":")
    if not colon:
        raise ValueError("a rewriting is SIG:SIG, such as TERM:QUIT")
    signum = signal_number(came)
    if signum in (_signal.SIGKILL, _signal.SIGSTOP):
        raise ValueError(f"{came} cannot be caught")
    return options.replace(rewrites={**options.rewrites, signum: 0 if goes == "0" else signal_number(goes)})


def _remap_exit(options: Options, value: str) -> Options:
    return options.replace(remapped=options.remapped | {_integer(value, "an exit status", 255)})


def _grace(options: Options, value: str) -> Options:
    return options.replace(grace=_seconds(value))


def _kill_after(options: Options, value: str) -> Options:
    return options.replace(kill_after=_seconds(value))


def _wait_all(options: Options, _: str) -> Options:
    return options.replace(wait_all=True)


def _parent_death_signal(options: Options, value: str) -> Options:
    return options.replace(parent_death_signal=signal_number(value))


def _pid_namespace(options: Options, _: str) -> Options:
    return options.replace(pid_namespace=True)


def _pause(options: Options, _: str) -> Options:
    return options.replace(pause=True)


def _warn_on_reap(options: Options, _: str) -> Options:
    return options.replace(warn_on_reap=True)


def _verbose(options: Options, _: str) -> Options:
    return options.replace(verbosity=max(options.verbosity, log.WARNING) + 1)


def _status_fd(options: Options, value: str) -> Options:
    return options.replace(status_fd=_integer(value, "a descriptor", 2**31 - 1))


def _integer(value: str, what: str, highest: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 11 and int(value) <= highest):
        raise ValueError(f"{what} is a number from 0 to {highest}")
    return int(value)


def _seconds(value: str) -> float:
    digits = value.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError("a time is a number of seconds, such as 5 or 0.5, of at most 9 digits")
    return float(value)


def _nothing(options: Options, _: str) -> Options:
    return options


def _license(options: Options, _: str) -> Options:
    return options.replace(prints=lambda: LICENSE)


def _help(options: Options, _: str) -> Options:
    return options.replace(prints=help_text)


def _version(options: Options, _: str) -> Options:
    return options.replace(prints=version_text)


OPTIONS = (
    Option("c", "single-child", "", "dumb-init", lambda to, _: _scope(to, "child"), "= --scope child, the default"),
    Option("g", "group", "", "tini, catatonit", lambda to, _: _scope(to, "group"), "= --scope group"),
    Option("", "scope", "SCOPE", "", _scope, "whom signals are forwarded to: child, group (its process group) or all"),
    Option("r", "rewrite", "SIG:SIG", "dumb-init", _rewrite, "forward the second for the first (0: none); repeatable"),
    Option("e", "remap-exit", "CODE", "tini", _remap_exit, "exit 0 where the command exits with CODE; repeatable"),
    Option(
        "t",
        "grace",
        "SECONDS",
        "",
        _grace,
        "SIGKILL what the command left after that; default 5, without a stop signal",
    ),
    Option("k", "kill-after", "SECONDS", "", _kill_after, "SIGKILL everything that long after TERM, INT or QUIT"),
    Option("a", "wait-all", "", "", _wait_all, "wait for what the command left behind to end by itself"),
    Option("p", "parent-death-signal", "SIG", "tini", _parent_death_signal, "the signal to get when the parent dies"),
    Option("n", "pid-namespace", "", "", _pid_namespace, "run in a new PID namespace"),
    Option("P", "pause", "", "catatonit", _pause, "no command: adopt and reap until TERM or INT, then exit 0"),
    Option("w", "warn-on-reap", "", "tini", _warn_on_reap, "one warning for each orphan reaped"),
    Option("v", "verbose", "", "tini, dumb-init", _verbose, "say on stderr what it does; -vv: every signal and reap"),
    Option("", "json-status-fd", "FD", "bubblewrap", _status_fd, 'write {"child-pid": N}, {"exit-code": N} to FD'),
    Option("s", "subreaper", "", "tini", _nothing, "ignored: it always is PID 1 or a subreaper"),
    Option("l", "license", "", "tini", _license, "say which licence this is under and exit"),
    Option("h", "help", "", "tini, dumb-init, catatonit", _help, "print a summary of the options and exit"),
    Option("V", "version", "", "tini, dumb-init, catatonit", _version, "print the version and exit"),
)

LICENSE = "pyinit is free software under the MIT licence: see LICENSE in its source, or https://spdx.org/licenses/MIT\n"


def version_text() -> str:
    """What --version prints."""
    from .. import __version__
    from ..native import works

    return f"pyinit {__version__} (waits in {'C' if works() else 'Python'})\n"


def help_text() -> str:
    """What --help prints, made from OPTIONS."""
    lines = ["usage: pyinit [options] [--] command [argument...]", ""]
    lines += ["Start the command, forward signals to it, reap every orphan, exit with its status.", ""]
    for option in OPTIONS:
        letter = f"-{option.letter}, " if option.letter else "    "
        lines.append(f"  {letter}{f'--{option.name} {option.value}'.rstrip():<28} {option.meaning}")
    lines += ["", "SIG is a signal's number or name. PYINIT_OPTIONS in the environment holds more options, read first."]
    lines += [
        "Exit status: the command's; 128+N: killed by signal N; 127: not found; 126: not runnable; 125: own error."
    ]
    return "\n".join(lines) + "\n"


def print_and_exit(text: str, inherited_mask: set[int]) -> "NoReturn":
    """Print and exit 0, as an ordinary program that any signal may end."""
    if callable(_signal.getsignal(_signal.SIGINT)):
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, inherited_mask)
    try:
        rest = text.encode()
        while rest:
            rest = rest[posix.write(1, rest) :]
    except OSError as error:
        log.error(f"cannot write to stdout: {error.strerror}")
        posix._exit(OWN_ERROR)
    posix._exit(0)
