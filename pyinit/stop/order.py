"""The order of the stop signal: which processes get it next.

These are pure functions of what was read from /proc.

pyinit sends the stop signal to each process once. If an ancestor of a process will end, pyinit signals the ancestor
first. An ancestor that manages its processes signals them itself, and pyinit must not do it behind its back. Any other
ancestor leaves them behind, and pyinit signals them afterwards.

pyinit signals a pipeline from its head. A process that reads its stdin from a pipe gets end of file when the writers
have ended. If pyinit signalled the reader together with the writers, the reader would end first, and the next write
would end the writers.

A deaf process is one that does not heed the signal. The guardian of a process is its uppermost ancestor, among the
leftover processes, that is not deaf. If there is none, the process is its own guardian. A set names a process by its
birth; see Process.birth.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..family.proc import Process

    Birth = tuple[int, int]


def was_signalled(process: "Process", scope: str, group: int, signum: int, when: "Birth") -> bool:
    """Return whether `process`, which the main child has left behind, has got the forwarded stop signal.

    pyinit forwarded `signum` to the `scope`: child, group or all. `group` is the main child's process group. `when` is
    the birth of the newest process at that time. A process that was forked later has not got the signal. A process that
    is deaf to it does not count as signalled.
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
    """Return the heads, the readers among them, and the writers.

    The heads are those of the `unsignalled` that are their own guardian. `left` are all leftover processes by PID.
    `readers` and `written` are the pipes of processes, as family.proc.pipes() returns them. The writers are guardians,
    as wait_for_end_of_file() takes them.
    """
    found = left_to(left, deaf)
    # A reader ends when its input ends. If its own children write that input, it cannot be the guardian of any process.
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
    """Return the `heads`, except the `readers` that wait for the end of their input.

    The `ending`, whose input has just ended, are left out too. `readers` and `writers` are as in
    wait_for_end_of_file().
    """
    going = [pid for pid in writers if pid not in readers and left[pid].birth not in deaf]
    waiting = wait_for_end_of_file(readers, writers, {*ending, *going}).union(ending)
    return [process for process in heads if process.pid not in waiting]


def left_to(everyone: "Mapping[int, Process]", deaf: "Collection[Birth]") -> dict[int, int]:
    """Return the PID of each process's guardian, by the PID of the process."""
    return {pid: _left_to(process, everyone, deaf).pid for pid, process in everyone.items()}


def _left_to(process: "Process", everyone: "Mapping[int, Process]", deaf: "Collection[Birth]") -> "Process":
    found = process
    for _ in everyone:  # a bound, because PIDs that the kernel reuses while /proc is read can make a circle
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
    """Return the PIDs of the `readers` that wait for a process that will end.

    `readers` are PIDs with the pipe on their stdin. `writers` are PIDs of guardians with the pipes that the guardian
    and those below it can write to. None in place of these pipes means that they are not known, so it may be any pipe.
    `going` are the PIDs of the processes that will end: they get the stop signal, or their input has ended. A reader
    that waits for a waiting reader waits too. Readers in a circle, such as two coprocesses, do not wait.
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
    """Return the PIDs of the `readers` that have no writer any more. The arguments are as in wait_for_end_of_file()."""
    return {reader for reader, pipe in readers.items() if not _writers_of(reader, pipe, writers)}


def _writers_of(reader: int, pipe: str, writers: "Mapping[int, Collection[str] | None]") -> set[int]:
    return {pid for pid, pipes in writers.items() if pid != reader and (pipes is None or pipe in pipes)}


def descendants(ancestor: int, everyone: "Mapping[int, Process]") -> "list[Process]":
    """Return those of `everyone` that descend from the PID `ancestor`.

    A process that came into the PID namespace by setns(2) is not among them.
    """
    family = {ancestor}
    while more := {pid for pid, process in everyone.items() if process.parent in family} - family:
        family |= more
    return [process for pid, process in everyone.items() if pid in family]
