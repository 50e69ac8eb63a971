"""pyinit: a tiny init for containers.

As a command, `pyinit -- command`; in a Python program, launch().
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
    """Where this process is PID 1, go on as a child of pyinit, which is PID 1 from here on.

    To be the first statement of a program that a container starts without an init:

        import pyinit
        pyinit.launch()

    The process forks. The child returns, and goes on as after any fork(2); the parent becomes pyinit by execve(2): it
    forwards signals to the child, adopts and reaps, and exits with the child's status, as `pyinit -- command` does.
    Where this process is not PID 1 nothing happens, so the same program runs anywhere. With `subreaper` it happens
    wherever the process runs; see PR_SET_CHILD_SUBREAPER in prctl(2).

    The other arguments are options of the command pyinit, told more of by `pyinit --help`; those in PYINIT_OPTIONS
    count too, where an argument does not say otherwise.

    scope           whom signals are forwarded to: "child" (the default), "group" or "all"
    rewrite         {"TERM": "QUIT", "HUP": 0}: forward the second for the first, a number or a name; 0: none
    remap_exit      (143,): exit 0 where the program exits with one of these
    grace           seconds until what the program has left is killed; 5, without a stop signal
    kill_after      seconds from SIGTERM, SIGINT or SIGQUIT until everything is killed
    wait_all        wait for what the program has left to end by itself
    parent_death_signal  "TERM": the signal to get when the parent dies
    warn_on_reap    one warning for each orphan reaped
    verbose         1: say on stderr what it does; 2: every signal and reap
    json_status_fd  write {"child-pid": N} and {"exit-code": N} to this descriptor, which the program keeps too

    Returns True in the child that launch() has made, and does nothing there when it is called again; False elsewhere.
    Raises ValueError where an option makes no sense, PYINIT_OPTIONS included, wherever it runs; RuntimeError where it
    would fork and threads or an event loop run already, or where this is no `python` that could be started again;
    OSError where fork(2) or execve(2) fails. Nothing has changed then.
    """
    options = {name: value for name, value in locals().items() if name != "subreaper"}
    import sys

    if sys.platform != "linux":
        return False
    from .native import launch

    return launch.launch(options, subreaper=subreaper)
