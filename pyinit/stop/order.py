"""The order of the stop signal: which processes get it next.

Nothing here makes a system call or reads a clock. Drain.step() is a function of a look at /proc and of the time.

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

import _signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ..family import Targets
    from ..family.proc import Process
    from . import Stop
    from .drain import Look

    Birth = tuple[int, int]

LOOK_AGAIN = 1.0  # seconds between two looks at /proc; also what a reader gets after its last writer has ended


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


class Drain:
    """The leftover processes, and which of them pyinit has signalled: it signals each process once.

    The sets name a process by its birth; see Process.birth.
    """

    def __init__(self, stop: "Stop", targets: "Targets") -> None:
        self.stop, self.targets = stop, targets
        self.signum = stop.drain_signal()
        self.called = False  # whether the last call has been made
        self.seems_over = False  # whether more time would end no process that the last look has shown
        self.seen: set[Birth] = set()
        self.signalled: set[Birth] = set()
        self.ignored: set[Birth] = set()  # those that were deaf to it when first seen, or in their turn
        self.blocked: set[Birth] = set()  # those that ignored and blocked it when they got it
        self.ended_input: dict[int, float] = {}  # PIDs of readers whose pipe has no writer, and since when

    def is_last_call(self, now: float) -> bool:
        """Return whether it is time to signal every process that has not been signalled."""
        last_call = self.stop.last_call()
        return last_call is not None and now >= last_call and not self.called

    def step(self, look: "Look", now: float) -> "list[tuple[int, list[int]]]":
        """Return what to do after a `look`: signals, each with the PIDs that get it, in this order.

        `now` is a time of monotonic(3), in seconds. At the last call every process gets the stop signal that has not
        got it. If the sender of the stop signal sets the deadline, the drain goes on after the grace. If two looks show
        then that every process is deaf or stopped, the time is over. One look can miss a process that loses its parent.
        """
        is_last = self.is_last_call(now)
        self.called = self.called or is_last
        late = now >= self.stop.grace_over
        fresh = self.meet(look.left.values())
        aloof = self.deaf(look, late=late)
        if late:  # unshare(1) is such a process: it blocks SIGTERM as long as its child lives
            aloof |= {process.birth for process in look.left.values() if self.holds_off(look, process)}
        actions = self.signals(look.left.values() if is_last else self.whose_turn(look, aloof, now))
        seemed_over, self.seems_over = self.seems_over, late and self.is_over(look)
        if seemed_over and self.seems_over:
            self.stop.expire()
        return [*actions, (_signal.SIGCONT, fresh)]

    def meet(self, left: "Iterable[Process]") -> list[int]:
        """Return the PIDs of the processes that are new.

        Remember which of them ignore the signal, and which have got the stop signal that pyinit forwarded. A look can
        miss a process, so some are new at a later look.
        """
        fresh = [process for process in left if process.birth not in self.seen]
        when = self.targets.newest_signalled
        for process in fresh:
            self.seen.add(process.birth)
            if process.is_deaf_to(self.signum_for(process)):
                self.ignored.add(process.birth)
            if when is not None and was_signalled(
                process, self.targets.scope, self.targets.child.group, self.stop.signum, when
            ):
                self.signalled.add(process.birth)
        return [process.pid for process in fresh]

    def deaf(self, look: "Look", *, late: bool) -> "set[Birth]":
        """Return the births of the processes that do not heed the signal, as far as this can be known.

        If it is `late`, processes that got the signal in vain are among them.
        """
        return {
            process.birth
            for process in look.left.values()
            if (process.birth in self.ignored and process.ignores(self.signum_for(process)))
            or (late and self.is_out_of_reach(look, process))
        }

    def signals(self, due: "Iterable[Process]") -> "list[tuple[int, list[int]]]":
        """Return the stop signals for the `due` processes, except for those that are deaf to it or have got it."""
        found: dict[int, list[int]] = {}
        for process in due:
            signum = self.signum_for(process)
            if process.is_deaf_to(signum):
                self.ignored.add(process.birth)
            elif process.birth not in self.signalled:
                self.signalled.add(process.birth)
                if process.ignores(signum):
                    self.blocked.add(process.birth)
                found.setdefault(signum, []).append(process.pid)
        return list(found.items())

    def signum_for(self, process: "Process") -> int:
        """Return the stop signal for `process`: SIGTERM if it ignores the drain's own.

        A shell's background jobs, for example, ignore SIGQUIT, but may heed SIGTERM.
        """
        return _signal.SIGTERM if process.ignores(self.signum) else self.signum

    def whose_turn(self, look: "Look", deaf: "set[Birth]", now: float) -> "list[Process]":
        """Return the processes whose turn it is `now`, a time of monotonic(3) in seconds.

        pyinit has not signalled such a process. Its ancestors, if any are left, are all `deaf`. It does not wait for an
        end of file.
        """
        left = look.left
        unsignalled = [process for process in left.values() if process.birth not in self.signalled]
        heads, readers, writers = next_to_signal(left, unsignalled, deaf, *look.pipes(unsignalled))
        alone = without_writer(readers, writers)
        self.ended_input = {pid: self.ended_input.get(pid, now) for pid in alone}
        ending = {pid for pid, since in self.ended_input.items() if now < since + LOOK_AGAIN}
        return without_waiting(heads, left, deaf, readers, writers, ending)

    def is_out_of_reach(self, look: "Look", process: "Process") -> bool:
        """Return whether `process` has got the stop signal in vain: it is deaf, or cannot be reached."""
        signum = self.signum_for(process)
        was_deaf = process.birth in self.blocked and process.is_deaf_to(signum)
        return process.birth in self.signalled and (was_deaf or look.is_out_of_reach(process, signum))

    def holds_off(self, look: "Look", process: "Process") -> bool:
        """Return whether `process` has got the stop signal, but still blocks it."""
        return process.birth in self.signalled and look.holds_off(process, self.signum_for(process))

    def is_over(self, look: "Look") -> bool:
        """Return whether more time would end no descendant: each is deaf, or stopped by job control."""
        deaf = self.deaf(look, late=True)
        return all(process.state == "T" or process.birth in deaf for process in look.descendants())
