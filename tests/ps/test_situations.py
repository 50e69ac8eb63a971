"""pyinit-ps: in each of many situations, what it says is compared with what a stop then does, and its advice is taken.

A problem is right if the stop does not end, or costs a server its data. No problem is right if neither happens. A note
says what /proc cannot decide.
"""

import signal
from collections.abc import Iterable

import pytest

from tests.harness import CHECKOUT, PYINIT, need
from tests.ps.situations import FORMS, HUP, INITS, INT, NONE, OWN, QUIT, TERM, Situation, following, seen

TINI, GROUP, DUMB_INIT = INITS["tini"], INITS["tini -g"], INITS["dumb-init"]
BASH, BUSYBOX = ("bash", "-c"), ("busybox", "sh", "-c")
BEHIND = ("sh", "-c", "{program}; true")
INSTEAD = ("sh", "-c", "exec {program}")
CALLS = ("python3", "-c", "import subprocess, sys; subprocess.call(sys.argv[1:])", *INSTEAD)
# As mysqld_safe: it ignores SIGTERM, and runs a server that has a handler of its own.
SAFE = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.call(sys.argv[1:], preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
"""
# Python's resource tracker ignores SIGTERM, and ends at the end of its pipe.
TRACKED = """
import multiprocessing.resource_tracker, signal, sys
multiprocessing.resource_tracker.ensure_running()
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
print("up", flush=True)
signal.pause()
"""
INTERRUPTED = "print('up', flush=True); import time; time.sleep(1000)"
INTERACTIVE = "echo up; read -r _ < <(sleep 1000); true"


def pyinit(*options: str) -> tuple[str, ...]:
    return (str(PYINIT), *options, "--")


def of(
    inits: Iterable[tuple[str, ...]],
    form: "str | tuple[str, ...]",
    program: str,
    *signals: signal.Signals,
    shell: tuple[str, ...] = ("sh", "-c"),
) -> list[Situation]:
    """The same behind each of the inits, with each of the signals, SIGTERM if none is given."""
    return [Situation(init, form, program, signum, shell) for init in inits for signum in signals or (TERM,)]


EVERY, THREE = tuple(INITS.values()), (NONE, TINI, OWN)
OTHERS = tuple(init for init in EVERY if init[0] != OWN[0])
TABLE = [
    # the exec form, and a shell in the foreground
    *(one for program in ("handles", "dies", "ignores") for one in of(EVERY, FORMS["exec"], program)),
    *(one for program in ("handles", "dies") for one in of(EVERY, FORMS["shell"], program)),
    *of(OTHERS, FORMS["shell"], "ignores"),
    *of(EVERY, FORMS["shell"], "handles", INT, QUIT, HUP),
    # other things that a shell may do
    *(
        one
        for form in ("background", "trap ''", "trap", "trap, wait", "subshell")
        for one in of((NONE, TINI, GROUP, DUMB_INIT, OWN), FORMS[form], "handles")
    ),
    *(one for shell in (BASH, BUSYBOX) for one in of(THREE, FORMS["shell"], "handles", INT, shell=shell)),
    *of((NONE, TINI, GROUP, OWN), FORMS["shell"], "dies", INT),
    *(one for program in ("handles", "dies") for one in of((NONE, TINI), FORMS["background"], program, INT)),
    *of((NONE, TINI, GROUP, OWN), "{program} | cat; true", "handles"),
    *of(THREE, "{program} | tee out; true", "dies"),
    *of(THREE, ("bash", "--norc", "-ic", INTERACTIVE), "", TERM, HUP),
    # a server that waits for the signal, and one that blocks it
    *(one for form in ("exec", "shell") for one in of(THREE, FORMS[form], "waits")),
    *of(THREE, FORMS["exec"], "blocks"),
    # programs that start a server, and do not pass the signal on as one may think
    *of(THREE, CALLS, "handles"),
    *of(THREE, ("python3", "-c", SAFE, *INSTEAD), "handles"),
    *of((TINI, OWN), ("flock", "lock", *INSTEAD), "handles"),
    *of((TINI, OWN), ("setsid", "-w", *INSTEAD), "handles"),
    # timeout(1) signals its child, and then its group
    *of((TINI, OWN), ("timeout", "1000", *INSTEAD), "waits"),
    *of(THREE, ("su", "-c", "{program}; true"), "handles"),
    *of(THREE, ("su", "-c", "exec {program}"), "handles"),
    *of(THREE, ("runuser", "-c", "{program}; true"), "handles"),
    *of(THREE, ("sudo", "-E", *BEHIND), "handles"),
    *of(THREE, ("sudo", "-E", *INSTEAD), "handles"),
    *of((TINI, OWN), ("tini", "-s", "--", *BEHIND), "handles"),
    *of((NONE, TINI), (*OWN, *BEHIND), "handles"),
    *of(THREE, ("su", "-c", "exec {program}"), "handles", HUP, QUIT),
    *of(THREE, ("su", "-c", "exec {program}"), "ignores"),
    # a shell that has become the init, and an orphan, which no other init signals
    *of((NONE, TINI), "while :; do sleep 0.2; done & exec 3<&0; echo up; while :; do sleep 0.1; done", ""),
    *of([NONE], ("bash", "-c", "exec > >(cat); exec tini -- {program}"), "handles"),
    *of([NONE], ("bash", "-c", "exec 2> >(cat >/dev/null); exec tini -- {program}"), "ignores"),
    *of([NONE], ("bash", "-c", "exec 2> >(cat >/dev/null); exec dumb-init -- flock lock {program}"), "waits"),
    *of([NONE], ("sh", "-c", "sleep 1000 & exec " + str(PYINIT) + " -- {program}"), "handles"),
    *of((TINI, DUMB_INIT, GROUP, OWN), ("sh", "-c", "(setsid {program} &); exec sleep 1000"), "handles"),
    # signals that are no stop signal to pyinit
    *of((TINI, OWN), FORMS["exec"], "ignores", HUP),
    # what gets the signal from an init further out
    *of([GROUP], ("sudo", "-E", "sh", "-c", "trap '' TERM; {program}; true"), "waits"),
    # Python: its KeyboardInterrupt, and its resource tracker
    *of(THREE, ("python3", "-c", INTERRUPTED), "", TERM, INT),
    *of(THREE, ("python3", "-c", TRACKED), "", TERM, INT),
    # options of inits
    *of(map(pyinit, ("-w", "-vv", "-a", "-c")), FORMS["shell"], "handles"),
    *of([pyinit("-t", "0"), pyinit("-t", "1"), pyinit("-k", "5")], FORMS["shell"], "handles"),
    *of([pyinit("-t", "0"), pyinit("-t", "0.3"), pyinit("-k", "0.3")], FORMS["shell"], "ignores"),
    *of([pyinit("-r", "TERM:0"), pyinit("-r", "TERM:QUIT"), pyinit("-k", "0.3")], FORMS["exec"], "handles"),
    *of([pyinit("-k", "0.3"), pyinit("-t", "0.3")], FORMS["exec"], "ignores"),
    *of([pyinit("-r", "TERM:KILL"), ("dumb-init", "-r", "15:9", "--")], FORMS["exec"], "handles"),
    *of([("dumb-init", "-r", "15:0", "--"), ("dumb-init", "-r", "15:3", "--")], FORMS["exec"], "handles"),
]  # fmt: skip


# `make test` has every second one, which it takes a minute less for; `make test-all` has all.
HALF = [pytest.param(one, marks=pytest.mark.slow) if place % 2 else one for place, one in enumerate(TABLE)]


@pytest.mark.parametrize("situation", HALF, ids=str)
def test_what_is_found_is_what_a_stop_shows_and_the_advice_helps(situation: Situation) -> None:
    need(situation.init[0])
    result = seen(situation)
    assert "unseen" not in result.notes()
    if {"trap", "blocked"}.intersection(result.notes()):
        assert result.problems() == []
        return
    assert (result.problems() == []) == (result.ended and result.saved), result
    for advice in {
        advice for finding in result.found if finding.is_problem for advice in finding.advice.split("; or ")
    }:
        better = seen(following(advice, situation))
        assert better.ended, f"{advice}: {better}"
        assert better.saved or "-k" in advice, f"{advice}: {better}"


def test_the_readme_says_how_many_situations_there_are() -> None:
    assert len(set(map(str, TABLE))) == len(TABLE)
    assert f"{len(TABLE)} situations" in (CHECKOUT / "README.md").read_text()
