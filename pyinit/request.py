"""What pyinit was asked to do, what may be wrong with that, and the exit statuses that are pyinit's own.

The ground floor: made by cli and options, read by everybody else, and changed by nobody.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

OWN_ERROR = 125
NOT_RUNNABLE = 126
NOT_FOUND = 127

AS_IT_IS: "Mapping[int, int]" = {}  # no signal is rewritten


class UsageError(Exception):
    """What is wrong with the command line, in words."""


class Options:
    """What was asked for; times are in seconds. Never changed: but() makes others of it."""

    command: list[str]
    scope: str = "child"
    rewrites: "Mapping[int, int]" = AS_IT_IS
    remapped: frozenset[int] = frozenset()
    grace: float | None = None  # the module stop's default
    kill_after: float | None = None
    wait_all: bool = False
    parent_death_signal: int = 0
    pid_namespace: bool = False
    pause: bool = False
    warn_on_reap: bool = False
    verbosity: int = 0
    status_fd: int = -1
    prints: "Callable[[], str] | None" = None

    def __init__(self, **given: object) -> None:
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> "NoReturn":
        raise AttributeError(f"options are not changed: {name}")

    def but(self, **given: object) -> "Options":
        """The same options with others `given` in place of theirs."""
        return Options(**{**self.__dict__, **given})
