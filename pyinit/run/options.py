"""The table of options. Parsing, --help, the manual page and the completions all use it.

`pyinit -- command` does not import this module. The module parses by hand, because getopt adds 8 ms to the start, and
argparse 10 ms.
"""

import _signal
import posix

from ..base import GRACE, OWN_ERROR, OWN_VARIABLE, Options, UsageError, log
from ..base.signals import signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, NoReturn

NOT_OF_LAUNCH = ("pid_namespace", "pause", "prints")  # attributes of Options; launch() has no such arguments


def read(words: list[str], environ: "Mapping[bytes, bytes]") -> Options:
    """Return the options in the environment and at the beginning of `words`, with the command.

    The options in `words` come later, so they take precedence. The words after them are the command. UsageError if the
    options make no sense.
    """
    options, command = _read_options(_read_environment(environ, Options()), words)
    return options.replace(command=command)


def words_for_launch(environ: "Mapping[bytes, bytes]") -> list[str]:
    """Return the options in PYINIT_OPTIONS that are also arguments of launch(), as words of a command line; UsageError.

    They make sense to read().
    """
    given = take(_own_words(environ), OPTIONS)
    return [
        f"--{option.name}={value}" if option.value else f"--{option.name}"
        for _, option, value in given
        if option.attribute not in NOT_OF_LAUNCH
    ]


class Option:
    """A row of the table.

    `letter` and `name` are as typed. `value` is the placeholder of its value, or "" if it takes none. `peers` are the
    other inits that have this option. The option sets `attribute` of Options to `convert(old, typed)`, which raises
    ValueError if the typed value makes no sense.
    """

    __slots__ = ("attribute", "convert", "letter", "meaning", "name", "peers", "value")

    def __init__(
        self,
        letter: str,
        name: str,
        value: str,
        peers: str = "",
        attribute: str = "",
        convert: "Callable[[Any, str], object]" = lambda old, _: old,
        meaning: str = "",
    ) -> None:
        self.letter, self.name, self.value, self.peers = letter, name, value, peers
        self.attribute, self.convert, self.meaning = attribute, convert, meaning

    def apply(self, options: Options, value: str) -> Options:
        """Return `options` with this option added, which was given `value`; ValueError."""
        new = self.convert(getattr(options, self.attribute), value)
        return options.replace(**{self.attribute: new})


def _read_environment(environ: "Mapping[bytes, bytes]", options: Options) -> Options:
    """Add the options that tini and dumb-init read from the environment, then those in PYINIT_OPTIONS; UsageError."""
    # There is nothing to do for TINI_SUBREAPER: pyinit is always PID 1 or a subreaper.
    if b"TINI_KILL_PROCESS_GROUP" in environ:
        options = options.replace(scope="group")
    verbosity = environ.get(b"TINI_VERBOSITY", b"")
    if verbosity.isdigit() and len(verbosity) < 9:  # tini's default, 1, shows warnings, as pyinit's 0 does
        options = options.replace(verbosity=int(verbosity) - 1)
    if environ.get(b"DUMB_INIT_DEBUG") == b"1":
        options = options.replace(verbosity=log.INFO)
    if environ.get(b"DUMB_INIT_SETSID") == b"0":
        options = options.replace(scope="child")
    try:
        options, rest = _read_options(options, _own_words(environ))
    except UsageError as error:
        raise UsageError(f"PYINIT_OPTIONS: {error}") from None
    if rest:
        raise UsageError(f"PYINIT_OPTIONS: {rest[0]!r} is no option")
    return options


def _own_words(environ: "Mapping[bytes, bytes]") -> list[str]:
    return environ.get(OWN_VARIABLE, b"").decode(errors="surrogateescape").split()


def _read_options(options: Options, words: list[str]) -> tuple[Options, list[str]]:
    """Add the options at the beginning of `words`. Return the options, and the words after them; UsageError."""
    rest = list(words)
    for typed, option, value in take(rest, OPTIONS):
        try:
            options = option.apply(options, value)
        except ValueError as error:
            raise UsageError(f"{typed} {value}: {error}") from None
    return options, rest


def take(words: list[str], table: "Iterable[Option]") -> "Iterator[tuple[str, Option, str]]":
    """Remove the options at the beginning of `words`, one after the other, as getopt_long(3) does.

    Yield each as it was typed, its row of `table`, and its value; UsageError.
    """
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            option = _long_option(name, table)
            if equals and not option.value:
                raise UsageError(f"--{option.name} takes no value")
            typed = f"--{option.name}"
            yield typed, option, value if equals or not option.value else _following(typed, option, words)
            continue
        letters = word[1:]
        while letters:
            typed, letters = f"-{letters[0]}", letters[1:]
            option = _short_option(typed, table)
            value = ""
            if option.value:
                value, letters = letters or _following(typed, option, words), ""
            yield typed, option, value


def _long_option(name: str, table: "Iterable[Option]") -> Option:
    """Return the option of that name, or the only one whose name begins so; UsageError."""
    found = [option for option in table if option.name.startswith(name)]
    exact = [option for option in found if option.name == name]
    if len(exact or found) != 1 or not name:
        raise UsageError(f"--{name} is {'ambiguous' if found and name else 'no option'}")
    return (exact or found)[0]


def _short_option(typed: str, table: "Iterable[Option]") -> Option:
    for option in table:
        if option.letter == typed[1:]:
            return option
    raise UsageError(f"{typed} is no option")


def _following(typed: str, option: Option, words: list[str]) -> str:
    if not words:
        raise UsageError(f"{typed} needs a value: {option.value}")
    return words.pop(0)


def check_status_fd(options: Options) -> None:
    """Raise UsageError if pyinit cannot write to --json-status-fd."""
    if options.status_fd >= 0:
        import fcntl

        try:
            is_for_reading = fcntl.fcntl(options.status_fd, fcntl.F_GETFL) & posix.O_ACCMODE == posix.O_RDONLY
        except OSError:
            raise UsageError(f"--json-status-fd {options.status_fd}: this descriptor is not open") from None
        if is_for_reading:
            raise UsageError(f"--json-status-fd {options.status_fd}: this descriptor is not open for writing")


def _scope(_: str, value: str) -> str:
    if value not in ("child", "group", "all"):
        raise ValueError("a scope is child, group or all")
    return value


def _rewrites(rewrites: "Mapping[int, int]", value: str) -> "Mapping[int, int]":
    came, colon, goes = value.partition(":")
    if not colon:
        raise ValueError("a rewriting is SIG:SIG, such as TERM:QUIT")
    signum = signal_number(came)
    if signum in (_signal.SIGKILL, _signal.SIGSTOP):
        raise ValueError(f"{came} cannot be caught")
    return {**rewrites, signum: 0 if goes == "0" else signal_number(goes)}


def _integer(value: str, what: str, highest: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 11 and int(value) <= highest):
        raise ValueError(f"{what} is a number from 0 to {highest}")
    return int(value)


def _seconds(_: float | None, value: str) -> float:
    digits = value.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError("a time is a number of seconds, such as 5 or 0.5, of at most 9 digits")
    return float(value)


def _always(value: object) -> "Callable[[object, str], object]":
    """Return a `convert` for an option without a value: it always sets the attribute to `value`."""
    return lambda *_: value


OPTIONS = (
    Option("c", "single-child", "", "dumb-init", "scope", _always("child"), "= --scope child"),
    Option("g", "group", "", "tini, catatonit", "scope", _always("group"), "= --scope group"),
    Option(
        "", "scope", "SCOPE", "", "scope", _scope,
        "forward to: child, group (its process group), all (every descendant)",
    ),
    Option(
        "r", "rewrite", "SIG:SIG", "dumb-init", "rewrites", _rewrites,
        "forward the second for the first (0: none); repeatable",
    ),
    Option(
        "e", "remap-exit", "CODE", "tini", "remapped",
        lambda codes, value: codes | {_integer(value, "an exit status", 255)},
        "exit 0 if the command exits with CODE; repeatable",
    ),
    Option(
        "t", "grace", "SECONDS", "", "grace", _seconds,
        f"seconds before killing leftover processes (default {GRACE:g}; no limit after a stop signal)",
    ),
    Option(
        "k", "kill-after", "SECONDS", "", "kill_after", _seconds,
        "seconds from a stop signal (TERM, INT, QUIT) to killing everything",
    ),
    Option(
        "a", "wait-all", "", "", "wait_all", _always(True), "wait until leftover processes have ended by themselves"
    ),
    Option(
        "p", "parent-death-signal", "SIG", "tini", "parent_death_signal", lambda _, value: signal_number(value),
        "the signal to get when the parent dies",
    ),
    Option("n", "pid-namespace", "", "", "pid_namespace", _always(True), "run in a new PID namespace"),
    Option("P", "pause", "", "catatonit", "pause", _always(True), "no command: reap until TERM or INT, then exit 0"),
    Option("w", "warn-on-reap", "", "tini", "warn_on_reap", _always(True), "one warning for each orphan reaped"),
    Option(
        "v", "verbose", "", "tini, dumb-init", "verbosity", lambda level, _: max(level, log.WARNING) + 1,
        "say on stderr what it does; -vv: every signal and reap",
    ),
    Option(
        "", "json-status-fd", "FD", "bubblewrap", "status_fd",
        lambda _, value: _integer(value, "a descriptor", 2**31 - 1),
        'write {"child-pid": N}, {"phase": ...}, {"exit-code": N} to FD',
    ),
    Option("s", "subreaper", "", "tini", "prints", lambda old, _: old, "ignored: it always is PID 1 or a subreaper"),
    Option("l", "license", "", "tini", "prints", lambda *_: lambda: LICENSE, "print the licence and exit"),
    Option(
        "h", "help", "", "tini, dumb-init, catatonit", "prints", lambda *_: help_text,
        "print a summary of the options and exit",
    ),
    Option(
        "V", "version", "", "tini, dumb-init, catatonit", "prints", lambda *_: version_text,
        "print the version and exit",
    ),
)  # fmt: skip

LICENSE = "pyinit is free software under the MIT licence: see LICENSE in its source, or https://spdx.org/licenses/MIT\n"


def version_text() -> str:
    """Return what --version prints."""
    from .. import __version__
    from ..native import works

    return f"pyinit {__version__} (waits in {'C' if works() else 'Python'})\n"


def help_text() -> str:
    """Return what --help prints, made from OPTIONS."""
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
    """Print `text` and exit with 0. Meanwhile any signal may end this process, as it may end an ordinary program."""
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
