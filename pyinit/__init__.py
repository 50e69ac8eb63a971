"""pyinit: a tiny init for containers.

As a command it is `pyinit -- command`. In a Python program it is launch().
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Literal

__all__ = ["__version__", "launch"]

__version__ = "0.2.0"


def launch(
    *,
    subreaper: bool = False,
    scope: "Literal['child', 'group', 'all'] | None" = None,
    rewrite: "Mapping[Any, str | int] | None" = None,
    remap_exit: "Iterable[int] | None" = None,
    grace: "float | None" = None,
    kill_after: "float | None" = None,
    wait_all: bool = False,
    parent_death_signal: "str | int | None" = None,
    warn_on_reap: bool = False,
    verbose: int = 0,
    json_status_fd: "int | None" = None,
) -> bool:
    """Go on as a child of pyinit, which is PID 1 from here on, if this process is PID 1.

    Make it the first statement of a program that a container starts without an init:

        import pyinit
        pyinit.launch()

    The process calls fork(2). The child returns from launch() and goes on as after any fork. The parent becomes pyinit
    by execve(2). Before that CPython calls in the parent what the program has registered with
    os.register_at_fork(after_in_parent=...), audit hooks, and trace and profile functions. No other Python of the
    program runs there.

    pyinit forwards signals to the child, adopts and reaps orphans, and exits with the child's status.
    `pyinit -- command` does the same.

    If the process is not PID 1, as on a laptop, launch() does nothing. With `subreaper` it forks in any process, and
    pyinit becomes a subreaper; see PR_SET_CHILD_SUBREAPER in prctl(2).

    The other arguments are options of the command pyinit; `pyinit --help` explains them. If launch() forks, it takes
    PYINIT_OPTIONS out of the environment, and applies those options in it that are also arguments. An argument takes
    precedence over them.

    scope           the receivers of forwarded signals: "child", "group" or "all"
                    (default: the child alone, but SIGINT goes to its process group)
    rewrite         {"TERM": "QUIT", "HUP": 0}: forward the second instead of the first (number or name; 0: none)
    remap_exit      (143,): exit 0 if the program exits with one of these
    grace           seconds to wait before killing what the program leaves behind
                    (default 5; after a stop signal there is no limit unless this is given)
    kill_after      seconds from SIGTERM, SIGINT or SIGQUIT to killing everything
    wait_all        wait until leftover processes have ended by themselves
    parent_death_signal  "TERM": the signal that pyinit gets when its parent dies
    warn_on_reap    write one warning for each orphan that pyinit reaps
    verbose         1: say on stderr what pyinit does; 2: every signal and reap
    json_status_fd  write {"child-pid": N}, {"phase": ...} and {"exit-code": N} to this descriptor;
                    the program keeps it too

    Returns True in the child that launch() has made. A second call in that child does nothing and returns True.
    Returns False in any other process.

    Raises TypeError or ValueError if an argument makes no sense, also if the process is not PID 1.
    Raises ValueError if it would fork, but an option in PYINIT_OPTIONS makes no sense.
    Raises RuntimeError if it would fork, but threads or an event loop run already.
    Raises RuntimeError if it would fork, but this process is no `python` that could be started again.
    Such a program can start behind `pyinit --` instead.
    Raises OSError if fork(2) or execve(2) fails. After an exception nothing has changed.
    """
    options = {name: value for name, value in locals().items() if name != "subreaper"}
    import sys

    if sys.platform != "linux":
        return False
    from .native import launch

    return launch.launch(options, subreaper=subreaper)
