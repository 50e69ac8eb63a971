"""The order of the stop signal: which processes get it next.

Nothing here makes a system call or reads a clock. Drain.step() gets a look at /proc and the time. All this takes time
in proportion to the number of processes and pipes.

Each stop signal that comes in reaches each process at most once. If an ancestor of a process will end, pyinit signals
the ancestor first. An ancestor that manages its processes signals them itself, and pyinit must not do it behind its
back. Any other ancestor leaves them behind, and pyinit signals them afterwards.

pyinit signals a pipeline from its head. A process that reads its stdin from a pipe gets end of file when the writers
have ended. If pyinit signalled the reader together with the writers, the reader would end first, and the next write
would end the writers. A reader without a handler is finishing its work once its input has ended, and the signal would
only kill it. So pyinit leaves it alone for the time of the grace, and its children without a handler too.

A deaf process is one that does not heed the signal. pyinit passes over a process that is deaf, that is finishing, or
whose own children write its input. Of the ancestors of a process that are left, and that are not passed over, the
uppermost is the guardian of the process. If there is none, the process is its own guardian. A birth names a process;
see Process.birth.
"""

import _signal

from . import DRAINING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import TypeAlias

    from ..family import Targets
    from ..family.proc import Process
    from . import Stop
    from .drain import Look

    Birth: TypeAlias = tuple[int, int]
    Pipes: TypeAlias = Collection[str] | None  # None: they are not known, so it may be any pipe

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


def guardians(left: "Mapping[int, Process]", passed: "Collection[int]") -> dict[int, int]:
    """Return the PID of each process's guardian, by the PID of the process; `passed` are the PIDs to pass over."""
    top: dict[int, int] = {}  # the uppermost that is not passed over among a process and its ancestors; 0: none
    for pid in left:
        path = []
        while pid in left and pid not in top:
            top[pid] = 0  # PIDs that the kernel reuses while /proc is read can make a circle
            path.append(pid)
            pid = left[pid].parent
        above = top.get(pid, 0)
        for each in reversed(path):
            above = top[each] = above or (0 if each in passed else each)
    return {pid: top.get(process.parent, 0) or pid for pid, process in left.items()}


class Turn:
    """What one look says about the order.

    `left` are all leftover processes by PID, and `unsignalled` are some of them. `deaf` are births. `readers` are PIDs
    with the pipe on their stdin, and `written` are PIDs with the pipes that they can write to, as family.pipes.pipes()
    returns them. `may_finish` says whether a reader, whose input has ended, may finish its work, and `finishes` whether
    a process below it may. A reader may not finish if it runs a process with a handler: xargs would run the next one.

    The heads are those of the `unsignalled` that are their own guardian. `alone` are the PIDs of heads that read a pipe
    without a writer, and wait a while. `ended` are the PIDs of those that finish, and `finishing` are these and the
    processes below them.
    """

    def __init__(
        self,
        left: "Mapping[int, Process]",
        unsignalled: "Collection[Process]",
        deaf: "Collection[Birth]",
        readers: "Mapping[int, str]",
        written: "Mapping[int, Pipes]",
        may_finish: "Callable[[Process], bool]" = lambda _: False,
        finishes: "Callable[[Process], bool]" = lambda _: False,
    ) -> None:
        self.left, self.unsignalled, self.all_readers, self.written = left, unsignalled, readers, written
        self.deaf = {pid for pid, process in left.items() if process.birth in deaf}
        self.finishing: set[int] = set()
        self._arrange(self.deaf)
        # A reader ends when its input ends. If its own children write that input, it cannot be anybody's guardian.
        aside = {pid for pid in readers if self._has_a_writing_child(pid)}
        if aside:
            self._arrange(self.deaf | aside)
        self.ended = {pid for pid in self.alone if may_finish(left[pid]) and readers[pid] not in (written[pid] or ())}
        children: dict[int, list[Process]] = {}
        for process in unsignalled if self.ended else ():
            children.setdefault(process.parent, []).append(process)
        runners = {
            pid
            for pid in self.ended
            if any(not (finishes(child) or child.pid in readers) for child in children.get(pid, ()))
        }
        self.ended -= runners
        self.alone -= runners
        if self.ended:
            self._add_finishing(children, finishes)
            self._arrange(self.deaf | aside | self.finishing)
            self.alone -= self.finishing | runners

    def _add_finishing(
        self, children: "Mapping[int, Collection[Process]]", finishes: "Callable[[Process], bool]"
    ) -> None:
        """Find the finishing: the PIDs `ended`, and those of their descendants that finish too."""
        self.finishing, queue = set(self.ended), list(self.ended)
        for pid in queue:  # grows while it is walked
            fresh = [one.pid for one in children.get(pid, ()) if one.pid not in self.finishing and finishes(one)]
            self.finishing.update(fresh)
            queue += fresh

    def _arrange(self, passed: set[int]) -> None:
        """Find the heads, the readers among them and the writers."""
        self.guardian = guardians(self.left, passed)
        self.heads = [process for process in self.unsignalled if self.guardian[process.pid] == process.pid]
        self.readers = {head.pid: self.all_readers[head.pid] for head in self.heads if head.pid in self.all_readers}
        self.writers: dict[str, dict[int, int]] = {}  # by pipe: how many processes of each guardian can write to it
        self.unknown: set[int] = set()  # guardians that may write to any pipe
        for pid, pipes in self.written.items():
            guardian = self.guardian[pid]
            if pipes is None:
                self.unknown.add(guardian)
            for pipe in pipes or ():
                count = self.writers.setdefault(pipe, {})
                count[guardian] = count.get(guardian, 0) + 1
        self.alone = {pid for pid, pipe in self.readers.items() if not self._has_writer(pid, pipe)}

    def _has_a_writing_child(self, pid: int) -> bool:
        """Return whether a process that is left to the reader `pid` writes what it reads."""
        pipe = self.all_readers[pid]
        itself = self.guardian[pid] == pid and pipe in (self.written[pid] or ())
        return self.writers.get(pipe, {}).get(pid, 0) > itself

    def _has_writer(self, pid: int, pipe: str) -> bool:
        """Return whether another guardian than the reader `pid` may write to `pipe`."""
        return any(writer != pid for found in (self.writers.get(pipe, ()), self.unknown) for writer in found)

    def waiting(self, ending: "Iterable[int]" = ()) -> set[int]:
        """Return the PIDs of the readers that wait for a process that will end.

        The processes that will end are those that get the signal, those that finish, and the `ending`, which are PIDs
        of readers whose input has just ended. A reader that waits for a waiting reader waits too. Readers in a circle,
        such as two coprocesses, do not wait, but a reader of theirs that is not in the circle does.
        """
        writes: dict[int, list[str]] = {}
        for pipe, guardians in self.writers.items():
            for guardian in guardians:
                writes.setdefault(guardian, []).append(pipe)
        not_yet: dict[str, list[int]] = {}  # the readers of each pipe that no source has reached
        for pid, pipe in self.readers.items():
            not_yet.setdefault(pipe, []).append(pid)
        going = [pid for pid in {*writes, *self.unknown} if pid not in self.readers and pid not in self.deaf]
        sources = [*going, *ending, *self.finishing, *(pid for pid in self.readers if self._is_free(pid))]
        found: set[int] = set()
        for source in sources:  # grows while it is walked
            for pipe in list(not_yet) if source in self.unknown else writes.get(source, ()):
                fresh = [pid for pid in not_yet.get(pipe, ()) if pid != source]
                if fresh:
                    rest = [pid for pid in not_yet.pop(pipe) if pid == source]
                    if rest:
                        not_yet[pipe] = rest
                    found.update(fresh)
                    sources += fresh
        return found | self._behind_circles(set(self.readers).difference(sources), writes)

    def _is_free(self, pid: int) -> bool:
        """Return whether no process that heeds the signal writes what the reader `pid` reads."""
        both = (self.writers.get(self.readers[pid], ()), self.unknown)
        return all(writer == pid or writer in self.deaf for found in both for writer in found)

    def _behind_circles(self, rest: set[int], writes: "Mapping[int, Collection[str]]") -> set[int]:
        """Return those of the `rest`, each of which reads from another of them, that are in no circle."""
        count: dict[str, int] = {}
        for pid in rest:
            count[self.readers[pid]] = count.get(self.readers[pid], 0) + 1

        def is_read(pid: int) -> bool:
            return any(count.get(pipe, 0) > (self.readers[pid] == pipe) for pipe in writes.get(pid, ()))

        found = {pid for pid in rest if not is_read(pid)}
        queue = list(found)
        for pid in queue:  # grows while it is walked
            pipe = self.readers[pid]
            count[pipe] -= 1
            if count[pipe] <= 1:
                fresh = [one for one in self.writers[pipe] if one in rest and one not in found and not is_read(one)]
                found.update(fresh)
                queue += fresh
        return found

    def due(self, ending: "Collection[int]" = ()) -> "list[Process]":
        """Return the heads whose turn it is. The `ending` are PIDs of readers whose input has just ended."""
        waiting = self.waiting(ending).union(ending, self.finishing)
        return [process for process in self.heads if process.pid not in waiting]


class Drain:
    """The processes below pyinit, and which of them have got the last stop signal. The sets are births.

    If the main child still lives, it has got the signal itself. It holds its descendants back unless it is deaf.
    """

    def __init__(self, stop: "Stop", targets: "Targets") -> None:
        self.stop, self.targets = stop, targets
        self.signum = 0  # the stop signal that the processes get now
        self.count = -1  # how many stop signals had come in when this one began
        self.called = False  # whether the last call has been made
        self.seems_over = False  # whether more time would end no process that the last look has shown
        self.known: dict[int, tuple[set[Birth], set[Birth], set[Birth]]] = {}  # by signal: the next three
        self.seen: set[Birth] = set()
        self.ignored: set[Birth] = set()  # those that were deaf to this signal when first seen, or in their turn
        self.got: set[Birth] = set()  # those that have got this signal, perhaps more than once
        self.signalled: set[Birth] = set()
        self.blocked: set[Birth] = set()  # those that ignored and blocked it when they got it
        self.ended_input: dict[str, float] = {}  # pipes that have a reader and no writer, and since when

    def has_news(self) -> bool:
        """Return whether a stop signal has come that no process has got yet."""
        return self.count != self.stop.count

    def begin(self) -> None:
        """Begin with the last stop signal, which no process has got from step() yet.

        If pyinit drained without having been asked to, and the first stop signal is the same that the processes have
        got, they do not get it again. A process that began to ignore a signal because of an earlier one is not deaf.
        """
        before, self.count = self.count, self.stop.count
        signum = self.stop.drain_signal()
        if before != 0 or signum != self.signum:
            self.signum = signum
            self.seen, self.ignored, self.got = self.known.setdefault(signum, (set(), set(), set()))
            self.signalled, self.blocked = set(), set()
            self.called = self.seems_over = False

    def is_last_call(self, now: float) -> bool:
        """Return whether it is time to signal every process that has not been signalled."""
        last_call = self.stop.last_call()
        return last_call is not None and now >= last_call and not self.called

    def step(self, look: "Look", now: float) -> "list[tuple[int, list[int]]]":
        """Return what to do after a `look`: signals, each with the PIDs that get it, in this order.

        `now` is a time of monotonic(3), in seconds. At the last call every process gets the stop signal that has not
        got it, unless it is finishing. If only the sender of the stop signal limits the drain, it goes on after the
        grace, until two looks in a row show only processes that are deaf or stopped. One look can miss a process that
        loses its parent.
        """
        if self.has_news():
            self.begin()
        is_last = self.is_last_call(now)
        self.called = self.called or is_last
        late = self.stop.phase == DRAINING and now >= self.stop.grace_over
        fresh = self.meet(look.left.values())
        deaf = self.deaf(look, late=late)
        aloof = set(deaf)
        if late:  # unshare(1) is such a process: it blocks SIGTERM as long as its child lives
            got = [process for process in look.left.values() if process.birth in self.signalled]
            aloof |= {process.birth for process in got if look.holds_off(process, self.signum_for(process))}
        actions = self.signals(self.whose_turn(look, aloof, now, is_last=is_last))
        is_over = late and all(one.state == "T" or self.is_deaf(one, deaf) for one in look.left.values())
        seemed_over, self.seems_over = self.seems_over, is_over
        if seemed_over and is_over:
            self.stop.expire()
        return [*actions, (_signal.SIGCONT, fresh)]

    def meet(self, left: "Iterable[Process]") -> list[int]:
        """Return the PIDs of the processes that are new, so they get SIGCONT.

        Remember which of them ignore the signal, and which have got the stop signal that pyinit forwarded. A look can
        miss a process, so some are new at a later look.
        """
        targets, when = self.targets, self.targets.newest_signalled
        fresh = [process for process in left if process.birth not in self.seen]
        for process in fresh:
            self.seen.add(process.birth)
            if process.pid == targets.child.pid:
                self.signalled.add(process.birth)
                if targets.child_is_deaf:
                    self.ignored.add(process.birth)
                continue
            if process.is_deaf_to(self.signum_for(process)):
                self.ignored.add(process.birth)
            if when is not None and was_signalled(
                process, targets.scope_of(self.signum), targets.child.group, self.signum, when
            ):
                self.signalled.add(process.birth)
        return [process.pid for process in fresh if process.pid != targets.child.pid]

    def deaf(self, look: "Look", *, late: bool) -> "set[Birth]":
        """Return the births of the processes that do not heed the signal, as far as this can be known.

        If it is `late`, processes that got the signal in vain are among them.
        """
        return {
            process.birth
            for process in look.left.values()
            if self.is_deaf(process) or (late and self.is_out_of_reach(look, process))
        }

    def is_deaf(self, process: "Process", deaf: "Collection[Birth]" = ()) -> bool:
        """Return whether `process` is one of the `deaf`, or was found to be deaf in its turn."""
        return process.birth in deaf or (process.birth in self.ignored and process.is_deaf_to(self.signum_for(process)))

    def signals(self, due: "Iterable[Process]") -> "list[tuple[int, list[int]]]":
        """Return the stop signals for the `due` processes, which have not got it, except for those that are deaf."""
        found: dict[int, list[int]] = {}
        for process in due:
            signum = self.signum_for(process)
            if process.is_deaf_to(signum) and process.birth not in self.got:
                self.ignored.add(process.birth)
            else:
                self.signalled.add(process.birth)
                self.got.add(process.birth)
                if process.ignores(signum):
                    self.blocked.add(process.birth)
                found.setdefault(signum, []).append(process.pid)
        return list(found.items())

    def signum_for(self, process: "Process") -> int:
        """Return the stop signal for `process`: SIGTERM if it ignores the drain's own.

        A shell's background jobs, for example, ignore SIGQUIT, but may heed SIGTERM. SIGINT is only for a process that
        catches it.
        """
        if self.signum == _signal.SIGINT:
            return _signal.SIGINT if process.catches(_signal.SIGINT) else _signal.SIGTERM
        return _signal.SIGTERM if process.ignores(self.signum) else self.signum

    def whose_turn(self, look: "Look", deaf: "set[Birth]", now: float, *, is_last: bool) -> "list[Process]":
        """Return the processes whose turn it is `now`, a time of monotonic(3) in seconds; at the last call, all.

        pyinit has not signalled such a process. Its ancestors, if any are left, are passed over. It does not wait for
        an end of file, and is not finishing. A reader may finish for the time of the grace after the end of its input,
        but not up to a deadline.
        """
        unsignalled = [process for process in look.left.values() if process.birth not in self.signalled]
        limit = now + 1 if self.stop.deadline() is None else self.stop.finish_by

        def finishes(process: "Process") -> bool:
            return self.finishes(look, process)

        def may_finish(process: "Process") -> bool:
            if readers[process.pid] in look.own_pipes:  # its input does not end before pyinit does
                return False
            since = self.ended_input.setdefault(readers[process.pid], now)
            return now < min(limit, since + self.stop.finish_time) and finishes(process)

        readers, written = look.pipes(unsignalled)
        turn = Turn(look.left, unsignalled, deaf, readers, written, may_finish, finishes)
        if is_last:
            return [process for process in unsignalled if process.pid not in turn.finishing]
        for pid in turn.alone:
            self.ended_input.setdefault(readers[pid], now)
        self.ended_input = {pipe: self.ended_input[pipe] for pipe in readers.values() if pipe in self.ended_input}
        return turn.due({pid for pid in turn.alone if now < self.ended_input[readers[pid]] + LOOK_AGAIN})

    def finishes(self, look: "Look", process: "Process") -> bool:
        """Return whether `process`, whose input has ended, only finishes its work: it has no handler for the signal.

        A process that waits for signals has one. While it does, the kernel does not show them as blocked.
        """
        signum = self.signum_for(process)
        return not (process.catches(signum) or process.blocks(signum) or look.waits_for_signals(process))

    def is_out_of_reach(self, look: "Look", process: "Process") -> bool:
        """Return whether `process` has got the stop signal in vain: it is deaf, or cannot be reached."""
        signum = self.signum_for(process)
        was_deaf = process.birth in self.blocked and process.is_deaf_to(signum)
        return process.birth in self.signalled and (was_deaf or look.is_out_of_reach(process, signum))
