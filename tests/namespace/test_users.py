"""--pid-namespace for everybody: who the command is, what it may do, and what is said where the kernel forbids it."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.copies import NOBODY, in_mount_namespace
from tests.harness import BASE_PYTHON, PYINIT, SCRIPT, missing, need, need_root, started, wait_until
from tests.namespace.launching import LAUNCHER, User, run, somebody

MADE = 54321  # a uid and gid that no machine has
GROUPS = (54322, 54323)
CAPABILITIES = "grep ^Cap /proc/self/status"


@pytest.fixture(params=["nobody", "made"])
def user(request: pytest.FixtureRequest) -> Iterator[User]:
    """Two who are not root; the second has supplementary groups, and is in no /etc/passwd."""
    need_root()
    who = (NOBODY, NOBODY, ()) if request.param == "nobody" else (MADE, MADE, GROUPS)
    with somebody(*who) as somebody_else:
        yield somebody_else


def capabilities(init: list[str]) -> dict[str, int]:
    """The capability sets of a command started by `init`."""
    status, output = run(CAPABILITIES, init=init)
    assert status == 0, output
    return {name.decode(): int(value, 16) for name, value in re.findall(rb"Cap(\w+):\s+(\w+)", output)}


def refusal(*words: str, init: list[str], marker: Path) -> str:
    """What pyinit says where it must not start anything: one line, exit 125, and the command never ran."""
    command = words or ("touch", str(marker))
    with started(*command, init=init, stderr=subprocess.STDOUT) as process:
        lines = process.output().decode().splitlines()
        assert process.wait() == 125, lines
        assert not process.alive()
    assert not marker.exists()
    assert len(lines) == 1, lines
    assert lines[0].startswith("pyinit: ")
    return lines[0]


def test_the_command_keeps_its_user_its_group_and_its_directory(user: User) -> None:
    script = "id -u; id -g; pwd; umask; grep ^Uid /proc/self/status; grep ^Gid /proc/self/status"
    _, output = run(script, init=user.launcher, cwd=user.home)
    uid, gid, cwd, _, *ids = output.decode().splitlines()
    assert (int(uid), int(gid), cwd) == (user.uid, user.gid, str(user.home))
    assert ids == ["Uid:" + f"\t{user.uid}" * 4, "Gid:" + f"\t{user.gid}" * 4]


def test_a_directory_that_only_this_user_can_read_is_read_and_written(user: User) -> None:
    (user.home / "secret").write_text("it is me\n")
    os.chown(user.home / "secret", user.uid, user.gid)
    (user.home / "secret").chmod(0o600)
    status, output = run("cat secret; echo mine > made; chmod 600 made", init=user.launcher, cwd=user.home)
    assert (status, output) == (0, b"it is me\n")
    made = (user.home / "made").stat()
    assert (made.st_uid, made.st_gid) == (user.uid, user.gid)


def test_the_supplementary_groups_still_count() -> None:
    """The kernel shows groups that are not mapped as 65534, and goes by the real ones."""
    need_root()
    with somebody(MADE, MADE, GROUPS) as user:
        shared = user.home / "shared"
        shared.write_text("for the group\n")
        os.chown(shared, 0, GROUPS[1])
        shared.chmod(0o040)
        status, output = run("grep ^Groups /proc/self/status; cat shared", init=user.launcher, cwd=user.home)
        assert status == 0
        assert output.decode().split() == ["Groups:", "65534", "65534", "for", "the", "group"]


def test_setgroups_is_denied_and_only_the_user_is_mapped(user: User) -> None:
    _, output = run("cd /proc/self; cat setgroups; cat uid_map gid_map", init=user.launcher)
    words = [str(word) for number in (user.uid, user.gid) for word in (number, number, 1)]
    assert output.decode().split() == ["deny", *words]


def test_the_command_of_an_ordinary_user_has_no_capability(user: User) -> None:
    inside = capabilities(user.launcher)
    outside = capabilities(user.command("env"))
    assert inside == outside
    assert inside["Eff"] == inside["Prm"] == inside["Inh"] == inside["Amb"] == 0


def test_nothing_of_the_namespace_can_be_remounted_by_the_command(user: User) -> None:
    status, output = run("umount /proc || mount -o remount,suid /proc || kill -KILL 1; exit 8", init=user.launcher)
    assert status == 8, output


def test_root_has_the_same_capabilities_inside() -> None:
    need_root()
    assert capabilities(LAUNCHER) == capabilities(["env"])


@pytest.mark.parametrize("dropped", ["-sys_admin", "-sys_admin,-net_raw,-sys_ptrace,-dac_override"])
def test_a_user_namespace_hands_no_capability_back_to_a_lesser_root(dropped: str) -> None:
    need_root()
    need("setpriv")
    lesser = ["setpriv", "--bounding-set", dropped]
    outside = capabilities([*lesser, "env"])
    inside = capabilities([*lesser, *LAUNCHER])
    assert inside["Bnd"] == outside["Bnd"]
    assert inside["Eff"] & ~outside["Eff"] == 0
    assert inside["Prm"] & ~outside["Prm"] == 0


@pytest.mark.parametrize("how", ["no_new_privs", "noroot"])
def test_a_user_namespace_hands_no_capability_back_to_a_root_that_exec_gives_none(how: str) -> None:
    """The bounding set is whole, but no exec can fill it: with no_new_privs(2), or SECBIT_NOROOT of capabilities(7)."""
    need_root()
    need("capsh")
    if how == "no_new_privs":
        words = ["capsh", "--caps=cap_setfcap+ep", "--no-new-privs"]
    else:
        words = ["capsh", "--caps=cap_setfcap,cap_setpcap+eip", "--addamb=cap_setfcap", "--secbits=1"]
    lesser = [*words, "--", "-c", 'exec "$@"', "bash"]
    outside = capabilities([*lesser, "env"])
    assert outside["Eff"].bit_count() == 1
    inside = capabilities([*lesser, *LAUNCHER])
    assert inside["Eff"] & ~outside["Eff"] == 0
    assert inside["Prm"] & ~outside["Prm"] == 0


@pytest.mark.parametrize(
    ("kind", "step", "caller"),
    [
        ("user", "unshare(CLONE_NEWUSER", ["setpriv", "--bounding-set", "-sys_admin"]),
        ("pid", "unshare(CLONE_NEWPID)", []),
        ("mnt", "unshare(CLONE_NEWNS)", []),  # in PID 1 of the new namespace already: nothing must be left of that
    ],
)
def test_no_more_namespaces_is_said_in_one_line(kind: str, step: str, caller: list[str], tmp_path: Path) -> None:
    """The limit belongs to a user namespace: the test sets it in one of its own."""
    need_root()
    script = f"echo 0 >/proc/sys/user/max_{kind}_namespaces"
    outer = ["unshare", "--user", "--map-root-user", "sh", "-ec", f'{script}; exec "$@"', "sh"]
    line = refusal(init=[*outer, *caller, *LAUNCHER], marker=tmp_path / "ran")
    assert step in line
    assert "ENOSPC" in line
    assert f"max_{kind}_namespaces" in line


def test_a_masked_proc_that_forbids_a_new_one_is_said_in_one_line(user: User) -> None:
    outer = in_mount_namespace("mount -t tmpfs none /proc/sys")
    line = refusal(init=[*outer, *user.launcher], marker=user.home / "ran")
    assert "mount a new /proc" in line
    assert "EPERM" in line
    assert "systempaths=unconfined" in line


def test_a_masked_proc_hinders_no_one_who_is_root() -> None:
    need_root()
    status, output = run("echo $$", init=[*in_mount_namespace("mount -t tmpfs none /proc/sys"), *LAUNCHER])
    assert (status, output) == (0, b"2\n")


def in_chroot(folder: Path, *words: str) -> list[str]:
    """`words` in a chroot that shows this machine; it is a mount point."""
    script = f"mount --rbind / {shlex.quote(str(folder))}; mount --make-rprivate {shlex.quote(str(folder))}"
    return [*in_mount_namespace(script, "chroot", str(folder)), *words]


def test_a_chroot_where_nobody_may_have_a_user_namespace_is_said_in_one_line(tmp_path: Path, user: User) -> None:
    """In a chroot unshare(CLONE_NEWUSER) fails with EPERM, as in a container that forbids it."""
    line = refusal(init=in_chroot(tmp_path, *user.launcher), marker=user.home / "ran")
    assert "unshare(CLONE_NEWUSER" in line
    assert "EPERM" in line
    assert "CAP_SYS_ADMIN" in line


def test_in_a_chroot_that_is_a_mount_point_root_gets_a_namespace(tmp_path: Path) -> None:
    need_root()
    status, output = run("echo $$", init=in_chroot(tmp_path, *LAUNCHER))
    assert (status, output) == (0, b"2\n")


def test_in_a_chroot_that_is_no_mount_point_one_line_says_what_it_lacks(tmp_path: Path) -> None:
    need_root()
    names = [path for path in Path("/").iterdir() if path.is_dir() and not path.is_symlink() and path.name != "proc"]
    links = [path for path in Path("/").iterdir() if path.is_symlink()]
    script = ["cd " + shlex.quote(str(tmp_path)), "mkdir root root/proc"]
    script += [f"mkdir root/{path.name}; mount --rbind {path} root/{path.name}" for path in names]
    script += [f"ln -s {os.readlink(path)} root/{path.name}" for path in links]
    outer = [*in_mount_namespace("\n".join(script), "chroot", f"{tmp_path}/root"), *LAUNCHER]
    line = refusal(init=outer, marker=tmp_path / "ran")
    assert "EINVAL" in line
    assert "mount point" in line


def test_where_proc_is_not_mounted_root_gets_a_new_one() -> None:
    """Not half a run: it either works to the end or starts nothing."""
    need_root()
    outer = in_mount_namespace("mount -t tmpfs none /proc")
    with started("sh", "-c", "echo $$; read line; exit 6", init=[*outer, *LAUNCHER], stdin=subprocess.PIPE) as process:
        assert process.line() == b"2\n"
        process.close_stdin()
        assert process.wait() == 6


def test_where_proc_is_not_mounted_anybody_else_is_told_so(user: User) -> None:
    outer = in_mount_namespace("mount -t tmpfs none /proc")
    line = refusal(init=[*outer, *user.launcher], marker=user.home / "ran")
    assert "/proc" in line
    assert "ENOENT" in line


def test_no_more_processes_is_said_in_one_line() -> None:
    need_root()
    need("prlimit")
    with somebody(MADE + 7, MADE + 7) as user:
        init = user.command("prlimit", "--nproc=0", *user.launcher[-2:])
        assert "fork" in refusal(init=init, marker=user.home / "ran")


def test_a_root_that_may_map_nobody_is_told_so(tmp_path: Path) -> None:
    """As `docker run --cap-drop ALL` leaves it: since Linux 5.12 mapping uid 0 takes CAP_SETFCAP."""
    need_root()
    if tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2]) < (5, 12):
        missing("needs Linux 5.12")
    line = refusal(init=["setpriv", "--bounding-set", "-all", *LAUNCHER], marker=tmp_path / "ran")
    assert "uid_map" in line
    assert "EPERM" in line
    assert "SETFCAP" in line or "SYS_ADMIN" in line


def test_the_copy_under_test_is_the_one_that_is_installed(user: User) -> None:
    """The tests above run a copy that their user can read: it is pyinit as it is, and finds its package beside it."""
    version = subprocess.run([PYINIT, "--version"], capture_output=True, check=True).stdout
    own = subprocess.run([*user.launcher[:-1], "--version"], capture_output=True, check=True, cwd=user.home).stdout
    assert own == version


@pytest.fixture
def capable() -> Iterator[User]:
    """A user whose interpreter's file has capabilities; see capabilities(7)."""
    need_root()
    need("setcap")
    with somebody(NOBODY, NOBODY) as user:
        python, script = user.home / "bin/python3", user.home / "bin" / SCRIPT.name
        shutil.copy(BASE_PYTHON, python)
        script.write_text(f"#!{python} -ISXutf8\n{script.read_text().partition(chr(10))[2]}")
        if subprocess.run(["setcap", "cap_net_bind_service+ep", python], check=False).returncode:
            missing("a file system that holds capabilities")
        yield user


def test_an_interpreter_with_capabilities_can_make_a_namespace(capable: User) -> None:
    """Its /proc/self is root's, until it says that it is like any other."""
    with started("sh", "-c", "exit 7", init=[*capable.launcher, "--"], stderr=subprocess.PIPE) as run:
        assert run.wait() == 7
        assert run.stderr.read() == b""


def test_a_parent_death_signal_outlives_an_interpreter_with_capabilities(capable: User) -> None:
    pyinit = str(capable.home / "bin/pyinit")
    init = capable.command("sh", "-c", f'{pyinit} -p TERM "$@" & read -r _', "sh")
    with started("sh", "-c", "echo up; sleep 1000", init=init, stdin=subprocess.PIPE) as run:
        run.up()
        run.close_stdin()
        wait_until(lambda: not run.alive(), "the end of pyinit, whose parent has died")
