"""What an init does with a stop signal, as its command line and its environment say.

Inits are tini, dumb-init, catatonit and pyinit. A relay, such as su(1), is similar: it waits for one child, and passes
a signal on to it.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from signal import SIGINT, SIGTERM
from typing import NamedTuple

from ..base import GROUP, OR_TERM, Options, UsageError, orders
from ..base.signals import signal_number
from ..family import proc
from ..native import WORD, Told
from ..run import options
from ..run.options import Option, take
from .snapshot import BLOCKED, DROPPED, ENDS, IGNORED, Member, children

DUMB_INIT, PYINIT = "dumb-init", "pyinit"
CATATONIT = ("catatonit", "podman-init")
# These forward to their child alone, unless an option says otherwise, and exit when it has ended.
TO_THE_CHILD = ("tini", "tini-static", "docker-init", *CATATONIT)
SU = ("su", "runuser")  # whatever their child does, they end it by SIGKILL 2 s after SIGTERM
RELAYS = (*SU, "sudo")
PAUSES = (SIGTERM, SIGINT)  # what ends an init with -P
# The options of the others. A name that only pyinit-ps needs, such as tini's group, is no word that tini knows.
TINI = (*(Option(letter, "", "") for letter in "hvwls"), Option("g", "group", ""), Option("", "version", ""))
TINI += (Option("p", "", "SIGNAL"), Option("e", "", "CODE"))
PEERS = {
    **dict.fromkeys(
        CATATONIT, (*(Option(letter, "", "") for letter in "hLV"), Option("g", "group", ""), Option("P", "pause", ""))
    ),
    DUMB_INIT: (
        *(Option(letter, "", "") for letter in "hvV"),
        Option("c", "single-child", ""),
        Option("r", "rewrite", "SIG:SIG"),
    ),
}


HEEDLESS = {DROPPED: "has no handler for", IGNORED: "ignores", BLOCKED: "blocks"}


class Init(NamedTuple):
    """An init, or a relay, and what it does when a stop signal comes in.

    `member` is its process, and `name` what to call it. It sends `outgoing` to its `main` child, or to all of that
    one's process group if `to_group` is set. `outgoing` is 0 if it drops the signal, and `main` is None if there is
    none (any more). If it is a pyinit, `own` are its options, and `told` is what it has told its adviser, or None if
    it has no adviser.
    """

    member: Member
    name: str
    outgoing: int
    main: Member | None
    to_group: bool = False
    own: Options | None = None
    told: Told | None = None
    order: int = 0  # of a pyinit; see base.orders()
    pauses: bool = False  # it has no command, and ends by some signals

    @property
    def sent(self) -> int:
        """Return what the main child gets: pyinit sends SIGTERM in place of a stop signal that the child ignores."""
        if self.order & OR_TERM and self.main and self.main.process.ignores(self.outgoing):
            return SIGTERM if self.own and self.own.scope in ("", "child") else self.outgoing
        return self.outgoing

    @property
    def passes_over(self) -> bool:
        """Return whether it is a pyinit that signals the children of its main child, because that is deaf."""
        ignores = self.main.process.ignores if self.main else bool
        return bool(self.order & OR_TERM) and ignores(self.outgoing) and ignores(SIGTERM)

    def reaches(self, member: Member) -> bool:
        """Return whether `member` gets the forwarded signal."""
        if member is self.main or (self.own and self.own.scope == "all"):
            return True
        return self.to_group and self.main is not None and member.process.group == self.main.process.group


def init(member: Member, group: Mapping[int, Member], signum: int) -> Init | None:
    """Return what the process does if it is an init or a relay, and None if it is something else.

    A program that the signal ends, or does nothing to, is only called like one. su(1) passes on SIGTERM alone.
    """
    if member.name not in (PYINIT, DUMB_INIT, *TO_THE_CHILD, *RELAYS):
        return None
    if member.effect(signum) in (DROPPED, IGNORED, ENDS):
        return None
    if member.name in RELAYS:
        passes = member.name not in SU or signum == SIGTERM
        return Init(member, member.name, signum, _oldest(children(member, group))) if passes else None
    if member.name == PYINIT:
        return _pyinit(member, group, signum)
    main, pauses = _main_of_peer(member, group), bool(_values(member, "pause"))
    to_group = _signals_the_group(member)
    return Init(member, member.name, _rewritten(member, signum), main, to_group, pauses=pauses)


def _main_of_peer(init: Member, group: Mapping[int, Member]) -> Member | None:
    """Return the child that tini, dumb-init or catatonit was started with.

    It leads a process group. Behind `dumb-init -c` it does not, but it may have the words of the command. If there is
    an older child, the shell that has become the init has started that.
    """
    living = [child for child in children(init, group) if not child.is_zombie]
    _, command = _parsed(init)
    return (
        _oldest(child for child in living if child.process.group == child.pid)
        or _oldest(child for child in living if child.words == command)
        or _oldest(living)
    )


def _oldest(some: Iterable[Member]) -> Member | None:
    """Return the oldest of some processes that live: the one that an init was started with."""
    return min((one for one in some if not one.is_zombie), key=lambda one: one.process.birth, default=None)


def _signals_the_group(init: Member) -> bool:
    """Return whether tini, dumb-init or catatonit signals the whole process group of its child."""
    if init.name == DUMB_INIT:
        return not _values(init, "single-child") and proc.environment(init.pid).get(b"DUMB_INIT_SETSID") != b"0"
    by_variable = init.name not in CATATONIT and b"TINI_KILL_PROCESS_GROUP" in proc.environment(init.pid)
    return by_variable or bool(_values(init, "group"))


def _rewritten(init: Member, signum: int) -> int:
    """Return the signal that an init other than pyinit forwards, or 0 for none: dumb-init rewrites it as -r says."""
    for word in _values(init, "rewrite") if init.name == DUMB_INIT else ():
        came, _, goes = word.partition(":")
        try:
            if signal_number(came) == signum:
                return 0 if goes == "0" else signal_number(goes)
        except ValueError:
            pass
    return signum


def _values(init: Member, name: str) -> list[str]:
    """Return the values of an option of tini, dumb-init or catatonit.

    If the option takes no value, return "" for each time that it is there.
    """
    given, _ = _parsed(init)
    return [value for option, value in given if option.name == name]


def _parsed(init: Member) -> tuple[list[tuple[Option, str]], list[str]]:
    """Return the options of tini, dumb-init or catatonit with their values, and the words of its command."""
    given, rest = [], init.words[1:]
    with suppress(UsageError):  # another program of that name
        for _, option, value in take(rest, PEERS.get(init.name, TINI)):
            given.append((option, value))
    return given, rest


def _pyinit(init: Member, group: Mapping[int, Member], signum: int) -> Init:
    """Return what this pyinit does, as far as its words and its environment may be seen."""
    names = [word.rpartition("/")[2] for word in init.words]
    at = next((place for place, name in enumerate(names) if name in (PYINIT, "pyinit-python")), len(names))
    words = init.words[at + 1 :]
    if words[:1] and words[0].startswith(WORD):
        del words[0]
    try:
        own = options.read(words, proc.environment(init.pid))
    except UsageError:  # another program that is called pyinit
        own = Options()
    inner = next((child for child in children(init, group) if child.is_init), None)
    if own.pid_namespace and inner is not None:  # this is the launcher, and PID 1 below it gets each signal
        return _pyinit(inner, group, signum)
    told = next((word for child in children(init, group) if (word := _told(child)) is not None), None)
    if own.pid_namespace and init.is_init:  # the launcher is the parent of both
        candidates = [member for member in group.values() if member.parent == init.parent and member is not init]
    else:
        candidates = [child for child in children(init, group) if not is_adviser(child)]
    if at and init.is_init and not told:  # Python alone, which says nothing of its drain
        candidates = [member for member in candidates if _leads_its_group(member)]
    main = (_oldest(filter(_leads_its_group, candidates)) or _oldest(candidates)) if not told or told.child else None
    order = orders(own)[signum]
    to_group = own.scope == "group" or bool(order & GROUP)
    return Init(init, PYINIT, own.forwarded(signum) or 0, main, to_group, own, told, order, own.pause and not main)


def default_pyinit(main: Member, signum: int) -> Init:
    """Return what `pyinit --` would do if it were put before `main`."""
    order = orders(Options())[signum]
    return Init(main, PYINIT, signum, main.as_a_child(), bool(order & GROUP), Options(), None, order)


def _leads_its_group(member: Member) -> bool:
    """Return whether it leads a process group, but no session.

    pyinit gives its main child a group. An orphan is in another one's group, or it has made a session.
    """
    return member.process.group == member.pid != member.process.session


def is_adviser(member: Member) -> bool:
    """Return whether it is the adviser of its parent, a pyinit. A stop is not about an adviser."""
    return _told(member) is not None


def _told(member: Member) -> Told | None:
    """Return the word that the C program has given this adviser; None if it is none."""
    word = next((word for word in member.words[:4] if word.startswith(WORD)), None)
    try:
        told = Told(word) if word else None
    except ValueError:  # another program's word that looks the same
        return None
    return told if told is not None and told.pid != member.pids[-1] else None
