"""A program that launches itself: it forks, its child goes on as the program, and it becomes pyinit.

The program waits for this module between its first statement and its second, so the module imports next to nothing. The
plan of launch():

1. launch() checks whatever it can before it changes anything.
2. It blocks all signals. They stay blocked in the parent across execve(2), so pyinit takes the signals that come from
   now on.
3. It calls fork(2). The child waits until the parent has closed a pipe. Only then is it certain that pyinit will
   forward, reap and drain, and has left the program's directory. Then the child goes on with the signal mask that the
   program had.
4. The parent becomes the C program, as the waiter, by execve(2), which closes the pipe. If the C program was not built,
   or if an option or a shell's job control needs Python, the parent becomes an isolated Python. One word of its command
   line names its child. It inherits the pipe, and closes it in Init.let_go().
5. If the kernel can execute neither, the parent kills the child, which has done nothing. The parent undoes every
   change, and is the program again.
"""

import _signal
import gc
import os  # it costs nothing: site has already imported it
import posix
import sys

from .. import __path__, native
from ..base import FROM_TERMINAL, OWN_VARIABLE, READERS, VARIABLES, Options, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

SCRIPT = f"{__path__[0]}/bin/pyinit"
ENXIO = 6  # <asm-generic/errno-base.h>
THREAD_ENDS = 0.2  # seconds that the kernel may take to end a thread that Python has joined
# The end of each refusal. The command forks before the program starts, so nothing of the program can break.
ELSE = "start the program behind `pyinit --`"
MOST_VERBOSE = 2  # -vv; more says no more
TRUTH = (lambda value: value in (False, True)), "True or False"
# For each argument that does not become just one word: whether a value fits, and what the argument takes.
TAKES: "dict[str, tuple[Callable[[Any], bool], str]]" = {
    "subreaper": TRUTH,
    "wait_all": TRUTH,
    "warn_on_reap": TRUTH,
    "verbose": (lambda value: isinstance(value, int) and value >= 0, "0, 1 or 2"),
    "rewrite": (lambda value: hasattr(type(value), "items"), 'a mapping, such as {"TERM": "QUIT"}'),
    "remap_exit": (
        lambda value: hasattr(type(value), "__iter__") and not isinstance(value, (str, bytes)),
        "a collection of exit statuses, such as (143,)",
    ),
}

launched = 0  # the PID of the child that goes on as the program


def launch(given: "Mapping[str, object]", *, subreaper: bool) -> bool:
    """Do what pyinit.launch() promises. `given` are those of its arguments that are options."""
    refuse_wrong_types({**given, "subreaper": subreaper})
    words = option_words(given)
    forks = launched != posix.getpid() and (posix.getpid() == 1 or subreaper)
    options, words = checked(words, os.environb if forks else {})
    if not forks:
        return launched == posix.getpid()
    refuse_what_a_fork_breaks()
    refuse_where_python_cannot_be_started()
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ()) & _signal.valid_signals()
    variable = None
    try:
        # A signal handler of the program may run in this call once more, and raise.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        variable = os.environb.pop(OWN_VARIABLE, None)  # neither the program nor pyinit is to read it once more
        fork_and_become(options, words)
    except BaseException:
        if variable is not None:
            os.environb[OWN_VARIABLE] = variable
        raise
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    return True


def refuse_wrong_types(given: "Mapping[str, object]") -> None:
    """Raise TypeError if an argument of launch() cannot have its value.

    run.options checks later the arguments that become one word.
    """
    for name, value in given.items():
        if value is not None and name in TAKES:
            fits, takes = TAKES[name]
            if not fits(value):
                raise TypeError(f"{name} takes {takes}, not {value!r}")


def option_words(given: "Mapping[str, Any]") -> list[str]:
    """Return the arguments of launch(), which have the right types, as words of a command line."""
    words = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if value is None:
            continue
        if name in ("wait_all", "warn_on_reap", "verbose"):
            words += [option] * min(int(value), MOST_VERBOSE)
        elif name == "rewrite":
            words += [f"{option}={came}:{goes}" for came, goes in value.items()]
        elif name == "remap_exit":
            words += [f"{option}={code}" for code in value]
        elif isinstance(value, float):
            words.append(f"{option}={value:.3f}".rstrip("0").rstrip("."))
        else:
            words.append(f"{option}={value}")
    return words


def checked(words: list[str], environ: "Mapping[bytes, bytes]") -> tuple[Options, list[str]]:
    """Return the options in `words` and in `environ`; ValueError if they make no sense.

    Return also `words` with those in PYINIT_OPTIONS before them. Both are without the options that launch() lacks.
    """
    if not words and not any(variable in environ for variable in VARIABLES):
        return Options(), words
    from ..run.options import NOT_OF_LAUNCH, check_status_fd, read, words_for_launch

    try:
        options = read(words, environ)
        check_status_fd(options)
    except UsageError as error:
        raise ValueError(str(error)) from None
    lacking = {attribute: getattr(Options, attribute) for attribute in NOT_OF_LAUNCH}
    return options.replace(**lacking), [*words_for_launch(environ), *words]


def refuse_what_a_fork_breaks() -> None:
    """Raise RuntimeError if there are other threads or an event loop.

    A child does not have the threads, and would share the event loop.
    """
    threads = other_threads()
    if "MainThread" in threads:
        raise RuntimeError(f"pyinit.launch() is for the main thread: call it there before others start, or {ELSE}")
    if threads:
        names = ", ".join(threads)
        raise RuntimeError(f"threads run already: {names}: call pyinit.launch() before they are started, or {ELSE}")
    events = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None:
        raise RuntimeError(f"an event loop runs already: call pyinit.launch() before that is started, or {ELSE}")


def other_threads() -> list[str]:
    """Return the names of the other threads of this process, also of threads that Python has not started."""
    if len(tasks()) == 1:
        return []
    import _thread
    from time import monotonic, sleep

    from ..family.proc import name

    deadline = monotonic() + THREAD_ENDS
    while not _thread._count() and len(tasks()) > 1 and monotonic() < deadline:
        sleep(0.001)
    threading = sys.modules.get("threading")
    names = {thread.native_id: thread.name for thread in threading.enumerate()} if threading else {}
    return [names.get(task) or f"{name(task)} (TID {task})" for task in tasks() if task != _thread.get_native_id()]


def tasks() -> list[int]:
    """Return the TIDs of this process; see proc_pid_task(5)."""
    try:
        return [int(name) for name in posix.listdir("/proc/self/task")]
    except OSError:  # no /proc
        import _thread

        return [_thread.get_native_id(), *[0] * _thread._count()]


def refuse_where_python_cannot_be_started() -> None:
    """Raise RuntimeError if this process is no `python`, or the script is no file, such as in a zip archive."""
    is_python = sys.executable.rpartition("/")[2].startswith("python") and sys.orig_argv
    if not is_python or hasattr(sys, "frozen"):
        raise RuntimeError(f"pyinit.launch() needs a python command, which {sys.executable!r} is not: {ELSE}")
    if b"PYTHONHOME" in os.environb and not sys.flags.ignore_environment:
        raise RuntimeError(f"pyinit.launch() needs a Python that is found without PYTHONHOME: {ELSE}")
    if not native.exists(SCRIPT):
        raise RuntimeError(f"pyinit.launch() needs its package in a directory: there is no {SCRIPT}: {ELSE}")


def isolated() -> list[str]:
    """Return the words that start the script in an isolated interpreter."""
    return [sys.executable, native.FLAGS, SCRIPT]


def fork_and_become(options: Options, words: list[str]) -> None:
    """Fork, become pyinit in the parent, and return in the child; OSError if that fails.

    This does as much as possible before fork(2). After the fork the kernel copies every page that one of the two
    processes writes to. The process that is the program afterwards undoes these changes.
    """
    global launched
    undo: list[tuple[Callable[..., object], *tuple[object, ...]]] = []
    taken: list[_signal.struct_siginfo] = []
    parent, child = posix.getpid(), -1
    handler = _signal.getsignal(_signal.SIGCHLD)
    terminal = own_terminal()
    leads = terminal is not None and posix.getsid(0) == parent
    is_job = terminal is not None and not leads
    words = [*words, "--", *sys.orig_argv]
    reader, writer = map(above_stderr, posix.pipe2(posix.O_CLOEXEC))
    undo.append((posix.close, reader))
    try:
        if gc.isenabled():  # so that no finalizer of the program runs in the parent
            gc.disable()
            undo.append((gc.enable,))
        for timer in _signal.ITIMER_REAL, _signal.ITIMER_VIRTUAL, _signal.ITIMER_PROF:  # execve(2) keeps them
            setting = _signal.setitimer(timer, 0)
            if setting[0]:
                undo.append((_signal.setitimer, timer, *setting))
        for fd in native.inheritable():
            if fd != options.status_fd:
                posix.set_inheritable(fd, False)
                undo.append((posix.set_inheritable, fd, True))
        if options.status_fd >= 0 and not posix.get_inheritable(options.status_fd):
            posix.set_inheritable(options.status_fd, True)
            undo.append((posix.set_inheritable, options.status_fd, False))
        if parent != 1:
            set_subreaper(1)
            undo.append((set_subreaper, 0))
        waiter = None
        if native.serves(options) and not options.parent_death_signal and options.status_fd < 0 and not is_job:
            waiter = native.Waiter(options, words, SCRIPT, leads=leads)
        child = posix.fork()
        if child:
            if not is_job:
                posix.setpgid(child, child)
            if leads and terminal is not None:
                from ..run.command import move_foreground

                move_foreground(terminal, parent, child)
            become_pyinit(options, child, waiter, words, taken, writer, is_job=is_job)
        posix.close(writer)
        posix.read(reader, 1)
        launched = posix.getpid()
    except BaseException:
        if child > 0:
            if leads and terminal is not None:
                from ..run.command import move_foreground

                move_foreground(terminal, child, parent)
            give_up(child, handler, taken)
        raise
    finally:
        if terminal:  # stdin, which is 0, stays open
            posix.close(terminal)
        if child:
            posix.close(writer)
        for function, *arguments in reversed(undo):
            function(*arguments)
    name_reader(parent)


def become_pyinit(
    options: Options,
    child: int,
    waiter: "native.Waiter | None",
    words: list[str],
    taken: "list[_signal.struct_siginfo]",
    writer: int,
    *,
    is_job: bool,
) -> "NoReturn":
    """Become pyinit in the parent; OSError if that fails. Add the signals that it takes from the queue to `taken`.

    The child waits until `writer` is closed.
    """
    # If SIGCHLD were ignored, the kernel would reap instead of pyinit. A SIGCHLD that this discards is no loss, because
    # pyinit reaps before it waits for a signal.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    if waiter:
        become_waiter(waiter, child)
    # Take the terminal's signals that are pending: if the child was not there when they came, it has not got them. Take
    # SIGPIPE and SIGXFSZ too: CPython ignores them at its start, and then the kernel discards those that are pending.
    awaited = (FROM_TERMINAL if is_job else frozenset()) | {_signal.SIGPIPE, _signal.SIGXFSZ}
    while info := _signal.sigtimedwait(awaited, 0):
        taken.append(info)
        outgoing = info.si_signo if info.si_code > 0 else options.forwarded(info.si_signo)
        if outgoing:
            posix.kill(child, outgoing)
    word = native.Told.word(posix.getpid(), child=child, group=posix.getpgrp() if is_job else child)
    posix.set_inheritable(writer, True)
    posix.execv(sys.executable, [*isolated(), word, *words])


def give_up(child: int, handler: "Callable[..., object] | int | None", taken: "list[_signal.struct_siginfo]") -> None:
    """End the child, which has done nothing, and restore the signals of the program, so that it can go on."""
    posix.kill(child, _signal.SIGKILL)
    posix.waitpid(child, 0)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # with this the kernel discards the pending SIGCHLD of the child
    try:
        if posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT):
            posix.kill(posix.getpid(), _signal.SIGCHLD)  # another child has ended
    except ChildProcessError:
        pass
    if handler is not None:  # None: somebody other than Python has installed it
        _signal.signal(_signal.SIGCHLD, handler)
    for info in taken:
        posix.kill(posix.getpid(), info.si_signo)


def become_waiter(waiter: "native.Waiter", child: int) -> None:
    """Become the C program, with / as its current directory. Return if that fails.

    Somebody may want to unmount the directory that the program was started in.
    """
    try:
        folder = above_stderr(posix.open(".", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC))
    except OSError:  # this user may not search it
        waiter.become(child)
        return
    try:
        posix.chdir("/")
        waiter.become(child)
        posix.fchdir(folder)
    finally:
        posix.close(folder)


def above_stderr(fd: int) -> int:
    """Return `fd`, or if it has the number of a standard stream, which must have been closed, a descriptor above 2."""
    if fd > 2:
        return fd
    import fcntl

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    posix.close(fd)
    return moved


def name_reader(parent: int) -> None:
    """Put this process's PID into the variables that name their reader, in the child.

    See run.command.names_of_reader().
    """
    if any(name in os.environb for name in READERS):
        from ..run.command import names_of_reader

        for name, value in names_of_reader(os.environb, parent).items():
            if value:
                os.environb[name] = value
            else:
                del os.environb[name]


def own_terminal() -> int | None:
    """Return a descriptor of the controlling terminal, or None if there is none."""
    try:
        posix.close(posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC))
    except OSError as error:
        if error.errno == ENXIO:  # there is certainly none
            return None
    from ..run.command import controlling_terminal

    terminal = controlling_terminal()
    return above_stderr(terminal) if terminal else terminal


def set_subreaper(value: int) -> None:
    """Become a subreaper, or with 0 stop being one; see PR_SET_CHILD_SUBREAPER in prctl(2).

    OSError. RuntimeError if this Python cannot call prctl(2).
    """
    from ..base.syscalls import PR_SET_CHILD_SUBREAPER, prctl

    try:
        prctl(PR_SET_CHILD_SUBREAPER, value)
    except ImportError as error:
        raise RuntimeError(f"a subreaper needs python-prctl or ctypes ({error}): install one, or {ELSE}") from None
