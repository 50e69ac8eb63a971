"""The command sees what it would have seen under tini, or with no init at all, to the byte."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.copies import public_pyinit, without
from tests.harness import BASE_PYTHON, PYINIT, UNSHARE, Mode, need, need_root, started
from tests.programs import compiled

STATUS = re.compile(rb"^(?:(?:Sig|Shd|Cap)\w+|Umask|NoNewPrivs|Groups|Uid|Gid|Seccomp):.*$", re.MULTILINE)
SECTIONS = re.compile(rb"\n== (\w+) ==\n")
QUEUED = re.compile(rb"^SigQ:.*$", re.MULTILINE)  # of all processes of the user: never twice the same
IGNORED_MASK = re.compile(rb"(?<=SigIgn:\t)[0-9a-f]{16}")
LIBRARYS_OWN = 0b11 << 31  # signals 32 and 33: glibc's posix_spawn(3), by which make starts the suite, ignores them
MARKER = re.compile(rb"PYINIT_TEST=[0-9a-f]{32}")

TINI = ["tini", "-s", "--"]
OURS = [str(PYINIT), "--"]


def seen(
    mode: Mode, init: list[str], caller: list[str] | None = None, *arguments: str | bytes, **popen: Any
) -> dict[str, bytes]:
    """What the probe says, section by section, when a caller with these options starts `init probe *arguments`."""
    words = [compiled("caller"), *(caller or []), "--", *init]
    with started(compiled("probe"), *arguments, init=words, mode=mode, **popen) as run:
        output = run.output()
        assert run.wait() == 0
    parts = SECTIONS.split(MARKER.sub(b"PYINIT_TEST=", output))
    sections = {name.decode(): content for name, content in zip(parts[1::2], parts[2::2], strict=True)}
    sections["status"] = b"\n".join(STATUS.findall(QUEUED.sub(b"", sections["status"])))
    sections["status"] = IGNORED_MASK.sub(
        lambda mask: b"%016x" % (int(mask[0], 16) & ~LIBRARYS_OWN), sections["status"]
    )
    sections["fd"] = re.sub(rb"(pipe|socket):\[\d+\]", rb"\1", sections["fd"])
    assert sections["cmdline"].startswith(compiled("probe").encode())
    return sections


def assert_as_under_tini(mode: Mode, caller: list[str] | None = None, *arguments: str | bytes, **popen: Any) -> None:
    """Compare section by section, so that a failure shows the one that differs."""
    need("tini")
    expected = seen(mode, TINI, caller, *arguments, **popen)
    found = seen(mode, OURS, caller, *arguments, **popen)
    assert expected["status"].count(b"\n") > 12
    for name, content in expected.items():
        assert found[name] == content, name


def options(flag: str, *names: str) -> list[str]:
    """Options of the caller: a flag for each signal."""
    return [word for name in names for word in (flag, str(int(getattr(signal, name))))]


BLOCKED = options("-b", "SIGUSR1", "SIGTERM", "SIGCHLD", "SIGPIPE", "SIGINT", "SIGRTMIN", "SIGRTMAX", "SIGTSTP")
IGNORED = options("-i", "SIGUSR2", "SIGHUP", "SIGINT", "SIGQUIT", "SIGTTOU", "SIGRTMAX", "SIGTERM", "SIGALRM")


@pytest.mark.parametrize("caller", [[], BLOCKED, IGNORED, BLOCKED + IGNORED], ids=["plain", "block", "ignore", "both"])
def test_signals_limits_capabilities_and_files_are_the_callers(mode: Mode, caller: list[str]) -> None:
    assert_as_under_tini(mode, caller)


@pytest.mark.parametrize("signum", [*range(1, 32), 34, 49, 64])
def test_each_signal_may_have_been_ignored_and_blocked_by_the_caller(signum: int) -> None:
    if signum in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        return  # the first two cannot; the others have tests of their own below
    caller = ["-b", str(signum), "-i", str(signum)]
    status = seen("subreaper", OURS, caller)["status"].decode()
    mask = f"{1 << (signum - 1):016x}"
    assert f"SigBlk:\t{mask}" in status
    assert f"SigIgn:\t{mask}" in status


def test_a_caller_that_ignores_sigchld_makes_no_difference(mode: Mode) -> None:
    """tini hangs then, so the measure is the probe with no init in front of it."""
    caller = options("-i", "SIGCHLD")
    direct, found = seen(mode, [], caller), seen(mode, OURS, caller)
    assert b"SigIgn:\t0000000000010000" in found["status"]
    assert found == direct


def test_a_caller_that_ignores_sigchld_gets_the_exit_status_and_orphans_are_reaped(mode: Mode) -> None:
    init = [compiled("caller"), *options("-i", "SIGCHLD"), "--", *OURS]
    with started("sh", "-c", "(sleep 0.01 &); (sleep 0.02 &); exit 7", init=init, mode=mode) as run:
        assert run.wait() == 7


def test_sigpipe_and_sigxfsz_have_their_defaults_although_cpython_ignores_them(mode: Mode) -> None:
    status = seen(mode, OURS)["status"]
    assert b"SigIgn:\t0000000000000000" in status
    with started("sh", "-c", "kill -PIPE $$", mode=mode) as run:
        assert run.wait() == 128 + signal.SIGPIPE


def test_a_caller_that_blocked_the_signals_that_glibc_keeps_to_itself_causes_no_warning(tmp_path: Path) -> None:
    """Signals 32 and 33 can be blocked by a bare system call only; Python warns of them when it sees them."""
    said = tmp_path / "stderr"
    with said.open("wb") as stderr:
        seen("subreaper", OURS, ["-B", "32", "-B", "33"], stderr=stderr)
    assert said.read_bytes() == b""


def entries(*values: bytes) -> bytes:
    return b"".join(value + b"\0" for value in values)


COMMON = (b"PATH=/usr/bin:/bin", b"HOME=/root")
ENVIRONMENTS = {
    "no-locale": COMMON,
    "empty-locale": (*COMMON, b"LANG=", b"LC_ALL=", b"LC_CTYPE="),
    "lang-c": (*COMMON, b"LANG=C"),
    "lang-posix": (b"LANG=POSIX", *COMMON),
    "lc-all-c": (*COMMON, b"LC_ALL=C"),
    "lc-ctype-c": (b"LC_CTYPE=C", *COMMON),
    "lc-ctype-unknown": (b"LC_CTYPE=xx_YY", *COMMON),
    "lc-ctype-as-cpython-sets-it": (b"LC_CTYPE=C.UTF-8", *COMMON, b"LANG=C"),
    "lc-ctype-as-cpython-sets-it-2": (b"LC_CTYPE=UTF-8", *COMMON),
    "lc-ctype-twice": (b"LC_CTYPE=C", *COMMON, b"LC_CTYPE=de_DE.UTF-8"),
    "lang-utf-8": (*COMMON, b"LANG=C.UTF-8"),
    "lang-unknown": (*COMMON, b"LANG=xx_YY.UTF-8", b"LC_MESSAGES=zz"),
    "bytes": (*COMMON, b"A=\xff\xfe\x80", b"\xe9=\xe9", b"B=\xc3\xa9\n\x1b[31m", b"LANG=C"),
    "names": (*COMMON, b"discovery.type=single-node", b"a-b=c", b"1=2", b"a b=c d", b"X=", b"PYTHONHOME=/nonexistent"),
    "no-equals-sign": (b"NOTHING", *COMMON, b"=empty name", b"", b"=", b"LAST"),
    "twice": (b"A=1", *COMMON, b"A=2", b"PATH=/nowhere", b"A=1"),
    "large": (*COMMON, b"L=" + b"x" * 100_000, *(b"V%d=%d" % (n, n) for n in range(1000))),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_environment_is_the_callers_to_the_byte(tmp_path: Path, mode: Mode, name: str) -> None:
    block = tmp_path / "environment"
    block.write_bytes(entries(*ENVIRONMENTS[name]))
    direct = seen(mode, [], ["-e", str(block)])
    found = seen(mode, OURS, ["-e", str(block)])
    assert direct["environ"] == entries(*ENVIRONMENTS[name], b"PYINIT_TEST=")
    assert found["environ"] == direct["environ"]


def test_an_empty_environment_stays_empty(tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "environment").touch()
    assert seen(mode, OURS, ["-E", str(tmp_path / "environment")])["environ"] == b""


@pytest.mark.parametrize(
    "name", ["no-locale", "lang-c", "lang-posix", "lang-utf-8", "lang-unknown", "lc-ctype-as-cpython-sets-it"]
)
def test_the_environment_is_the_callers_where_there_is_no_proc(tmp_path: Path, name: str) -> None:
    """The variable that CPython adds in such locales (PEP 538) can't be told by /proc/self/environ then."""
    need_root()
    block = tmp_path / "environment"
    block.write_bytes(entries(*ENVIRONMENTS[name]))
    script = 'mount -t tmpfs none /proc && exec "$@"'
    words = [compiled("caller"), "-e", str(block), "--", *OURS, "/usr/bin/env", "-0"]
    init = [*UNSHARE, "sh", "-c", script, "sh"]
    with started(*words, init=init) as run:
        output = MARKER.sub(b"PYINIT_TEST=", run.output())
    assert output == entries(*ENVIRONMENTS[name], b"PYINIT_TEST=")


@pytest.mark.parametrize("locale", [{}, {"LANG": "C"}, {"LC_ALL": "C"}, {"LANG": "C.UTF-8"}], ids=str)
def test_arguments_are_the_callers_to_the_byte(mode: Mode, locale: dict[str, str]) -> None:
    arguments: list[str | bytes] = [
        "-x",
        b"\xff\xfe",
        b"\xe4\xf6",
        "\u00e9\U0001f600",
        "",
        "-- --",
        "a\nb",
        "\x1b[0m",
        "--",
        "x" * 100_000,
    ]
    assert_as_under_tini(mode, None, *arguments, env={"PATH": "/usr/bin:/bin", **locale})


def test_a_command_whose_name_is_not_utf_8_runs(tmp_path: Path) -> None:
    script = bytes(tmp_path) + b"/\xff\xe9"
    with open(script, "wb") as file:
        file.write(b"#!/bin/sh\nexit 9\n")
    Path(script.decode(errors="surrogateescape")).chmod(0o755)
    with started("-v", script, env={"LC_ALL": "C"}) as run:
        assert run.wait() == 9


def test_umask_and_working_directory_are_the_callers(mode: Mode, tmp_path: Path) -> None:
    odd = Path(str(tmp_path), "a \u00e9\n%s")
    odd.mkdir()
    assert_as_under_tini(mode, None, umask=0o077, cwd=odd)
    found = seen(mode, OURS, umask=0o077, cwd=odd)
    assert found["cwd"].strip() == str(odd).encode()
    assert b"Umask:\t0077" in found["status"]


def test_a_working_directory_that_has_been_removed_is_still_the_commands(tmp_path: Path) -> None:
    words = ["sh", "-c", 'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"', str(tmp_path / "gone")]
    with started(compiled("probe"), init=[*words, *OURS]) as run:
        output = run.output()
    assert f"{tmp_path}/gone (deleted)".encode() in output


def test_inherited_descriptors_with_their_offsets_and_flags_are_the_callers(mode: Mode, tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"0123456789")
    words = ["sh", "-c", 'exec 5<"$0" 7>>"$0" 9<>"$0"; read -r _ <&9; exec "$@"', str(content)]
    expected, found = (_sections_of_fd(mode, [*words, *init]) for init in (TINI, OURS))
    assert expected.count(str(content).encode()) == 3
    assert found == expected


def _sections_of_fd(mode: Mode, init: list[str]) -> bytes:
    need("tini")
    with started(compiled("probe"), init=init, mode=mode) as run:
        return re.sub(rb"pipe:\[\d+\]", b"pipe", SECTIONS.split(run.output())[-1])


def test_limits_are_the_callers(mode: Mode) -> None:
    need("prlimit", "tini")
    limits = ["prlimit", "--nofile=97:1234", "--core=0:0", "--stack=4194304", "--fsize=123456789", "--sigpending=777"]
    expected, found = (seen(mode, [*limits, *init]) for init in (["--", *TINI], ["--", *OURS]))
    assert b"1234" in expected["limits"]
    assert found["limits"] == expected["limits"]


def test_privileges_are_the_callers() -> None:
    """No new privileges, another user, fewer capabilities, other groups."""
    need_root()
    need("setpriv", "tini")
    drop = ["setpriv", "--no-new-privs", "--reuid=54321", "--regid=54321", "--groups=1,54322", "--bounding-set=-kill"]
    direct, expected, found = (seen("subreaper", [*drop, "--", *init]) for init in ([], TINI, [public_pyinit(), "--"]))
    assert b"NoNewPrivs:\t1" in direct["status"]
    assert found == expected == direct


@pytest.mark.parametrize("name", ["LISTEN_PID", "WATCHDOG_PID"])
def test_a_variable_of_systemds_that_names_pyinit_names_the_command(mode: Mode, name: str) -> None:
    """sd_listen_fds(3) and sd_watchdog_enabled(3) compare it with getpid(2); any other value is nobody's business."""
    ours = ["sh", "-c", f'export {name}=$$ LISTEN_FDS=1; exec "$@"', "sh", *OURS]
    with started("sh", "-c", f'test "${name}" = $$ && test "$LISTEN_FDS" = 1', init=ours, mode=mode) as run:
        assert run.wait() == 0
    with started("sh", "-c", f"test ${name} = 99999999", mode=mode, env={name: "99999999"}) as run:
        assert run.wait() == 0


def test_the_pidfd_id_of_systemds_is_the_commands_or_none(mode: Mode) -> None:
    """sd_listen_fds(3) compares it with the inode of the reader's own pidfd."""
    ours = ["sh", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_PIDFDID=1; exec "$@"', "sh", *OURS]
    own = "import os; print(os.environ.get('LISTEN_PIDFDID') == str(os.fstat(os.pidfd_open(os.getpid())).st_ino))"
    with started(BASE_PYTHON, "-c", own, init=ours, mode=mode) as run:
        assert run.output() == b"True\n"
    strangers = {"LISTEN_PID": "99999999", "LISTEN_PIDFDID": "7"}
    with started("sh", "-c", "exit $LISTEN_PIDFDID", mode=mode, env=strangers) as run:
        assert run.wait() == 7
    lost = ["sh", "-c", 'export LISTEN_PID=$$ LISTEN_PIDFDID=1; exec "$@"', "sh", *without("pidfd_open")]
    with started("sh", "-c", 'test -z "${LISTEN_PIDFDID+set}"', init=lost, mode=mode) as run:
        assert run.wait() == 0


def test_the_command_leads_a_process_group_in_the_callers_session(mode: Mode) -> None:
    with started("sh", "-c", "ps -o pid=,pgid=,ppid=,sid= -p $$; ps -o pid=,sid= -p $PPID", mode=mode) as run:
        first, second = run.output().decode().splitlines()
    pid, pgid, parent, session = first.split()
    assert pid == pgid != parent
    assert second.split() == [parent, session]


def test_standard_streams_reach_the_command_unread(mode: Mode, tmp_path: Path) -> None:
    text = tmp_path / "input"
    text.write_bytes(bytes(range(256)) * 1000)
    with text.open("rb") as stdin, started("cat", mode=mode, stdin=stdin) as run:
        assert run.output() == text.read_bytes()


@pytest.mark.parametrize("peer", ["tini", "dumb-init"])
def test_pyinit_inside_a_peer_and_a_peer_inside_pyinit_work(mode: Mode, peer: str) -> None:
    outer = {"tini": ["tini", "-s", "--"], "dumb-init": ["dumb-init", "--"]}[peer]
    need(peer)
    with started(*outer, "sh", "-c", "exit 5", mode=mode) as run:
        assert run.wait() == 5
    with started("sh", "-c", "exit 6", init=[*outer, str(PYINIT), "--"], mode=mode) as run:
        assert run.wait() == 6
