"""Write the files that are made from tables in Python.

These are the options in the manual pages, the completions, and what the C program must know: pyinit/native/shared.h.
`python -m tools.pages` writes them. A test fails if a file differs from what it would write.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from pyinit import base, native, ps
from pyinit.base.signals import signal_name
from pyinit.run import options
from pyinit.stop import adviser

CHECKOUT = Path(__file__).parents[1]
SHARE = CHECKOUT / "share"
BEGIN, END = '.\\" begin options\n', '.\\" end options\n'
SCOPES = "child group all"


class Row(NamedTuple):
    """An option: `letter` and `name` as typed, `value` its placeholder or "", `peers` who else has it.

    A value that may be missing is no `value`, but part of the `name` in the manual: `also`.
    """

    letter: str
    name: str
    value: str
    meaning: str
    peers: str = ""
    also: str = ""

    def typed(self, after: str = "") -> list[str]:
        """The words that it is called by: `-t`, `--grace`; `after` behind the long one."""
        return [*([f"-{self.letter}"] if self.letter else []), f"--{self.name}{after}"]


def of_pyinit() -> list[Row]:
    """The options of pyinit."""
    return [Row(of.letter, of.name, of.value, of.meaning, of.peers) for of in options.OPTIONS]


def of_pyinit_ps() -> list[Row]:
    """The options of pyinit-ps."""
    found = []
    for action in ps.options_parser()._actions:
        if action.option_strings:
            letter = next((word[1:] for word in action.option_strings if len(word) == 2), "")
            value = str(action.metavar or "")
            also, value = (value, "") if action.nargs == "?" else ("", value)
            found.append(Row(letter, action.option_strings[-1][2:], value, str(action.help), also=also))
    return found


def manual(page: str, rows: list[Row]) -> str:
    """The manual page with its part about the options made anew; see mdoc(7)."""
    lines = [".Bl -tag -width Ds\n"]
    for row in rows:
        words = " , ".join(f"Fl {word[1:]}" for word in row.typed())
        value = f" Ar {row.value}" if row.value else f" Ns Op = Ns Ar {row.also}" if row.also else ""
        lines.append(f".It {words}{value}\n")
        peers = f".\nAs in {row.peers}" if row.peers else ""
        meaning = re.sub("^= ", "the same as ", row.meaning)
        meaning = meaning[0].upper() + meaning[1:]
        lines.append(f"{meaning}{peers}.\n".replace("--", "\\-\\-").replace("; ", ";\n"))
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "".join(lines) + ".El\n" + END + rest.partition(END)[2]


BASH = """\
# bash completion for @PROGRAM@(1)
_@NAME@_signals() {
    local names=($(compgen -A signal -X '!SIG*'))
    [[ $1 == SIG* ]] || names=("${names[@]#SIG}")
    compgen "${@:2}" -W "${names[*]}" -- "$1"
}

_@NAME@() {
    local word=${COMP_WORDS[COMP_CWORD]} at=1 option=
    COMPREPLY=()
    while ((at < COMP_CWORD)); do
        case ${COMP_WORDS[at]} in
            --) at=$((at + 1)) && break ;;
            @LONG@) option=${COMP_WORDS[at]} ;;
            -[@LETTERS@] | -[!-]*[@LETTERS@]) option=-${COMP_WORDS[at]: -1} ;;
            -*) at=$((at + 1)) && continue ;;
            *) break ;;
        esac
        at=$((at + 1))
        # bash parts words at = and :
        [[ ${COMP_WORDS[at]} == = ]] && at=$((at + 1))
        [[ ${COMP_WORDS[at + 1]} == : ]] && at=$((at + 2))
        if ((at >= COMP_CWORD)); then
            local colon=(-S :)
            [[ $word == : || ${COMP_WORDS[COMP_CWORD - 1]} == : ]] && colon=()
            [[ $word == [=:] ]] && word=
            case $option in
@VALUES@
            esac
            [[ ${COMPREPLY[0]} != *: ]] || compopt -o nospace
            return
        fi
        at=$((at + 1))
    done
    if ((at == COMP_CWORD)) && [[ $word == -* && ${COMP_WORDS[at - 1]} != -- ]]; then
        COMPREPLY=($(compgen -W "@WORDS@" -- "$word"))
@REST@
    fi
}
complete -F _@NAME@ @PROGRAM@
"""
BASH_COMMAND = """\
    elif declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$at"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$at"
    elif ((at == COMP_CWORD)); then
        COMPREPLY=($(compgen -c -- "$word"))
    else
        compopt -o default"""
# The names of containers; there may be one engine, both, or none.
CONTAINERS = '{ docker ps --format "{{.Names}}"; podman ps --format "{{.Names}}"; } 2>/dev/null'
BASH_TARGET = f"""\
    else
        COMPREPLY=($(compgen -W "$({CONTAINERS})" -- "$word"))"""
BASH_VALUES = {
    "SIG": '_@NAME@_signals "$word"',
    "SIG:SIG": '_@NAME@_signals "$word" "${colon[@]}"',
    "SCOPE": f'compgen -W "{SCOPES}" -- "$word"',
}


def bash(program: str, rows: list[Row], runs_a_command: bool) -> str:
    """A completion for bash, with or without the package bash-completion."""
    valued = [row for row in rows if row.value]
    values = [
        f"                {' | '.join(row.typed())}) COMPREPLY=($({BASH_VALUES[row.value]})) ;;"
        for row in valued
        if row.value in BASH_VALUES
    ]
    return (
        BASH.replace("@REST@", BASH_COMMAND if runs_a_command else BASH_TARGET)
        .replace("@LONG@", " | ".join(f"--{row.name}" for row in valued))
        .replace("@LETTERS@", "".join(row.letter for row in valued))
        .replace("@VALUES@", "\n".join(values))
        .replace("@WORDS@", " ".join(word for row in rows for word in row.typed()))
        .replace("@PROGRAM@", program)
        .replace("@NAME@", program.replace("-", "_"))
    )


ZSH_SIGNALS = '{ if compset -P "*\\:"; then _signals -s; else _signals -s -S \\: -q; fi }'
ZSH_VALUES = {"SIG": "_signals -s", "SIG:SIG": ZSH_SIGNALS, "SCOPE": f"({SCOPES})"}
ZSH_COMMAND = [
    "    '(-)1:command: _command_names -e' \\",  # a blank, for -e to be read
    "    '*::argument:{ [[ $words[1] == -- ]] && shift words && ((CURRENT--)); _normal }'",
]
ZSH_TARGET = [f"    '(-)1:PID or container:{{ compadd -- $({CONTAINERS}); _pids }}'"]
REPEATED = ("rewrite", "remap-exit", "verbose")


def zsh(program: str, rows: list[Row], runs_a_command: bool) -> str:
    """A completion for zsh; see zshcompsys(1)."""
    lines = [f"#compdef {program}", "", "_arguments -s -S -A '-*' \\"]
    for row in rows:
        words = [f"-{row.letter}{'+' if row.value else ''}"] if row.letter else []
        words.append(f"--{row.name}{'=' if row.value else ''}")
        others = "'*'" if row.name in REPEATED else f"'({' '.join(row.typed())})'"
        what = "{" + ",".join(words) + "}" if len(words) > 1 else words[0]
        meaning = row.meaning.replace("[", "\\[").replace("]", "\\]").replace("'", "'\\''")
        value = row.value.replace(":", "\\:")
        action = f":{value}:{ZSH_VALUES.get(row.value, '')}" if row.value else ""
        lines.append(f"    {others}{what}'[{meaning}]{action}' \\")
    if runs_a_command:
        lines += ZSH_COMMAND
    else:
        lines += ZSH_TARGET
    return "\n".join(lines) + "\n"


FISH_COMMAND = """
# The words of the command, where it has begun: what is left when the options have been taken away.
function __fish_@NAME@_command
    set -l words (commandline -opc) (commandline -ct)
    argparse -s @ARGPARSE@ -- $words[2..] 2>/dev/null
    and set -q argv[1]
    and not string match -q -- '-*' $argv[1]
    and printf '%s\\n' $argv
end

function __fish_@NAME@_complete_command
    __fish_complete_subcommand --commandline (__fish_@NAME@_command)
end

complete -c @PROGRAM@ -x -n '__fish_@NAME@_command >/dev/null' -a '(__fish_@NAME@_complete_command)'
"""
# What is typed before a colon stays.
FISH_BEFORE = "(string match -r '^.*:|^' -- (commandline -ct | string replace -r '^-.*=' ''))"
FISH_SIGNALS = f"{FISH_BEFORE}(kill -l | string split ' ')"
FISH_VALUES = {"SIG": "(kill -l | string split ' ')", "SIG:SIG": FISH_SIGNALS, "SCOPE": SCOPES}
FISH_CONTAINERS = f"({CONTAINERS.replace('{ ', 'begin; ', 1).replace('; }', '; end')})"
FISH_TARGET = f"""
complete -c @PROGRAM@ -f
complete -c @PROGRAM@ -a '{FISH_CONTAINERS}' -d container
complete -c @PROGRAM@ -a '(__fish_complete_pids)'
"""


def fish(program: str, rows: list[Row], runs_a_command: bool) -> str:
    """A completion for fish; see complete(1) and argparse(1) there."""
    name = program.replace("-", "_")
    lines = [f"# fish completion for {program}(1)"]
    unless = ""
    if runs_a_command:
        given = " ".join(
            f"{f'{row.letter}/' if row.letter else ''}{row.name}{'=+' if row.value else ''}" for row in rows
        )
        lines.append(FISH_COMMAND.replace("@ARGPARSE@", given).replace("@PROGRAM@", program).replace("@NAME@", name))
        unless = f" -n 'not __fish_{name}_command >/dev/null'"
    else:
        lines.append(FISH_TARGET.replace("@PROGRAM@", program))
    for row in rows:
        letter = f" -s {row.letter}" if row.letter else ""
        values = f" -x -a {quoted(FISH_VALUES.get(row.value, ''))}" if row.value else ""
        lines.append(f"complete -c {program} -f{unless}{letter} -l {row.name}{values} -d {quoted(row.meaning)}")
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """A word for fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def shared_header() -> str:
    """Return pyinit/native/shared.h, which has the names and values of Python."""
    groups = (
        (
            "What to do with a signal that comes in; see pyinit/base.",
            base,
            (
                "SIGNAL",
                "STOPS",
                "IF_SENT",
                "OR_TERM",
                "GROUP",
            ),
        ),
        ("Bits of the flags in struct orders.", native, ("PAUSES", "BOUNDED", "LEADS")),
        ("Sizes in struct orders.", native, ("SIGNALS", "MOST_PATHS")),
        ("pyinit's own exit status if it fails.", base, ("OWN_ERROR",)),
        ("The exit status of an adviser that fails.", adviser, ("HAS_SAID_WHY",)),
    )
    lines = ["/* What Python and the C program must both know. `python -m tools.pages` writes this file. */", ""]
    for comment, module, names in groups:
        lines += [f"/* {comment} */", f"enum {{ {', '.join(f'{name} = {getattr(module, name)}' for name in names)} }};"]
    rows = [
        f"[{signal_name(signum)}] = {in_words(order)}"
        for signum, order in enumerate(base.orders(base.Options()))
        if order != signum
    ]
    variables = [json.dumps(f"{name.decode()}=") for name in (*base.VARIABLES, *base.READERS)]
    lines += [
        "/* The orders for a command without options: the grace in tenths of a second, and what is done with a signal,",
        "   if it is something else than to deliver it. */",
        f"enum {{ GRACE = {base.GRACE * 10:.0f} }};",
        f"#define ORDERS {', '.join(rows[:2])}, \\",
        f"    {', '.join(rows[2:])}",
        "/* The word for Python, and the flags of the interpreter, which isolate it; see pyinit/native. */",
        f"#define WORD {json.dumps(native.WORD)}",
        f"#define FLAGS {json.dumps(native.FLAGS)}",
        "/* The variables that hold options or name their reader. */",
        f"#define VARIABLES {', '.join(variables[:4])}, \\",
        f"    {', '.join(variables[4:])}",
    ]
    return "\n".join(lines) + "\n"


def in_words(order: int) -> str:
    """Return an order as C writes it."""
    bits = [name for name in ("STOPS", "IF_SENT", "OR_TERM", "GROUP") if order & getattr(base, name)]
    return " | ".join([signal_name(order & base.SIGNAL), *bits])


def files() -> dict[Path, str]:
    """Each file that is made, and what it should hold."""
    made = {CHECKOUT / "pyinit/native/shared.h": shared_header()}
    for program, rows, runs in (("pyinit", of_pyinit(), True), ("pyinit-ps", of_pyinit_ps(), False)):
        page = SHARE / "man/man1" / f"{program}.1"
        made[page] = manual(page.read_text(), rows)
        made[SHARE / "bash-completion/completions" / program] = bash(program, rows, runs)
        made[SHARE / "zsh/site-functions" / f"_{program}"] = zsh(program, rows, runs)
        made[SHARE / "fish/vendor_completions.d" / f"{program}.fish"] = fish(program, rows, runs)
    return made


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
