"""The diagnosis: what keeps a PID namespace from stopping, or fills it up, as far as /proc tells.

A stop goes well if it ends by itself, and if every process that does something of its own when the signal comes gets
the signal, and the time to do it. A finding that is a problem must be true. What /proc cannot decide is a note. A
problem that does not last is no problem. An advice is given only if it would help, as far as this can be known.
"""

import os
import signal
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from time import sleep
from typing import NamedTuple

from ..base import STOP_SIGNALS
from ..base.signals import signal_name
from ..family.proc import where_it_waits
from . import inits
from .forecast import Forecast, forecast
from .inits import HEEDLESS, Init
from .snapshot import (
    BLOCKED,
    CAUGHT,
    ENDS,
    IGNORED,
    TAKEN,
    UNKNOWN,
    Member,
    all_pids,
    below,
    children,
    init_of,
    is_restricted,
    look,
)

SHELLS = ("sh", "dash", "bash", "ash", "hush", "zsh", "ksh", "mksh", "fish")
INSTEAD = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)  # signals that many servers end well by
MOST_NAMED = 8  # processes in one line
LOOKS, APART = 5, 0.1  # how often a problem must be seen, and seconds between: masks change for moments
BOUND = "a bound: `pyinit -k SECONDS --`"
SAME = {"shell": "deaf-init"}  # a shell is the one or the other, by whether it runs something at the moment
ADVISE = "?"  # find() replaces it by an advice about the first of the processes


class Finding(NamedTuple):
    """A finding: what was found, what to do about it, and the processes that it is about. `kind` is for machines.

    A finding that is no problem is shown too, such as the order in which pyinit would signal. `advice` is "" if there
    is none.
    """

    kind: str
    text: str
    advice: str
    pids: tuple[int, ...]
    is_problem: bool = True


def lasting(group: Mapping[int, Member], signum: int, head: Member | None = None) -> list[Finding]:
    """Return the findings about the namespace that `group` is in, and about a stop of it by `signum`.

    The engine signals `head`, by default PID 1. As long as processes are a problem, or cannot be seen, lasting() looks
    at them again, for a second at most, and leaves out what it has not seen for half a second up to the end.
    """
    had_head, before = (head or init_of(group)) is not None, set(all_pids())
    seen: Counter[tuple[str, tuple[int, ...]]] = Counter()  # in how many looks in a row, by subject
    for _ in range(2 * LOOKS):
        found = find(group, signum, head)
        suspicious = [finding for finding in found if _must_last(finding)]
        seen = Counter({subject: 1 + seen[subject] for subject in map(_subject, suspicious)})
        if all(times >= LOOKS for times in seen.values()):
            break
        sleep(APART)
        suspects = {pid for finding in suspicious for pid in finding.pids}
        new = set(all_pids()) - before
        before |= new
        now = look(suspects | new)
        group = {pid: member for pid, member in group.items() if pid not in suspects}
        family = {*group, *suspects}
        group |= {pid: member for pid, member in now.items() if pid in suspects or member.parent in family}
        head = head and group.get(head.pid)
        if had_head and (head or init_of(group)) is None:
            return []  # the namespace has gone
    return [finding for finding in found if not _must_last(finding) or seen[_subject(finding)] >= LOOKS]


def _subject(finding: Finding) -> tuple[str, tuple[int, ...]]:
    """Return what a finding is about, to know it again."""
    return SAME.get(finding.kind, finding.kind), finding.pids[:1]


def _must_last(finding: Finding) -> bool:
    return finding.is_problem or finding.kind == "unseen"


def find(group: Mapping[int, Member], signum: int, head: Member | None = None) -> list[Finding]:
    """Return the findings of this moment, whether they last or not."""
    group = {pid: member for pid, member in group.items() if pid != os.getpid()}
    head = head or init_of(group)
    unseen = _unseen(head, group, signum)
    if head is None or any(head.pid in finding.pids for finding in unseen):
        return [*unseen, *_zombies(head, group), *_in_the_kernel(group)]
    found = [
        finding._replace(advice=_advice(group[finding.pids[0]], head, group, signum))
        if finding.advice == ADVISE
        else finding
        for finding in _stop(head, group, signum)
    ]
    return [*unseen, *found, *_zombies(head, group), *_in_the_kernel(group)]


def _unseen(head: Member | None, group: Mapping[int, Member], signum: int) -> list[Finding]:
    """Return a finding if this user may not see what a diagnosis needs."""
    if head is None:
        return [Finding("unseen", "PID 1 of this namespace cannot be seen", "", (), False)]
    if is_restricted():
        return [Finding("unseen", "/proc is mounted with hidepid=, so processes may be hidden", "", (), False)]
    hidden = [one for one in below([head.pid], group).values() if one.effect(signum) == UNKNOWN]
    if not hidden:
        return []
    text = f"what these processes do with {signal_name(signum)} cannot be seen: {who(hidden)}"
    return [Finding("unseen", text, "", pids(*hidden), False)]


def _stop(head: Member, group: Mapping[int, Member], signum: int) -> list[Finding]:
    """Return the findings about a stop, if `signum` comes to `head`."""
    if head.is_stopped:
        return [_stopped(head, signum)]
    init = inits.init(head, group, signum)
    if init is None:
        return _by_itself(head, group, signum)
    return _by_init(init, group, signum, drains=init.own is not None)


def _stopped(member: Member, signum: int) -> Finding:
    by, advice = "", f"kill -CONT {member.pid}"
    if member.state == "t":
        by, advice = " by a debugger", "end the debugger; see TracerPid in proc_pid_status(5)"
    text = f"PID {member.pid}, {member.name}, is stopped{by}, and takes {signal_name(signum)} when it is continued"
    return Finding("stopped", text, advice, pids(member))


def _by_itself(head: Member, group: Mapping[int, Member], signum: int) -> list[Finding]:
    """Return the findings about a program that is no init."""
    does, title = head.effect(signum), _title(head)
    running = _living(children(head, group))
    if does in (CAUGHT, TAKEN):
        return _waiting_shell(head, running, group, signum) + _node(head, signum)
    if does == ENDS:  # it is not PID 1 of its namespace
        return _cut_off(head, head, group, signum, (), "the engine ends the rest")
    if does not in HEEDLESS:
        return []
    if does == BLOCKED and head.process.catches(signum):
        return [_holds_off(head, signum)]
    what = f"{HEEDLESS[does]} {signal_name(signum)}"
    if is_shell(head) and running:
        text = f"{title} is a shell, which {what}, and what it runs gets none: {who(running)}"
        return [Finding("shell", text, ADVISE, pids(head, *running))]
    text = f"{title}, {head.name}, {what}, which does not stop it"
    return [Finding("deaf-init", text, ADVISE, pids(head))]


def _holds_off(member: Member, signum: int) -> Finding:
    name = signal_name(signum)
    text = f"PID {member.pid}, {member.name}, has a handler for {name}, but blocks it now, and acts when that is over"
    return Finding("blocked", text, "", pids(member), False)


def _node(head: Member, signum: int) -> list[Finding]:
    """Return a note about node as PID 1. Its own handler ends node by the signal, which PID 1 does not get."""
    if head.name != "node" or not head.is_init:
        return []
    name = signal_name(signum)
    text = f"PID 1 is node, which stops by {name} only if its program has a handler for {name}"
    return [Finding("trap", text, "`pyinit --` as ENTRYPOINT", pids(head), False)]


def _by_init(
    init: Init, group: Mapping[int, Member], signum: int, *, drains: bool, reached: frozenset[int] = frozenset()
) -> list[Finding]:
    """Return the findings about an init, or a relay, that forwards to its main child.

    `drains` says whether this or an init above it is a pyinit, which signals what the main child leaves behind.
    `reached` are the PIDs that an init above it has signalled.
    """
    title, main, name = f"{_title(init.member)}, {init.name}", init.main, signal_name(signum)
    if not init.outgoing:
        text = f"{title}, drops {name}, as its options say"
        return [Finding("no-stop", text, "another STOPSIGNAL, or without that rewriting", pids(init.member))]
    if init.pauses and signum not in inits.PAUSES:
        text = f"{title}, has no command, and does not end by {name}"
        return [Finding("no-stop", text, "STOPSIGNAL SIGTERM", pids(init.member))]
    if main is None:
        return _of_pyinit(init, group, signum)
    if main.is_stopped:
        return [_stopped(main, signum)]
    reached |= {one.pid for one in group.values() if init.reaches(one)}
    does = main.effect(init.sent)
    if does in (IGNORED, BLOCKED):
        found = _heedless(init, reached, group, signum)
        return found if any(finding.is_problem for finding in found) else found + _of_pyinit(init, group, signum)
    found = _of_pyinit(init, group, signum)
    inner = inits.init(main, group, init.sent)
    if inner is not None:
        return found + _by_init(inner, group, init.sent, drains=drains or inner.own is not None, reached=reached)
    if does == ENDS and init.sent not in (signum, signal.SIGTERM) and main.acts_on(signum):
        text = f"{title}, sends {signal_name(init.sent)} in place of {name}, which PID {main.pid}, {main.name}, acts on"
        found.insert(0, Finding("untold", text, "without that rewriting", pids(main)))
    elif does == ENDS and not drains:
        found = _cut_off(main, init.member, group, init.outgoing, reached, f"{init.name} ends with it") + found
    elif does in (CAUGHT, TAKEN):
        found = _acting(init, reached, group, drains=drains) + found
    return found


def _acting(init: Init, reached: frozenset[int], group: Mapping[int, Member], *, drains: bool) -> list[Finding]:
    """Return the findings about a main child that acts on the signal, and about the others."""
    main, name, found = init.main, signal_name(init.sent), []
    assert main is not None
    running = _living(children(main, group))
    unreached = [one for one in running if one.pid not in reached]
    if unreached:
        found += _waiting_shell(main, unreached, group, init.sent)
    elif not drains and is_shell(main) and any(one.acts_on(init.outgoing) for one in running):
        text = f"PID {main.pid}, {main.name}, is a shell with a trap for {name}. If that does not wait for what the "
        text += f"shell runs, {init.name} ends with it, and cuts these short: {who(running)}"
        found.append(Finding("trap", text, "", pids(main, *running), False))
    family = below([main.pid], group)
    strays = [
        one
        for pid, one in below([init.member.pid], group).items()
        if not (drains or pid in family or pid in reached or one is init.member) and one.acts_on(init.outgoing)
    ]
    if strays:
        text = f"{init.name} does not signal {who(strays)}: SIGKILL ends what PID {main.pid}, {main.name}, leaves"
        found.append(Finding("trap", text, "", pids(*strays), False))
    return found + _killed_by_su(init, signal_name(init.sent))


def _killed_by_su(init: Init, name: str) -> list[Finding]:
    """Return a note if the relay is su(1), which sends its child SIGKILL soon after the signal `name`."""
    if init.name not in inits.SU or init.main is None:
        return []
    text = f"{init.name} sends SIGKILL to PID {init.main.pid}, {init.main.name}, 2 s after {name}"
    return [Finding("killed", text, "", pids(init.main), False)]


def _heedless(init: Init, reached: frozenset[int], group: Mapping[int, Member], signum: int) -> list[Finding]:
    """Return the finding about a main child that ignores or blocks what its init sends."""
    main, sent = init.main, init.sent
    assert main is not None
    if init.own is not None and init.own.kill_after is not None and init.own.stops(signum):
        return []
    if main.effect(sent) == BLOCKED and main.process.catches(sent):
        return [_holds_off(main, sent)]
    if by_su := _killed_by_su(init, signal_name(signum)):
        return by_su
    what = f"PID {main.pid}, {main.name}, {HEEDLESS[main.effect(sent)]} {signal_name(sent)}"
    if init.passes_over:
        heirs = forecast(init, group, signum).heirs
    else:
        heirs = [one for one in group.values() if one.pid in reached and one.effect(init.outgoing) not in HEEDLESS]
    if heirs:
        text = f"{what}; {init.name} signals what it runs, and then waits for its end: {who(heirs)}"
        return [Finding("passed-over", text, "", pids(main, *heirs), False)]
    return [Finding("deaf", f"{what}, and {init.name} waits for its end", ADVISE, pids(main))]


def _cut_off(
    main: Member, head: Member, group: Mapping[int, Member], signum: int, reached: Collection[int], why: str
) -> list[Finding]:
    """Return the findings if the end of `main`, which dies of the signal, costs others below `head` their own end."""
    rest = [one for one in below([head.pid], group).values() if one not in (main, head) and one.acts_on(signum)]
    name, found = signal_name(signum), []
    if untold := [one for one in rest if one.pid not in reached]:
        text = f"PID {main.pid}, {main.name}, gets {name} and dies of it; {why}, and SIGKILL ends {who(untold)}"
        found.append(Finding("untold", text, ADVISE, pids(main, *untold)))
    if cut := [one for one in rest if one.pid in reached]:
        text = f"PID {main.pid}, {main.name}, dies of {name}; {why}, before these have acted on it: {who(cut)}"
        found.append(Finding("cut-short", text, ADVISE, pids(main, *cut)))
    return found


def _waiting_shell(shell: Member, running: list[Member], group: Mapping[int, Member], signum: int) -> list[Finding]:
    """Return a finding about a shell that has a handler for the signal, and runs processes that do not get it.

    A shell runs its trap when its foreground command has ended, or at once if it is in `wait`. /proc tells which only
    of dash and busybox. For SIGINT every shell has a handler, which does nothing while a foreground command runs. A
    command in the background ignores SIGINT, unless it has a handler of its own.
    """
    if not (is_shell(shell) and running):
        return []
    name, title = signal_name(signum), _title(shell)
    is_in_wait = b"sigsuspend" in where_it_waits(shell.pid)
    if signum == signal.SIGINT and not (shell.process.catches(signal.SIGTERM) or is_in_wait):
        heeding = [one for one in below(pids(*running), group).values() if one.effect(signum) not in HEEDLESS]
        if not heeding:
            return []
        text = f"{title}, {shell.name}, is a shell, and what it runs does not get {name}: {who(heeding)}"
        return [Finding("shell", text, ADVISE, pids(shell, *running))]
    text = f"{title}, {shell.name}, is a shell with a trap for {name}. It acts when its foreground command ends, or at "
    text += f"once if it is in `wait`; what it runs does not get {name}: {who(running)}"
    return [Finding("trap", text, "", pids(shell, *running), False)]


def _of_pyinit(init: Init, group: Mapping[int, Member], signum: int) -> list[Finding]:
    """Return what this pyinit would do; none if it is another init."""
    own, told, main, name = init.own, init.told, init.main, signal_name(init.outgoing)
    if own is None:
        return []
    title, found = f"{_title(init.member)}, pyinit", []
    if main is None and not init.pauses:
        why = "lost its command"
        if told is not None and 0 < told.stop < signal.NSIG:
            why = f"stops because of {signal_name(told.stop)}"
        left = _living(one for one in group.values() if one is not init.member and not inits.is_adviser(one))
        found.append(Finding("draining", f"{title}, {why}; still there: {who(left)}", "", pids(*left), False))
    if not own.stops(signum):
        text = f"{title}, forwards {name}, but takes it for no stop signal"
        return [
            *found,
            Finding("no-stop", text, "TERM, INT and QUIT are, and what -r makes of one", pids(init.member), False),
        ]
    coming = forecast(init, group, signum)
    return [*found, *_order(title, own.kill_after, coming), *_the_end(title, coming)]


def _order(title: str, kill_after: float | None, coming: Forecast) -> list[Finding]:
    """Return the finding that says whom pyinit signals."""
    shown = ", then ".join(who(some) for some in coming.rounds[:MOST_NAMED])
    shown += ", ..." if len(coming.rounds) > MOST_NAMED else ""
    bound = f"; SIGKILL {kill_after:g} s after the signal" if kill_after is not None else ""
    told = pids(*(member for some in coming.rounds for member in some))
    return [Finding("order", f"{title}, signals {shown or 'nobody'}{bound}", "", told, False)]


def _the_end(title: str, coming: Forecast) -> list[Finding]:
    """Return the findings about those that do not end by the signal."""
    found = []
    if lost := [one for one in coming.unsignalled if one.acts_on(signal.SIGTERM)]:
        text = f"{title}, sends SIGKILL to these without a stop signal before it, as its options say: {who(lost)}"
        found.append(Finding("untold", text, "a longer -t or -k", pids(*lost)))
    if endless := [one for one in coming.endless if one.effect(signal.SIGTERM) == BLOCKED]:
        text = f"{title}, waits for these, which block the signal: {who(endless)}"
        can_act = any(one.process.catches(signal.SIGTERM) for one in endless)
        found.append(Finding("deaf", text, "" if can_act else BOUND, pids(*endless), not can_act))
    killed = [one for one in coming.killed if one not in lost]
    if killed:
        text = f"{title}, sends SIGKILL after {coming.seconds:g} s to those that do not heed the signal: {who(killed)}"
        found.append(Finding("killed", text, "", pids(*killed), False))
    return found


def _advice(main: Member, head: Member | None, group: Mapping[int, Member], signum: int) -> str:
    """Return what would help if `main` does not stop by the signal, or takes others with it. `head` is what gets it."""
    name, does = signal_name(signum), main.effect(signum)
    running = _living(children(main, group))
    found = []
    if is_shell(main) and len(running) == 1 and running[0].acts_on(signum) and running[0].words:
        found.append("the exec form, or `exec` in the script")
    pyinit = inits.default_pyinit(main, signum)
    if not any(finding.is_problem for finding in _by_init(pyinit, group, signum, drains=True)):
        found.append(_pyinit_as(main, head))
    alone = all(one is main or one.is_zombie for one in below([main.pid], group).values())
    if alone and not is_shell(main):
        found += [
            f"STOPSIGNAL {signal_name(other)}, which {main.name} catches"
            for other in INSTEAD
            if other != signum and main.acts_on(other) and main.name != "node"
        ][:1]
        if does in HEEDLESS and not main.process.catches(signum):
            found.append(f"a handler for {name} in it")
    if len(found) < 2 and does in (IGNORED, BLOCKED):
        is_stop = signum in STOP_SIGNALS
        found.append(BOUND if is_stop else f"a bound: `pyinit -r {name.removeprefix('SIG')}:TERM -k SECONDS --`")
    return "; or ".join(found)


def _pyinit_as(main: Member, head: Member | None) -> str:
    """Return where pyinit would help: before `main`, which `head` signals now."""
    if head is None or head is main:
        return "`pyinit --` as ENTRYPOINT"
    return "`pyinit --` without its options" if head.name == inits.PYINIT else f"`pyinit --` in place of {head.name}"


def _zombies(head: Member | None, group: Mapping[int, Member]) -> list[Finding]:
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
        if debtor is head:
            text = f"{count} of {_title(head)}, {head.name}, which has not reaped: {numbers(zombies)}"
            advice = "`pyinit --` as ENTRYPOINT if they are orphans; if PID 1 has started them, it has to wait for them"
            found.append(Finding("zombies-of-init", text, advice, pids(head, *zombies)))
        else:
            text = f"{count} of PID {debtor.pid}, {debtor.name}, which lives and has not reaped: {numbers(zombies)}"
            found.append(Finding("zombies", text, "a fault of its own: no init mends it", pids(debtor, *zombies)))
    return found


def _in_the_kernel(group: Mapping[int, Member]) -> list[Finding]:
    """Return a finding for each process in state D.

    It is no problem: the state may last a moment, and most such processes die of SIGKILL all the same.
    """
    text = "PID {}, {}, is in state D: it takes no signal before the kernel has done something for it"
    return [
        Finding("uninterruptible", text.format(member.pid, member.name), "", pids(member), False)
        for member in group.values()
        if member.state == "D"
    ]


def _title(member: Member) -> str:
    return "PID 1" if member.is_init else f"PID {member.pid}"


def _living(some: Iterable[Member]) -> list[Member]:
    return [one for one in some if not one.is_zombie]


def is_shell(member: Member) -> bool:
    """Return whether it is a shell, by the first word of its command.

    Its name does not tell: the name of a shell that runs a script is the script's.
    """
    first = [word.rpartition("/")[2].removeprefix("-") for word in member.words[:2]]
    if first[:1] == ["busybox"]:
        return first[1:2] in (["sh"], ["ash"], ["hush"])
    return first[:1] != [] and first[0] in SHELLS


def who(some: Iterable[Member]) -> str:
    """Return PIDs and names, such as `4242 (redis-server), 4243 (sh)`."""
    return _few(f"{member.pid} ({member.name})" for member in some)


def numbers(some: Iterable[Member]) -> str:
    return _few(str(member.pid) for member in some)


def _few(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join([*found[:MOST_NAMED], "..."] if len(found) > MOST_NAMED else found)


def pids(*some: Member) -> tuple[int, ...]:
    return tuple(member.pid for member in some)
