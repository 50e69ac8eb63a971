"""A program that launches itself: it forks, its child goes on as the program, and it becomes pyinit.

Called by pyinit.launch(). Between the program's first statement and its second this is all that runs, so it imports
next to nothing. The plan of launch():

1. Whatever can be checked is checked before anything has changed.
2. All signals are blocked. They stay so in the parent, across execve(2): what comes from now on is taken by pyinit.
3. fork(2). The child waits for the parent's exec, which closes a pipe. Only then is it certain that somebody will
   forward, reap and drain, and the child goes on with the mask that the program had.
4. The parent becomes the C program, as the waiter. If that was not built, or if there is a terminal to watch or
   something to say, it becomes an isolated Python. One word of its command line names its child.
5. Where neither can be executed the child is killed, having done nothing, and everything in the parent is undone: it
   is the program still.
"""

import _signal
import gc
import os  # is there: site has imported it
import posix
import sys

from .. import __path__, native
from ..base import FROM_TERMINAL, VARIABLES, Options, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

SCRIPT = f"{__path__[0]}/bin/pyinit"
ENXIO = 6  # <asm-generic/errno-base.h>
THREAD_ENDS = 0.2  # seconds that the kernel may take to end a thread that has been joined

launched = 0  # the PID of the process that has launched itself


def launch(given: "Mapping[str, object]", *, subreaper: bool) -> bool:
    """See pyinit.launch(); `given` are its arguments that are options."""
    words = option_words(given)
    options = checked(words)
    if launched == posix.getpid():
        return True
    if posix.getpid() != 1 and not subreaper:
        return False
    refuse_what_a_fork_breaks()
    refuse_where_python_cannot_be_started()
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ()) & _signal.valid_signals()
    try:
        # A handler of the program may run in here once more, and raise.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        fork_and_become(options, words)
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    return True


def option_words(given: "Mapping[str, Any]") -> list[str]:
    """The arguments of launch() as words of a command line."""
    words = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if value is None:
            continue
        if name in ("wait_all", "warn_on_reap", "verbose"):
            words += [option] * int(value)
        elif name in ("rewrite", "remap_exit") and isinstance(value, str):
            raise TypeError(f"{name} is no str: {value!r}")
        elif name == "rewrite":
            words += [f"{option}={came}:{goes}" for came, goes in value.items()]
        elif name == "remap_exit":
            words += [f"{option}={code}" for code in value]
        elif isinstance(value, float):
            words.append(f"{option}={value:.3f}".rstrip("0").rstrip("."))
        else:
            words.append(f"{option}={value}")
    return words


def checked(words: list[str]) -> Options:
    """The options that `words` and the environment ask for; ValueError where they don't make sense."""
    if not words and not any(variable in os.environb for variable in VARIABLES):
        return Options()
    from ..run.options import check_status_fd, read

    try:
        options = read(words, dict(os.environb))
        check_status_fd(options)
    except UsageError as error:
        raise ValueError(str(error)) from None
    if options.pid_namespace or options.pause or options.prints:
        raise ValueError("PYINIT_OPTIONS: --pid-namespace, --pause and what only prints are not for pyinit.launch()")
    return options


def refuse_what_a_fork_breaks() -> None:
    """RuntimeError where there are threads, which a child does not have, or an event loop, which it would share."""
    threads = other_threads()
    if "MainThread" in threads:
        raise RuntimeError("pyinit.launch() is for the main thread, before others are started")
    if threads:
        raise RuntimeError(f"threads run already: {', '.join(threads)}: call pyinit.launch() before they are started")
    events = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None:
        raise RuntimeError("an event loop runs already: call pyinit.launch() before that is started")


def other_threads() -> list[str]:
    """The names of the other threads of this process, of those that Python has not started too."""
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
    """The TIDs of this process; see proc_pid_task(5)."""
    try:
        return [int(name) for name in posix.listdir("/proc/self/task")]
    except OSError:  # no /proc
        import _thread

        return [_thread.get_native_id(), *[0] * _thread._count()]


def refuse_where_python_cannot_be_started() -> None:
    """RuntimeError where this process is no `python`, or where the script is no file, as in a zip file."""
    is_python = sys.executable.rpartition("/")[2].startswith("python") and sys.orig_argv
    if not is_python or hasattr(sys, "frozen"):
        raise RuntimeError(f"pyinit.launch() needs a python command, which {sys.executable!r} is not")
    if b"PYTHONHOME" in os.environb and not sys.flags.ignore_environment:
        raise RuntimeError("pyinit.launch() needs a Python that is found without PYTHONHOME")
    if not native.exists(SCRIPT):
        raise RuntimeError(f"pyinit.launch() needs its package in a directory: there is no {SCRIPT}")


def isolated() -> list[str]:
    """The words that start the script in an isolated interpreter."""
    return [sys.executable, native.FLAGS, SCRIPT]


def fork_and_become(options: Options, words: list[str]) -> None:
    """Fork, become pyinit in the parent, and return in the child; OSError where that can't be done.

    As much as possible is done before fork(2): after it every page that one of the two writes to is copied. Whoever is
    the program then undoes it.
    """
    global launched
    undo: list[tuple[Callable[..., object], *tuple[object, ...]]] = []
    taken: list[_signal.struct_siginfo] = []
    parent, child = posix.getpid(), -1
    handler = _signal.getsignal(_signal.SIGCHLD)
    has_terminal = has_controlling_terminal()
    words = [*words, "--", *sys.orig_argv]
    reader, writer = map(above_stderr, posix.pipe2(posix.O_CLOEXEC))
    undo.append((posix.close, reader))
    try:
        if gc.isenabled():  # no finalizer of the program runs in the parent
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
        if native.serves(options) and not options.parent_death_signal and not has_terminal:
            waiter = native.Waiter(options, words, SCRIPT)
        child = posix.fork()
        if child:
            become_pyinit(options, child, waiter, words, taken, has_terminal=has_terminal)
        posix.close(writer)
        posix.read(reader, 1)
        launched = posix.getpid()
    except BaseException:
        if child > 0:
            give_up(child, handler, taken)
        raise
    finally:
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
    *,
    has_terminal: bool,
) -> "NoReturn":
    """In the parent. OSError where that can't be done; `taken` are the signals that were sent on to the child."""
    # Where SIGCHLD is ignored the kernel would reap in pyinit's stead, which reaps before it waits for one.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    if not has_terminal:
        posix.setpgid(child, child)
    if waiter:
        become_waiter(waiter, child)
    # The child has got what the terminal has sent, if it was there by then. CPython ignores SIGPIPE and SIGXFSZ at its
    # start, with which the kernel throws away those that are pending.
    awaited = (FROM_TERMINAL if has_terminal else frozenset()) | {_signal.SIGPIPE, _signal.SIGXFSZ}
    while info := _signal.sigtimedwait(awaited, 0):
        taken.append(info)
        outgoing = info.si_signo if info.si_code > 0 else options.forwarded(info.si_signo)
        if outgoing:
            posix.kill(child, outgoing)
    word = native.Told.word(posix.getpid(), child=child, group=posix.getpgrp() if has_terminal else child)
    posix.execv(sys.executable, [*isolated(), word, *words])


def give_up(child: int, handler: "Callable[..., object] | int | None", taken: "list[_signal.struct_siginfo]") -> None:
    """End the child, which has done nothing, and be the program again, to which nothing of that has happened."""
    posix.kill(child, _signal.SIGKILL)
    posix.waitpid(child, 0)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # throws away what is pending: the child's own
    try:
        if posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT):
            posix.kill(posix.getpid(), _signal.SIGCHLD)  # another child has ended
    except ChildProcessError:
        pass
    if handler is not None:  # one that was not installed by Python
        _signal.signal(_signal.SIGCHLD, handler)
    for info in taken:
        posix.kill(posix.getpid(), info.si_signo)


def become_waiter(waiter: "native.Waiter", child: int) -> None:
    """Become the C program, in /: somebody may want to unmount what the program was started in. Returns if it can't."""
    try:
        folder = above_stderr(posix.open(".", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC))
    except OSError:  # it may not be searched
        waiter.become(child)
        return
    try:
        posix.chdir("/")
        waiter.become(child)
        posix.fchdir(folder)
    finally:
        posix.close(folder)


def above_stderr(fd: int) -> int:
    """A descriptor in place of `fd`, if that has the number of a standard stream, which is closed then."""
    if fd > 2:
        return fd
    import fcntl

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    posix.close(fd)
    return moved


def name_reader(parent: int) -> None:
    """In the child: see command.names_of_reader()."""
    if b"LISTEN_PID" in os.environb or b"WATCHDOG_PID" in os.environb:
        from ..run.command import names_of_reader

        for name, value in names_of_reader(os.environb, parent).items():
            if value:
                os.environb[name] = value
            else:
                del os.environb[name]


def has_controlling_terminal() -> bool:
    """Whether there is one: then the child stays in this process's group, and pyinit takes part in job control."""
    try:
        posix.close(posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC))
    except OSError as error:
        if error.errno == ENXIO:  # certainly none
            return False
    from ..run.command import controlling_terminal

    terminal = controlling_terminal()
    if terminal:
        posix.close(terminal)
    return terminal is not None


def set_subreaper(value: int) -> None:
    """See PR_SET_CHILD_SUBREAPER in prctl(2). RuntimeError where that can't be called."""
    from ..base.syscalls import PR_SET_CHILD_SUBREAPER, prctl

    try:
        prctl(PR_SET_CHILD_SUBREAPER, value)
    except ImportError as error:
        raise RuntimeError(f"a subreaper needs python-prctl or ctypes: {error}") from None
