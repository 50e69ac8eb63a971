"""Who is told of a stop, and in which order. Pure functions: what they are given was read from /proc.

Called by drain. Everybody is told once. Whoever has a parent that is going is told by that, or afterwards: what manages
processes of its own does not want them told behind its back, and what does not leaves them behind. A pipeline is told
from its head: whoever reads its stdin from a pipe gets end of file when the writers have gone; told with them, it would
go first, and the next write would end them. A process is named by its birth, as Process has it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..family.proc import Process

    Birth = tuple[int, int]


def was_signalled(process: "Process", scope: str, group: int, signum: int, when: "Birth") -> bool:
    """Whether a stop signal that was forwarded has told `process`, which the main child has left behind.

    `scope` and `group` say to whom, `signum` what, and `when` what the latest process was. Whoever was forked later has
    not got it, and whoever ignores it has not been told by it.
    """
    if scope == "child" or (scope == "group" and process.group != group):
        return False
    if process.birth > when:
        return False
    return not process.is_deaf_to(signum)


def next_to_signal(
    left: "Mapping[int, Process]",
    unsignalled: "Collection[Process]",
    deaf: "Collection[Birth]",
    readers: "Mapping[int, str]",
    written: "Mapping[int, Collection[str] | None]",
) -> "tuple[list[Process], dict[int, str], dict[int, Collection[str] | None]]":
    """Those of the `unsignalled` who are left to nobody but the `deaf`; the readers among them; the writers.

    `readers` and `written` are the pipes of processes, as processes.pipes() returns them; the writers are guardians, as
    in wait_for_end_of_file().
    """
    found = left_to(left, deaf)
    # A reader is going when its input ends, and so it is nobody's guardian where its own children write that.
    aside = {
        left[reader].birth
        for reader, pipe in readers.items()
        if any(pid != reader and found[pid] == reader and pipe in (written[pid] or ()) for pid in written)
    }
    if aside:
        found = left_to(left, {*deaf, *aside})
    heads = [process for process in unsignalled if found[process.pid] == process.pid]
    writers: dict[int, Collection[str] | None] = {}
    for pid, mine in written.items():
        others = writers.get(found[pid], ())
        writers[found[pid]] = None if mine is None or others is None else {*mine, *others}
    return heads, {process.pid: readers[process.pid] for process in heads if process.pid in readers}, writers


def without_waiting(
    heads: "Collection[Process]",
    left: "Mapping[int, Process]",
    deaf: "Collection[Birth]",
    readers: "Mapping[int, str]",
    writers: "Mapping[int, Collection[str] | None]",
    ending: "Collection[int]",
) -> "list[Process]":
    """The `heads` but for those `readers` who wait for the end of their input, or have just got it: the `ending`."""
    going = [pid for pid in writers if pid not in readers and left[pid].birth not in deaf]
    waiting = wait_for_end_of_file(readers, writers, {*ending, *going}).union(ending)
    return [process for process in heads if process.pid not in waiting]


def left_to(everyone: "Mapping[int, Process]", deaf: "Collection[Birth]") -> dict[int, int]:
    """By PID, whom each process is left to: the uppermost of itself and those above it who will go."""
    return {pid: _left_to(process, everyone, deaf).pid for pid, process in everyone.items()}


def _left_to(process: "Process", everyone: "Mapping[int, Process]", deaf: "Collection[Birth]") -> "Process":
    found = process
    for _ in everyone:  # PIDs that were given out anew while /proc was read can make a circle
        parent = everyone.get(process.parent)
        if parent is None:
            break
        process = parent
        if process.birth not in deaf:
            found = process
    return found


def wait_for_end_of_file(
    readers: "Mapping[int, str]", writers: "Mapping[int, Collection[str] | None]", going: "Collection[int]"
) -> set[int]:
    """Which of the `readers` wait for somebody who is going.

    `readers` are PIDs with the pipe on their stdin. `writers` are PIDs of guardians with the pipes that they, and those
    below them, can write to, or None, for any, where that is not known. `going` are the PIDs of those who will go: they
    are told, or their input has ended. Whoever waits for somebody that waits is waiting too; readers in a circle, as of
    two coprocesses, are not.
    """
    waiting: set[int] = set()
    while more := {
        reader
        for reader, pipe in readers.items()
        if reader not in waiting and _writers_of(reader, pipe, writers) & waiting.union(going)
    }:
        waiting |= more
    return waiting


def without_writer(readers: "Mapping[int, str]", writers: "Mapping[int, Collection[str] | None]") -> set[int]:
    """Which of the `readers` have no writer any more; the arguments are those of wait_for_end_of_file()."""
    return {reader for reader, pipe in readers.items() if not _writers_of(reader, pipe, writers)}


def _writers_of(reader: int, pipe: str, writers: "Mapping[int, Collection[str] | None]") -> set[int]:
    return {pid for pid, pipes in writers.items() if pid != reader and (pipes is None or pipe in pipes)}


def descendants(ancestor: int, everyone: "Mapping[int, Process]") -> "list[Process]":
    """Those of `everyone` who descend from the PID `ancestor`, and did not come into its namespace by setns(2)."""
    family = {ancestor}
    while more := {pid for pid, process in everyone.items() if process.parent in family} - family:
        family |= more
    return [process for pid, process in everyone.items() if pid in family]
