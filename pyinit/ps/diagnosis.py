"""The diagnosis: what keeps a PID namespace from stopping, or fills it up, as far as /proc tells.

A finding must be true. If /proc cannot tell, there is no finding. A problem that does not last is no problem.
"""

import signal
from collections.abc import Iterable
from time import sleep
from typing import NamedTuple

from ..base import OR_TERM, UsageError, orders
from ..base.signals import signal_name, signal_number
from ..family import proc
from ..family.proc import IGNORED_BY_DEFAULT
from ..run.options import Option, take
from .snapshot import MOST_ROUNDS, Init, Member, init_of, look, pyinit, rounds

SHELLS = ("sh", "dash", "bash", "ash", "hush", "zsh", "ksh", "mksh", "fish")
# Inits that forward to their child alone, unless an option says otherwise, and exit when it has ended.
TO_THE_CHILD = ("tini", "tini-static", "docker-init", "catatonit")
INITS = (*TO_THE_CHILD, "dumb-init", "pyinit")
# The options of the others. A name that only pyinit-ps needs, such as tini's group, is no word that tini knows.
TINI = (*(Option(letter, "", "") for letter in "hvwls"), Option("g", "group", ""), Option("", "version", ""))
TINI += (Option("p", "", "SIGNAL"), Option("e", "", "CODE"))
PEERS = {
    "catatonit": (*(Option(letter, "", "") for letter in "hLPV"), Option("g", "group", "")),
    "dumb-init": (
        *(Option(letter, "", "") for letter in "hvV"),
        Option("c", "single-child", ""),
        Option("r", "rewrite", "SIG:SIG"),
    ),
}
UNCATCHABLE = (signal.SIGKILL, signal.SIGSTOP)
STOPPING = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGSTOP)
INSTEAD = (signal.SIGINT, signal.SIGQUIT)  # other signals that many servers end well by
MOST_NAMED = 8  # processes in one line
LOOKS, APART = 5, 0.1  # how often a problem must be seen, and seconds between: masks change for moments

CAUGHT, IGNORED, BLOCKED, TAKEN, DROPPED = "caught", "ignored", "blocked", "taken", "dropped"
ENDS, STOPS, ENDED, UNKNOWN = "ends it", "stops it", "-", "?"


class Finding(NamedTuple):
    """A finding: what was found, what to do about it, and the processes that it is about. `kind` is for machines.

    A finding that is no problem is shown too, such as the order in which pyinit would signal.
    """

    kind: str
    text: str
    advice: str
    pids: tuple[int, ...]
    is_problem: bool = True


def effect(member: Member, signum: int) -> str:
    """Return what the signal does to a process, as far as /proc tells; see signal(7), pid_namespaces(7)."""
    bit = 1 << (signum - 1)
    if member.is_zombie:
        return ENDED
    if signum not in UNCATCHABLE:
        if member.caught & bit:
            return CAUGHT
        if member.taken & member.blocked & bit or (member.waits and not member.blocked & bit):
            return TAKEN
        if not member.is_seen:  # the process may take the signal by sigwait(3) or signalfd(2)
            return UNKNOWN
        if member.blocked & bit:
            return BLOCKED
        if member.ignored & bit or signum in IGNORED_BY_DEFAULT:
            return IGNORED
        if member.is_init:
            return DROPPED
    return STOPS if signum in STOPPING else ENDS


def lasting(group: dict[int, Member], signum: int) -> list[Finding]:
    """Return the findings about the namespace that `group` is in, and about a stop of it by `signum`.

    If processes are a problem, lasting() looks at them again for half a second, and leaves out a problem that has gone.
    """
    found, had_init = find(group, signum), init_of(group) is not None
    for _ in range(LOOKS - 1):
        suspects = {pid for finding in found if finding.is_problem for pid in finding.pids}
        if not suspects:
            break
        sleep(APART)
        group = {pid: member for pid, member in group.items() if pid not in suspects} | look(suspects)
        if had_init and init_of(group) is None:
            return []  # the namespace has gone
        now = {(finding.kind, finding.pids[:1]): finding for finding in find(group, signum)}
        same = [now.get((finding.kind, finding.pids[:1])) for finding in found if finding.is_problem]
        found = [finding for finding in now.values() if finding in same or not finding.is_problem]
    return found


def find(group: dict[int, Member], signum: int) -> list[Finding]:
    """Return the findings of this moment, whether they last or not."""
    init = init_of(group)
    found = []
    if init is None or not init.is_seen:
        text = "PID 1 of this namespace may not be seen"
        found.append(Finding("unseen", text, "it takes the same user, or root", (), False))
    if init is not None:
        found += _init(init, group, signum)
    return found + _zombies(init, group) + _in_the_kernel(group)


def _init(init: Member, group: dict[int, Member], signum: int) -> list[Finding]:
    name, does = signal_name(signum), effect(init, signum)
    below = [member for member in children(init, group) if not (member.is_zombie or member.is_adviser)]
    if init.is_stopped:
        return [_stopped(init, name)]
    if init.name in INITS:
        return _forwarding(init, min(below, key=lambda child: (-child.age, child.pid)), group, signum) if below else []
    if does not in (DROPPED, IGNORED, BLOCKED):
        return []
    what = {DROPPED: "has no handler for", IGNORED: "ignores", BLOCKED: "blocks"}[does]
    if is_shell(init) and below:
        text = f"PID 1 is a shell, which {what} {name}, and what it runs gets none: {who(below)}"
        return [Finding("shell", text, "use the exec form, or `pyinit --` as ENTRYPOINT", pids(init, *below))]
    others = [signal_name(other) for other in INSTEAD if other != signum and effect(init, other) == CAUGHT]
    advice = f", or say STOPSIGNAL {others[0]}, which it catches" if others else ", or give it a handler"
    text = f"PID 1, {init.name}, {what} {name}, which does not stop it"
    return [Finding("deaf-init", text, f"put `pyinit --` before it as ENTRYPOINT{advice}", pids(init))]


def _forwarding(init: Member, main: Member, group: dict[int, Member], signum: int) -> list[Finding]:
    """Return the findings about an init that forwards to its main child."""
    if not init.is_seen:
        return []
    name = signal_name(signum)
    own = pyinit(init, group) if init.name == "pyinit" else None
    group = {pid: member for pid, member in group.items() if not member.is_adviser}
    outgoing = rewritten(init, signum) if own is None else own.options.forwarded(signum)
    if not outgoing:
        text = f"PID 1, {init.name}, drops {name}, as its options say"
        return [Finding("no-stop", text, "another STOPSIGNAL, or without that rewriting", pids(init))]
    if main.is_stopped:
        return [_stopped(main, name)]
    found = []
    does = effect(main, outgoing)
    if own and does == IGNORED and orders(own.options)[signum] & OR_TERM and own.options.scope in ("", "child"):
        does = effect(main, signal.SIGTERM)  # pyinit sends SIGTERM in place of a signal that the command ignores
    if does in (IGNORED, BLOCKED) and not (own and own.options.kill_after is not None):
        what = "ignores" if does == IGNORED else "blocks"
        text = f"PID {main.pid}, {main.name}, {what} {signal_name(outgoing)}, and {init.name} waits for its end"
        found.append(Finding("deaf", text, "another STOPSIGNAL, or a bound: `pyinit -k SECONDS`", pids(main)))
    if own:
        return found + _told_by_pyinit(init, own, main, group, outgoing)
    left = [member for member in children(main, group) if not member.is_zombie]
    if tells_its_child(init) and is_shell(main) and does == ENDS and left:
        text = f"PID 1, {init.name}, signals the shell alone: it dies of {name}, and SIGKILL ends {who(left)}"
        advice = "`exec` in the script, or pyinit, which signals the processes that the shell leaves behind"
        found.append(Finding("untold", text, advice, pids(main, *left)))
    return found


def _stopped(member: Member, name: str) -> Finding:
    text = f"PID {member.pid}, {member.name}, is stopped, and takes {name} when it is continued"
    return Finding("stopped", text, f"kill -CONT {member.pid}", pids(member))


def _told_by_pyinit(init: Member, own: Init, main: Member, group: dict[int, Member], outgoing: int) -> list[Finding]:
    """Return the findings about the processes that pyinit signals: their order, and those that ignore the signal.

    `own` is what this pyinit was asked for.
    """
    options, told_adviser = own
    found = []
    is_draining = told_adviser is not None and not told_adviser.child
    if is_draining and told_adviser is not None:
        signum = told_adviser.stop
        why = f"stops because of {signal_name(signum)}" if 0 < signum < signal.NSIG else "lost its command"
        left = [member for member in group.values() if member is not init and not member.is_zombie]
        found.append(Finding("draining", f"PID 1, pyinit, {why}; still there: {who(left)}", "", pids(*left), False))
    if not options.stops(outgoing):
        text = f"PID 1, pyinit, forwards {signal_name(outgoing)}, but takes it for no stop signal"
        return [*found, Finding("no-stop", text, "TERM, INT and QUIT are, and what -r makes of one", pids(init), False)]
    if options.scope not in ("", "child"):
        whom = "all at once" if options.scope == "all" else f"the process group of PID {main.pid} at once"
        return [*found, Finding("order", f"PID 1, pyinit, signals {whom}", "", pids(main), False)]
    order = rounds(init, None if is_draining else main, group, outgoing)
    shown = ", then ".join(who(some) for some in order[:MOST_NAMED]) + (", ..." if len(order) > MOST_NAMED else "")
    told = pids(*(member for some in order for member in some))
    bound = f"; SIGKILL {options.kill_after:g} s after the signal" if options.kill_after is not None else ""
    found.append(Finding("order", f"PID 1, pyinit, signals {shown or 'nobody'}{bound}", "", told, False))
    after = [member for some in order[0 if is_draining else 1 :] for member in some]
    deaf = [member for member in after if IGNORED == effect(member, outgoing) == effect(member, signal.SIGTERM)]
    if deaf and options.kill_after is None and len(order) < MOST_ROUNDS:
        text = f"{signal_name(outgoing)} is ignored by what pyinit will wait for: {who(deaf)}"
        found.append(Finding("deaf", text, "a bound: `pyinit -k SECONDS`", pids(*deaf)))
    return found


def _zombies(init: Member | None, group: dict[int, Member]) -> list[Finding]:
    by_parent: dict[int, list[Member]] = {}
    for member in group.values():
        if member.is_zombie:
            by_parent.setdefault(member.parent, []).append(member)
    found = []
    for parent, zombies in sorted(by_parent.items(), key=lambda item: -len(item[1])):
        debtor = group.get(parent)
        count = f"{len(zombies)} zombie{'s' if len(zombies) > 1 else ''}"
        if debtor is None or debtor.is_stopped:
            continue  # the parent is outside, has gone meanwhile, or is stopped
        if init is not None and debtor.pid == init.pid:
            text = f"{count} of PID 1, {init.name}, which has not reaped: {numbers(zombies)}"
            found.append(Finding("zombies-of-init", text, "`pyinit --` as ENTRYPOINT", pids(init, *zombies)))
        else:
            text = f"{count} of PID {debtor.pid}, {debtor.name}, which lives and has not reaped: {numbers(zombies)}"
            found.append(Finding("zombies", text, "a fault of its own: no init mends it", pids(debtor, *zombies)))
    return found


def _in_the_kernel(group: dict[int, Member]) -> list[Finding]:
    """Return a finding for each process in state D.

    It is no problem: the state may last a moment, and most such processes die of SIGKILL all the same.
    """
    text = "PID {}, {}, is in state D: it takes no signal before the kernel has done something for it"
    return [
        Finding("uninterruptible", text.format(member.pid, member.name), "", pids(member), False)
        for member in group.values()
        if member.state == "D"
    ]


def rewritten(init: Member, signum: int) -> int:
    """Return the signal that an init other than pyinit forwards, or 0 for none: dumb-init rewrites it as -r says."""
    if init.name == "dumb-init":
        for word in values_of(init, "rewrite"):
            came, _, goes = word.partition(":")
            try:
                if signal_number(came) == signum:
                    return 0 if goes == "0" else signal_number(goes)
            except ValueError:
                pass
    return signum


def tells_its_child(init: Member) -> bool:
    """Return whether `init`, if it is not pyinit, sends a stop signal to its main child alone."""
    if init.name == "dumb-init":
        return bool(values_of(init, "single-child"))
    if init.name not in TO_THE_CHILD or values_of(init, "group"):
        return False
    return b"TINI_KILL_PROCESS_GROUP" not in proc.environment(init.pid)


def values_of(init: Member, name: str) -> list[str]:
    """Return the values of an option of tini, dumb-init or catatonit.

    If the option takes no value, return "" for each time that it is there.
    """
    found = []
    try:
        for _, option, value in take(init.words[1:], PEERS.get(init.name, TINI)):
            if option.name == name:
                found.append(value)
    except UsageError:  # another program of that name
        pass
    return found


def is_shell(member: Member) -> bool:
    """Return whether it is a shell, by the first word of its command.

    Its name does not tell: the name of a shell that runs a script is the script's.
    """
    first = [word.rpartition("/")[2].removeprefix("-") for word in member.words[:2]]
    if first[:1] == ["busybox"]:
        return first[1:2] in (["sh"], ["ash"], ["hush"])
    return first[:1] != [] and first[0] in SHELLS


def children(parent: Member, group: dict[int, Member]) -> list[Member]:
    """Return the children of `parent`, zombies too."""
    return [member for member in group.values() if member.parent == parent.pid]


def who(some: list[Member]) -> str:
    """Return PIDs and names, such as `4242 (redis-server), 4243 (sh)`."""
    return _few(f"{member.pid} ({member.name})" for member in some)


def numbers(some: list[Member]) -> str:
    return _few(str(member.pid) for member in some)


def _few(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join([*found[:MOST_NAMED], "..."] if len(found) > MOST_NAMED else found)


def pids(*some: Member) -> tuple[int, ...]:
    return tuple(member.pid for member in some)
