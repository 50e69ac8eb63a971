"""Real servers keep what they have when they are stopped: in the exec form and behind shells, wherever pyinit runs.

Counts, not single runs: a race that loses one stop in ten must show.
"""

import signal
from collections import Counter

import pytest

from tests.harness import MODES, Mode, need, need_root, wait_until
from tests.servers.servers import (
    Careful,
    Celery,
    Gunicorn,
    Interrupted,
    Nginx,
    Node,
    Postgres,
    Python,
    Redis,
    Request,
    Server,
    Tolerant,
)
from tests.servers.stop import FORMS, PIPELINES, SHELLS, Way, behind_pyinit, running, stops

ONE_FORM = ("{}; true",)


@pytest.fixture(autouse=True)
def _shells_and_root() -> None:
    need_root()
    need("dash", "bash", "busybox")


def all_kept(
    kind: type[Server], *options: str, forms: tuple[str, ...] = FORMS, signum: int = signal.SIGTERM, times: int = 1
) -> None:
    """Stop one in the exec form, and in each of the forms behind each shell, in all places: none loses anything."""
    need(*kind.needs)
    ways = [behind_pyinit(place, *options) for place in MODES]
    ways += [
        behind_pyinit(place, *options, shell=shell, form=form) for place in MODES for shell in SHELLS for form in forms
    ]
    outcomes = stops(kind, ways * times, signum)
    lost = Counter(way for way, outcome in zip(ways * times, outcomes, strict=True) if not outcome.kept)
    assert not lost, f"{lost.total()} of {len(outcomes)}: {lost}"
    exits = {(bool(way.shell), outcome.status) for way, outcome in zip(ways * times, outcomes, strict=True)}
    assert exits <= {(False, 0), (True, 0), (True, 128 + signum), (True, 128 + signal.SIGTERM)}


@pytest.mark.parametrize("options", [(), ("-g",), ("--scope", "all")], ids=["child", "group", "all"])
def test_a_server_that_dies_of_a_second_signal_is_told_once(options: tuple[str, ...]) -> None:
    """With another scope all of a pipeline are told at the same time, its end too: there it is lost."""
    all_kept(Careful, *options, forms=tuple(form for form in FORMS if not options or "|" not in form), times=2)


@pytest.mark.parametrize("kind", [Python, Node, Redis])
def test_what_a_server_saves_is_saved(kind: type[Server]) -> None:
    all_kept(kind)


@pytest.mark.parametrize("form", PIPELINES)
def test_what_a_server_prints_as_it_ends_is_read(form: str) -> None:
    need(*Careful.needs)
    ways = [behind_pyinit(place, shell="bash", form=form) for place in MODES] * 7
    outcomes = stops(Careful, ways)
    assert [(outcome.kept, outcome.printed) for outcome in outcomes] == [(True, "up\nthe last line\n")] * len(ways)


def ways(form: str, times: int) -> list[Way]:
    """The ways through a form of each shell, in all places."""
    return [behind_pyinit(place, shell=shell, form=form) for place in MODES for shell in SHELLS] * times


@pytest.mark.parametrize("form", ["{}; true", "cd . && {}", "({}; true); true"])
def test_what_a_program_saves_on_keyboard_interrupt_is_saved(form: str) -> None:
    """SIGINT by kill(2) goes to the group: a shell that waits for its command does not die of it."""
    outcomes = stops(Interrupted, ways(form, 2), signal.SIGINT)
    assert [outcome.kept for outcome in outcomes] == [True] * len(outcomes)


def test_a_second_stop_signal_does_not_kill_a_server_that_saves() -> None:
    """A preStop hook sends SIGQUIT, and then SIGTERM comes."""
    outcomes = stops(Tolerant, ways("{}; true", 6), signal.SIGQUIT, then=(0.2, signal.SIGTERM))
    assert [outcome.kept for outcome in outcomes] == [True] * len(outcomes)


def test_what_a_server_prints_into_a_fifo_as_it_ends_is_read() -> None:
    outcomes = stops(Careful, ways("mkfifo p; cat <p & {} >p; true", 6))
    assert [(outcome.kept, outcome.printed) for outcome in outcomes] == [(True, "up\nthe last line\n")] * len(outcomes)


def test_gunicorn_answers_the_request_in_flight() -> None:
    all_kept(Gunicorn, forms=ONE_FORM)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR2", "SIGTTIN", "SIGTTOU"])
@pytest.mark.parametrize("place", MODES)
def test_gunicorn_manages_its_workers_alone(place: Mode, name: str) -> None:
    """It reloads, starts a new master, has one worker more, or one less; the request in flight is answered."""
    with running(Gunicorn, behind_pyinit(place, shell="dash", form="exec {}")) as (run, server):
        assert isinstance(server, Gunicorn)
        run.send(getattr(signal, name))
        wait_until(lambda: server.has_logged(f"Handling signal: {name[3:].lower()}"), "the signal")
        if name != "SIGTTOU":
            wait_until(lambda: server.workers() > 2, "new workers")
        assert server.kept()
        assert Request(server.directory / "gunicorn.sock").answered(server.END)
        run.send(signal.SIGTERM)
        assert run.wait() == 0
        assert run.alive() == []


def test_celery_finishes_its_task() -> None:
    all_kept(Celery, forms=ONE_FORM)


def test_nginx_finishes_the_download() -> None:
    all_kept(Nginx, forms=ONE_FORM, signum=signal.SIGQUIT)


def test_nginx_finishes_the_download_where_sigterm_becomes_sigquit() -> None:
    need(*Nginx.needs)
    ways = [behind_pyinit(place, "-r", "TERM:QUIT", shell="dash", form="{}; true") for place in MODES]
    outcomes = stops(Nginx, ways)
    assert [(outcome.kept, outcome.status) for outcome in outcomes] == [(True, 128 + signal.SIGQUIT)] * len(MODES)


@pytest.mark.parametrize("place", MODES)
def test_nginx_reloads_and_finishes_the_download(place: Mode) -> None:
    need(*Nginx.needs)
    with running(Nginx, behind_pyinit(place)) as (run, server):
        run.send(signal.SIGHUP)
        wait_until(lambda: "reconfiguring" in (server.directory / "log").read_text(), "the reload")
        assert server.kept()
        run.send(signal.SIGQUIT)
        assert run.wait() == 0


def test_postgresql_waits_for_its_sessions_when_it_is_told_to_be_smart() -> None:
    all_kept(Postgres, forms=ONE_FORM)


@pytest.mark.parametrize("place", MODES)
def test_postgresql_ends_its_sessions_and_is_clean_when_it_is_told_to_be_fast(place: Mode) -> None:
    need(*Postgres.needs)
    with running(Postgres, behind_pyinit(place)) as (run, server):
        assert isinstance(server, Postgres)
        run.send(signal.SIGINT)
        assert run.wait() == 0
        server.stopping()
        assert "administrator command" in server.said
        assert server.is_clean()
