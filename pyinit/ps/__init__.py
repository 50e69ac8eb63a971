"""pyinit-ps: it shows what PID 1 of a namespace sees, and why it will not stop.

This module is the command: it takes words, and prints text or JSON. The module ps.snapshot reads /proc. The module
ps.diagnosis says what follows from that. pyinit-ps only reads: it sends no signal and does not call ptrace(2). It
leaves out a process that ends meanwhile.
"""

import argparse
import functools
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from .. import __version__
from ..base.signals import signal_name, signal_number
from . import diagnosis, snapshot
from .diagnosis import Finding
from .snapshot import Member

WRONG = 2  # exit status: the command line is wrong, or what was asked for cannot be seen
FOUND = 1  # exit status of --check, if there is a problem
RED, BOLD, PLAIN = "\033[31m", "\033[1m", "\033[0m"
ENGINES = ("docker", "podman")
ENGINE_ANSWERS = 10.0  # seconds that an engine may take
LEAST_APART = 0.1  # seconds between two looks of --watch
LEAST_WIDTH = 12  # columns that a finding takes at least
UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


class Space(NamedTuple):
    """What was seen in a namespace: its processes, which of them the engine signals if not PID 1, and the findings."""

    group: dict[int, Member]
    head: Member | None
    found: list[Finding]

    def problems(self) -> list[Finding]:
        """Return the findings that are problems."""
        return [finding for finding in self.found if finding.is_problem]

    def hidden(self) -> str:
        """Return what could not be seen, in a line; "" if all could."""
        return "; ".join(finding.text for finding in self.found if finding.kind == "unseen")


def main(words: Sequence[str] | None = None) -> int:
    """Look, print, and return the exit status.

    The status is 1 if --check has found a problem, and 2 if this user cannot see what it needs. `words` are the
    arguments, by default those of the process.
    """
    options = parsed(words)
    if sys.stdout is None:  # it is closed
        return WRONG
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        while True:
            status = show(options)
            if options.watch is None:
                return status
            time.sleep(options.watch)
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # EPIPE, ENOSPC
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still buffered
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE
        print(f"pyinit-ps: {error.strerror}", file=sys.stderr)
        return WRONG
    except snapshot.UnseenError as error:
        print(f"pyinit-ps: {error}", file=sys.stderr)
        return WRONG
    except Exception as error:  # the exit status 1 of a traceback would pass for a finding
        print(f"pyinit-ps: internal error: {error!r}", file=sys.stderr)
        return WRONG


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Print the line and exit."""
        self.exit(WRONG, f"{self.prog}: {message}; see {self.prog} --help\n")


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the options in `words`. argparse ends the process if they are wrong."""
    parser = options_parser()
    options = parser.parse_args(words)
    if options.all and options.target is not None:
        parser.error(f"--all shows all namespaces, and {options.target!r} is in one")
    return options


def options_parser() -> argparse.ArgumentParser:
    """Return the parser of the options.

    The manual page and the completions are made from it, too.
    """
    parser = Parser(prog="pyinit-ps", description="Show what PID 1 of a PID namespace sees, and why it will not stop.")
    parser.add_argument("target", nargs="?", help="a PID, or a container's name or ID; by default one's own namespace")
    parser.add_argument("-a", "--all", action="store_true", help="every PID namespace in a line, worst first")
    parser.add_argument(
        "-s", "--signal", type=signum, default=signal.SIGTERM, metavar="SIG", help="the stop signal; TERM"
    )
    parser.add_argument(
        "--check", action="store_true", help="print the problems alone; exit 1 if there is one, 2 if it cannot see"
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    again = f"again and again, every 2 s by default; at least {LEAST_APART} s"
    parser.add_argument("--watch", type=seconds, nargs="?", const=2.0, metavar="SECONDS", help=again)
    version = f"pyinit-ps {__version__}"
    parser.add_argument("-V", "--version", action="version", version=version, help="print the version and exit")
    return parser


def signum(word: str) -> int:
    """Return the number of a signal. Raises argparse.ArgumentTypeError if there is none."""
    try:
        return signal_number(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(word: str) -> float:
    """Return a time in seconds. Raises argparse.ArgumentTypeError if the word is none."""
    if not (word.replace(".", "", 1).isascii() and word.replace(".", "", 1).isdigit() and len(word) < 10):
        raise argparse.ArgumentTypeError("a time is a number of seconds, such as 2 or 0.5")
    if float(word) < LEAST_APART:
        raise argparse.ArgumentTypeError(f"--watch takes at least {LEAST_APART} s")
    return float(word)


def show(options: argparse.Namespace) -> int:
    """Look once, print, and return the exit status. Raises UnseenError."""
    everyone = snapshot.everyone()
    spaces = {
        name: Space(group, head, diagnosis.lasting(group, options.signal, head))
        for name, group, head in look(options, everyone)
    }
    if options.watch is not None and sys.stdout.isatty():
        print("\033[H\033[J", end="")
    if options.json:
        print(json.dumps(document(spaces, options.signal), indent=1))
    elif options.check:
        for name, space in spaces.items():
            for line in finding_lines(space.problems()):
                print(f"{name}  {line}" if options.all else line)
    elif options.all:
        print("\n".join(overview(spaces)))
    else:
        print("\n".join(pages(spaces, options.signal)))
    sys.stdout.flush()
    hidden = unseen(options, everyone, spaces)
    if hidden:
        print(f"pyinit-ps: {hidden}: {snapshot.WHAT_IT_TAKES}", file=sys.stderr)
    if options.check and any(space.problems() for space in spaces.values()):
        return FOUND
    return WRONG if hidden and (options.check or not options.all) else 0


def look(
    options: argparse.Namespace, everyone: dict[int, Member]
) -> Iterator[tuple[str, dict[int, Member], Member | None]]:
    """Return what was asked for: the name of each namespace, its processes, and the one that the engine signals.

    The latter is None for PID 1. If a container shares another namespace, such as the host's, it is its first process.
    """
    if options.all:
        for name, group in snapshot.by_namespace(everyone).items():
            yield name, group, None
    elif options.target is None:
        yield (*snapshot.around(None, everyone), None)
    else:
        pid, is_container = pid_of(options.target)
        name, group = snapshot.around(pid, everyone)
        if is_container and not everyone[pid].is_init:
            yield name, snapshot.below([pid], everyone), everyone[pid]
        else:
            yield name, group, None


def unseen(options: argparse.Namespace, everyone: dict[int, Member], spaces: dict[str, Space]) -> str:
    """Return what could not be seen, in a line; "" if all could."""
    hidden = [space.hidden() for space in spaces.values() if space.hidden()]
    if options.all and (nameless := sum(not member.namespace for member in everyone.values())):
        hidden.append(f"the namespaces of {nameless} processes cannot be seen")
    return "; ".join(hidden)


def pid_of(target: str) -> tuple[int, bool]:
    """Return the PID that `target` is, and whether it is that of the first process in a container of that name.

    docker or podman knows the latter. Raises UnseenError if neither knows the container.
    """
    if target.isascii() and target.isdigit() and len(target) < 11:
        return int(target), False
    answers = []
    for engine in filter(shutil.which, ENGINES):
        words = [engine, "inspect", "--type", "container", "--format", "{{.State.Pid}}", "--", target]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, errors="replace", check=False, timeout=ENGINE_ANSWERS
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            answers.append(f"{engine}: {error}")
            continue
        answer = done.stdout.strip()
        if answer.isascii() and answer.isdigit() and int(answer):
            return int(answer), True
        said = done.stderr.strip().splitlines()
        answers.append(f"{engine}: {said[-1] if said else 'it does not run'}")
    raise snapshot.UnseenError(f"{target!r} is no PID; {'; '.join(answers) or 'there is neither docker nor podman'}")


def overview(spaces: dict[str, Space]) -> list[str]:
    """Return a row for each namespace, the worst first. On a terminal its last column has several lines if need be."""
    rows = [["NAMESPACE", "PID 1", "COMMAND", "PROCESSES", "ZOMBIES", "FINDINGS", "THE FIRST"]]
    for name in sorted(spaces, key=lambda name: (-len(spaces[name].problems()), name)):
        group, problems = spaces[name].group, spaces[name].problems()
        init = snapshot.init_of(group)
        zombies = sum(member.is_zombie for member in group.values())
        who = [str(init.pid), init.name] if init else ["-", "-"]
        first = problems[0].text if problems else ""
        rows.append([name, *who, str(len(group)), str(zombies), str(len(problems)), first])
    lines = aligned([[*row[:-1], ""] for row in rows])
    indent = max(map(len, lines)) + 2
    return [
        cut((f"{line:{indent}}" if not place else " " * indent) + part).rstrip()
        for line, row in zip(lines, rows, strict=True)
        for place, part in enumerate(wrapped(row[-1], indent) or [""])
    ]


def pages(spaces: dict[str, Space], signum: int) -> Iterator[str]:
    """Return the tree of each namespace, and what was found in it, as lines."""
    for name, space in spaces.items():
        for line in tree_lines(space.group, signum):
            yield cut(line)
        yield ""
        shown = [finding for finding in space.found if finding.kind != "unseen"]
        yield from finding_lines(shown)
        if not (shown or space.hidden()):
            yield f"{name}: found nothing that keeps it from stopping by {signal_name(signum)}"


def tree_lines(group: dict[int, Member], signum: int) -> list[str]:
    """Return a line for each process, below its parent."""
    deepest = max(len(member.pids) for member in group.values())
    here = ["PID", *(f"IN {level}" if deepest > 2 else "INSIDE" for level in range(1, deepest))]
    rows = [[*here, "USER", "S", "AGE", "THR", signal_name(signum), "COMMAND"]]
    for depth, member in in_order(group):
        pids = [*map(str, member.pids), *[""] * (deepest - len(member.pids))]
        words = "  " * depth + member.title()
        does = member.effect(signum)
        rows.append([*pids, user(member.uid), member.state, age(member.age), str(member.threads), does, words])
    return aligned(rows)


def in_order(group: dict[int, Member]) -> Iterator[tuple[int, Member]]:
    """Return the members with their depth, each below its parent, the older ones first."""
    children: dict[int, list[Member]] = {}
    for member in group.values():
        parent = member.parent if member.parent in group else 0
        children.setdefault(parent, []).append(member)
    waiting = [(0, member) for member in sorted(children.get(0, ()), key=snapshot.oldest_last)]
    while waiting:
        depth, member = waiting.pop()
        yield depth, member
        waiting += [(depth + 1, child) for child in sorted(children.get(member.pid, ()), key=snapshot.oldest_last)]


def finding_lines(found: list[Finding]) -> list[str]:
    """Return the findings as lines, each with the advice below it. On a terminal they end between two words."""
    lines = []
    for finding in found:
        first, *rest = wrapped(finding.text, 2)
        mark = colour("!", RED) if finding.is_problem else " "
        lines.append(f"{mark} {bold(first, finding)}")
        lines += [f"  {bold(line, finding)}" for line in rest]
        lines += [f"    {line}" for line in wrapped(finding.advice, 4)]
    return lines


def bold(line: str, finding: Finding) -> str:
    """Return a line of a finding, in bold if that is a problem."""
    return colour(line, BOLD) if finding.is_problem else line


def wrapped(text: str, indent: int) -> list[str]:
    """Return `text` in lines that fit on the terminal behind so many blanks; in a pipe, in one line."""
    if not sys.stdout.isatty() or not text:
        return [text] if text else []
    width = max(shutil.get_terminal_size().columns - indent, LEAST_WIDTH)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def document(spaces: dict[str, Space], signum: int) -> dict[str, object]:
    """Return the same for machines; schema.json describes it."""
    return {
        "version": 1,
        "signal": signal_name(signum),
        "namespaces": [
            {
                "namespace": name,
                "processes": [
                    {
                        "pids": list(member.pids),
                        "parent": member.parent,
                        "uid": member.uid,
                        "state": member.state,
                        "age": round(member.age, 2),
                        "threads": member.threads,
                        "name": member.name,
                        "command": member.words,
                        "effect": member.effect(signum),
                    }
                    for _, member in in_order(space.group)
                ],
                "findings": [finding._asdict() for finding in space.found],
            }
            for name, space in spaces.items()
        ],
    }


def aligned(rows: list[list[str]]) -> list[str]:
    """Return the rows as lines, with the cells of a column below each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def cut(line: str) -> str:
    """Return as much of a line as the terminal shows; if stdout is no terminal, all of it."""
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else f"{line[: width - 1]}…"


def colour(text: str, code: str) -> str:
    """Return `text` in colour on a terminal, except if that is dumb, or NO_COLOR is set; see no-color.org."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return f"{code}{text}{PLAIN}" if sys.stdout.isatty() and not is_plain else text


@functools.cache
def user(uid: int) -> str:
    """Return the name of a user; the number if there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def age(seconds: float) -> str:
    """Return the `seconds` in the largest unit that fits, such as `12s`, `3m`, `2h` or `5d`."""
    for size, unit in UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def run() -> NoReturn:
    """Run pyinit-ps and exit: the entry point."""
    sys.exit(main())
