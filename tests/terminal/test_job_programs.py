"""Job control through pyinit with every shell, and with programs that look whose the terminal is, or make terminals."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import PYTHON, need, need_root, state_of, wait_until
from tests.shell import (
    CTRL_C,
    CTRL_D,
    CTRL_Z,
    PROMPT,
    SHELLS,
    Shell,
    shell,
    terminal,
)

FISH_PROMPT = f"function fish_prompt; echo -n '{PROMPT}'; end; function fish_title; end"
# Those whose own line editor paints the screen: of them only what they do with jobs is looked at.
MORE_SHELLS = {
    **SHELLS,
    "zsh": ["zsh", "-f", "-i", "+o", "zle", "+o", "promptsp"],
    "fish": ["fish", "--no-config", "-i", "-C", FISH_PROMPT],
}


@pytest.fixture(params=MORE_SHELLS)
def any_shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """An interactive shell: bash, dash, fish and zsh."""
    need(request.param)
    with shell(*MORE_SHELLS[request.param]) as run:
        yield run


def leave(any_shell: Shell) -> None:
    """End the shell, and check that nothing is left of what it started."""
    any_shell.enter("exit")
    any_shell.wait()
    assert any_shell.alive() == []


def test_a_job_stops_and_goes_on_and_reads(any_shell: Shell, pyinit: str) -> None:
    any_shell.start(f"{pyinit} cat")
    for turn in range(3):
        any_shell.echoes(f"turn {turn}")
        any_shell.suspend()
        wait_until(lambda: any_shell.foreground() == any_shell.pid, "the shell in the foreground")
        assert state_of(any_shell.the("cat")) == "T"
        any_shell.start("fg")
    any_shell.type(CTRL_D)
    any_shell.prompt()
    leave(any_shell)


def test_ctrl_c_ends_a_loop_around_pyinit(any_shell: Shell, pyinit: str, request: pytest.FixtureRequest) -> None:
    if "fish" in request.node.callspec.id:
        loop = f"for i in 1 2 3; {pyinit} sleep 1000; end; echo after-the-loop"
    else:
        loop = f"for i in 1 2 3; do {pyinit} sleep 1000; done"
    any_shell.enter(loop)
    any_shell.the("sleep")
    any_shell.type(CTRL_C)
    any_shell.see("\\^C")
    assert "after-the-loop" not in any_shell.prompt()
    assert any_shell.named("sleep") == []
    leave(any_shell)


@pytest.mark.parametrize("outer", ["script", "tmux"])
def test_it_is_a_job_of_a_shell_in_another_terminal(pyinit: str, outer: str, tmp_path: Path) -> None:
    need("bash", outer)
    inner = f'env "PS1={PROMPT}" {" ".join(SHELLS["bash"])}'
    words = {"script": ["-qc", inner, "/dev/null"], "tmux": ["-f", "/dev/null", "new-session", inner]}[outer]
    with terminal(outer, *words, env={"TERM": "xterm", "TMUX_TMPDIR": str(tmp_path)}) as run:
        run.see_text(PROMPT)
        run.enter(f"{pyinit} cat")
        run.the("cat")
        run.enter("hello")
        run.see("hello[^h]*hello")
        run.type(CTRL_Z)
        run.see("Stopped")
        run.enter("fg")
        wait_until(lambda: state_of(run.the("cat")) == "S", "cat to go on")
        run.type(CTRL_D)
        wait_until(lambda: not run.named("pyinit"), "the end of pyinit")
        run.enter("exit")
        run.wait()


def test_script_and_tmux_work_behind_pyinit(bash: Shell, pyinit: str, tmp_path: Path) -> None:
    need("tmux", "script")
    bash.enter(f"{pyinit} script -qc 'echo in-script; cat' /dev/null")
    bash.see("in-script\r\n")
    bash.echoes("hello")
    bash.type(CTRL_D)
    bash.prompt()
    bash.enter(f"TERM=xterm TMUX_TMPDIR={tmp_path} {pyinit} tmux -f /dev/null new-session 'echo in-tmux; cat'")
    bash.the("cat")
    bash.type(CTRL_D)
    bash.prompt()
    bash.leave()


@pytest.mark.parametrize("words", ["sudo -E cat", "su root --session-command cat", "runuser -u root cat"])
def test_what_runs_a_command_as_another_user_is_stopped_with_it_and_continues_it(
    bash: Shell, pyinit: str, words: str
) -> None:
    need_root()
    need(words.split()[0])
    bash.start(f"{pyinit} {words}")
    bash.the("cat")  # sudo's own terminal echoes before
    for turn in range(3):
        bash.echoes(f"turn {turn}")
        assert "Stopped" in bash.suspend()
        bash.start("fg")
        # runuser continues cat once more, and SIGCONT takes away what the next key sends.
        wait_until(lambda: {state_of(pid) for pid in bash.alive()} == {"S"}, "all to go on")
    bash.echoes("last")
    bash.type(CTRL_D)
    bash.prompt()
    assert bash.status() == 0
    bash.leave()


def test_git_and_python_behind_pyinit_see_themselves_in_the_foreground(bash: Shell, pyinit: str) -> None:
    """As git(1) before it shows progress and ssh(1) before it reads: by tcgetpgrp(3) and getpgrp(2)."""
    asks = "import os; print(os.tcgetpgrp(2) == os.getpgrp())"
    assert bash.run(f"{pyinit} {PYTHON} -Ic '{asks}'") == "True\n"
    if pyinit == "pyinit":  # in a namespace every group outside reads 0
        assert "False" in bash.run(f"{pyinit} {PYTHON} -Ic '{asks}' & wait")
    bash.leave()
