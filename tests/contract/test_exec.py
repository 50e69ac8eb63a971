"""The command is found and started as execvp(3) would, and where it can't be, one line says why."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.copies import public_pyinit
from tests.harness import Mode, need_root, open_to_all, started

Capture = pytest.CaptureFixture[str]


def script(path: Path, content: str = "#!/bin/sh\nexit 7\n", mode: int = 0o755) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def refused(capfd: Capture, *words: str | Path, **options: object) -> tuple[int, str]:
    """The status and the one line that pyinit says."""
    with started(*words, **options) as run:  # type: ignore[arg-type]
        status = run.wait()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("pyinit: ")
    return status, lines[0]


def test_a_command_is_searched_in_path_in_its_order(mode: Mode, tmp_path: Path) -> None:
    for name, status in (("first", 1), ("second", 2)):
        (tmp_path / name).mkdir()
        script(tmp_path / name / "found", f"#!/bin/sh\nexit {status}\n")
    path = f"/nonexistent:{tmp_path}/second:{tmp_path}/first:/usr/bin:/bin"
    with started("found", mode=mode, env={"PATH": path}) as run:
        assert run.wait() == 2


def test_a_search_goes_on_behind_a_directory_a_file_without_x_and_a_path_that_is_none(tmp_path: Path) -> None:
    for name in ("directory", "plain", "good"):
        (tmp_path / name).mkdir()
    (tmp_path / "directory" / "found").mkdir()
    script(tmp_path / "plain" / "found", mode=0o644)
    script(tmp_path / "good" / "found")
    path = ":".join(f"{tmp_path}/{name}" for name in ("directory", "plain", "plain/found", "good"))
    with started("found", env={"PATH": path}) as run:
        assert run.wait() == 7


@pytest.mark.parametrize("path", ["", ":/nonexistent", "/nonexistent:", "/nonexistent::/x"])
def test_an_empty_entry_of_path_is_the_working_directory(tmp_path: Path, path: str) -> None:
    script(tmp_path / "here", "#!/bin/sh\nexit 7\n")
    with started("here", env={"PATH": path}, cwd=tmp_path) as run:
        assert run.wait() == 7


def test_a_directory_longer_than_any_path_is_passed_over_in_path() -> None:
    with started("true", env={"PATH": f"{'x' * 5000}:/usr/bin:/bin"}) as run:
        assert run.wait() == 0


def test_no_path_means_the_default_of_the_c_library(tmp_path: Path) -> None:
    """/bin:/usr/bin, and not the working directory."""
    script(tmp_path / "true", "#!/bin/sh\nexit 7\n")
    with started("true", env={}, cwd=tmp_path) as run:
        assert run.wait() == 0


def test_a_name_with_a_slash_is_not_searched(tmp_path: Path) -> None:
    script(tmp_path / "here")
    with started("./here", env={"PATH": "/usr/bin"}, cwd=tmp_path) as run:
        assert run.wait() == 7


def test_a_script_without_an_interpreter_line_is_run_by_sh(mode: Mode, tmp_path: Path) -> None:
    named = script(tmp_path / "plain", 'printf "%s." "$0" "$@"; exit 7\n')
    with started(named, "a b", "", mode=mode) as run:
        assert run.output() == f"{named}.a b..".encode()
        assert run.wait() == 7
    with started("plain", mode=mode, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as run:
        assert run.output() == f"{named}.".encode()


def test_an_empty_file_is_a_script_that_does_nothing(tmp_path: Path) -> None:
    with started(script(tmp_path / "empty", "")) as run:
        assert run.wait() == 0


def test_argv0_is_the_name_as_typed(mode: Mode) -> None:
    with started("sh", "-c", "tr '\\0' ' ' < /proc/$$/cmdline; exit 0", mode=mode) as run:
        assert run.output().startswith(b"sh -c tr")


def test_a_command_that_is_nowhere_in_path_gives_127(capfd: Capture, mode: Mode) -> None:
    status, line = refused(capfd, "redis-servr", mode=mode)
    assert (status, line) == (127, "pyinit: redis-servr: not found in PATH (exit 127)")


def test_a_path_that_is_not_there_gives_127(capfd: Capture, mode: Mode) -> None:
    status, line = refused(capfd, "/no/where", mode=mode)
    assert (status, line) == (127, "pyinit: /no/where: not found (exit 127)")


def test_an_empty_string_as_the_command_gives_127(capfd: Capture, mode: Mode) -> None:
    status, line = refused(capfd, "--", "", mode=mode)
    assert status == 127
    assert "''" in line
    assert "not found" in line


def test_a_directory_as_the_command_gives_126(capfd: Capture, mode: Mode, tmp_path: Path) -> None:
    status, line = refused(capfd, tmp_path, mode=mode)
    assert status == 126
    assert str(tmp_path) in line
    assert "directory" in line


def test_a_file_without_the_x_bit_gives_126(capfd: Capture, mode: Mode, tmp_path: Path) -> None:
    status, line = refused(capfd, script(tmp_path / "plain", mode=0o644), mode=mode)
    assert status == 126
    assert f"{tmp_path}/plain: permission denied" in line


def test_a_file_without_the_x_bit_in_path_gives_126_and_not_127(capfd: Capture, tmp_path: Path) -> None:
    script(tmp_path / "plain", mode=0o644)
    status, line = refused(capfd, "plain", env={"PATH": f"/nonexistent:{tmp_path}:/usr/bin"})
    assert status == 126
    assert f"{tmp_path}/plain" in line


def test_a_missing_interpreter_gives_126_and_is_named(capfd: Capture, mode: Mode, tmp_path: Path) -> None:
    """The kernel says ENOENT, which would read as if the script itself were missing."""
    status, line = refused(capfd, script(tmp_path / "script", "#!/opt/missing/perl -w\n"), mode=mode)
    assert status == 126
    assert f"{tmp_path}/script" in line
    assert "/opt/missing/perl" in line


def test_an_interpreter_line_that_ends_in_a_carriage_return_is_told(capfd: Capture, tmp_path: Path) -> None:
    """A script from Windows: /bin/sh is there, and saying that it is missing would send its author astray."""
    status, line = refused(capfd, script(tmp_path / "script", "#!/bin/sh\r\nexit 0\r\n"))
    assert status == 126
    assert "\\r" in line or "carriage return" in line or "CRLF" in line


def test_a_program_for_another_machine_gives_126(capfd: Capture, tmp_path: Path) -> None:
    program = script(tmp_path / "program", "\x7fELF\x02\x01\x01" + "\0" * 100)
    status, line = refused(capfd, program)
    assert status == 126
    assert str(program) in line


def test_a_loop_of_symbolic_links_gives_126(capfd: Capture, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    status, line = refused(capfd, tmp_path / "loop")
    assert status == 126
    assert "symbolic links" in line


def test_a_name_too_long_is_one_line_and_no_traceback(capfd: Capture, mode: Mode) -> None:
    status, line = refused(capfd, "x" * 100_000, mode=mode)
    assert status in (126, 127)
    assert "xxx" in line


def test_a_directory_that_is_closed_to_the_user_gives_126(capfd: Capture, tmp_path: Path) -> None:
    need_root()
    closed = tmp_path / "closed"
    closed.mkdir()
    script(closed / "command")
    closed.chmod(0o700)
    open_to_all(closed)
    status, line = refused(capfd, closed / "command", init=[public_pyinit()], user=54321, group=54321, extra_groups=[])
    assert status == 126
    assert "ermission denied" in line


def test_a_directory_of_path_that_is_closed_to_the_user_holds_no_command(capfd: Capture, tmp_path: Path) -> None:
    """As in a shell: 127 unless the command is in another one; the line names the closed one."""
    need_root()
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    open_to_all(closed)
    user: dict[str, Any] = {"init": [public_pyinit()], "user": 54321, "group": 54321, "extra_groups": []}
    path = {"PATH": f"{closed}:/usr/bin:/bin"}
    status, line = refused(capfd, "no-such-command", env=path, **user)
    assert status == 127
    assert "not found" in line
    assert str(closed) in line
    with started("true", env=path, **user) as run:
        assert run.wait() == 0


def test_a_command_that_cannot_be_started_leaves_no_process(mode: Mode) -> None:
    with started("/no/where", mode=mode, stderr=-3) as run:
        assert run.wait() == 127
        assert run.alive() == []


def test_a_newline_in_the_name_stays_one_line(capfd: Capture) -> None:
    status, _ = refused(capfd, "a\nb")
    assert status == 127
