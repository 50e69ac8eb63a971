"""`make matrix`: the demo, lint, the tests and two figures on other Debians, each with a Python of its own.

Words are suites, as debootstrap(8) knows them; without words they are those that Debian has in use. What they are
called, and which Python they have, the mirror says: each runs its own python3, unstable the newest that it has. Each is
a root file system from the cache under an overlay that is gone in the end, entered by pivot_root(2), because in a plain
chroot(2) no user namespace can be made.

`stable:arm64` is another architecture. It runs in a whole emulated system, which tools/arm64.py starts. It has all
packages and .venv/tools from the beginning, since the emulation takes half an hour to install them. It leaves out lint
and what only `--all` adds to the tests.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tools.cache import CERTIFICATES, bootstrap, cached, key

from . import arm64

REPOSITORY = Path(__file__).parents[1]
SUITES = ("stable", "testing", "unstable")
TESTS = "tests/unit tests/contract tests/terminal tests/namespace tests/launch tests/ps tests/shipped tests/faults"
PACKAGES = ("ca-certificates", "make", "python3")  # "a fresh Debian with python3, make and root"
# To be killed with this process, however it ends; and then nothing is left of what runs and of what is mounted.
NAMESPACES = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
HOST_FILES = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf")
# What a package manager is told of the way to its registry; nothing else of this machine's environment gets in.
KEPT = re.compile(r"PIP_(?!FIND_LINKS)\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|\w+_proxy|\w+_PROXY")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "CI": "true",  # a test that finds something missing fails
}
# $1: a directory to mount all of it in; $2: the root file system; the others: a command for in there.
ENTER = """
set -e
space=$1 lower=$2
shift 2
mount -t tmpfs -o mode=755 matrix "$space/over"
mkdir "$space/over/upper" "$space/over/work"
cd "$space/root"
mount -t overlay -o "lowerdir=$lower,upperdir=$space/over/upper,workdir=$space/over/work" matrix .
cd "$space/root"
mkdir -p old usr/src/pyinit matrix
for file in $FILES; do
    [ ! -e "/$file" ] || cp -L "/$file" "$file"
done
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mount --bind "$space/matrix" matrix
cp -R "$space/pyinit/." usr/src/pyinit
pivot_root . old
cd /usr/src/pyinit
umount -l /old
rmdir /old
"$@"
"""
# Names the suite and its Python, and runs each step, whatever became of the others.
STEPS = """
set -e
exec </dev/null
quietly() {
    "$@" >/matrix/output 2>&1 || { cat /matrix/output; return 1; }
}
undeprecated() {
    quietly "$@" && ! grep -iE 'deprecat|BuildBackendWarning' /matrix/output
}
prepare() {
    # A mirror may stand still, as a snapshot does.
    echo 'Acquire::Check-Valid-Until "false";' >/etc/apt/apt.conf.d/matrix
    quietly apt-get update
    quietly apt-get dist-upgrade -qq -y --no-install-recommends
    apt-get indextargets --format '$(CODENAME) $(SUITE)' | head -n 1 >/matrix/suite
    if grep -q unstable /matrix/suite; then
        python=$(apt-cache --names-only search '^python3[.][0-9]+$' | cut -d ' ' -f 1 | sort -V | tail -n 1)
        quietly $install $python $python-dev $python-venv
    fi
}
install="apt-get install -qq -y --no-install-recommends"
python=$(readlink /usr/bin/python3)
if [ "$EMULATED" ]; then
    echo "$EMULATED" >/matrix/suite
else
    prepare
fi
$python -c 'import platform; print(platform.python_version())' >/matrix/python
step() {
    echo "matrix: $(cat /matrix/suite), Python $(cat /matrix/python), $(date +%T): $1"
    name=$1
    shift
    "$@" && status=0 || status=$?
    echo $status >/matrix/$name.status
    [ $status = 0 ] || echo "matrix: $name: exit $status"
}
make="make --old-file=tests/requirements.txt PYTHON=/usr/bin/$python"  # .venv/tools may come with the root
step demo $make demo
step build $make .venv/pyinit .venv/tools
step pip undeprecated .venv/bin/pip install --verbose --no-deps --target /matrix/target .
step status sh -c '.venv/bin/pyinit -- sh -c "exit 7"; [ $? = 7 ]'
[ "$EMULATED" ] || step lint $make lint
[ "$EMULATED" ] || step packages quietly $install $TEST_PACKAGES
step tests .venv/bin/python -m pytest $OPTIONS --junitxml=/matrix/tests.xml -o junit_family=xunit1 $TESTS
step benchmarks .venv/bin/python -m bench --only start,rest $EFFORT --json /matrix/benchmarks.json
"""


class Row(NamedTuple):
    """What became of one suite."""

    suite: str
    python: str
    steps: dict[str, int]  # the exit status of each
    counts: dict[str, int]  # of tests
    figures: dict[str, tuple[float, float]]  # pyinit's and tini's

    def failed(self) -> bool:
        return not self.steps or any(self.steps.values())


def main(words: list[str]) -> int:
    """Run one suite after the other, show the table, return the exit status."""
    if os.geteuid() != 0:
        sys.exit("matrix: root file systems are made and mounted by root")
    rows = []
    for word in words or SUITES:
        suite, _, architecture = word.partition(":")
        if architecture not in ("", "arm64"):
            sys.exit(f"matrix: {word}: there is no emulator for {architecture}")
        rows.append(run(suite, emulated=bool(architecture)))
    print("\n".join(table(rows)))
    return any(row.failed() for row in rows)


def run(suite: str, emulated: bool) -> Row:
    """Run all steps in a root file system of this suite."""
    name = f"{suite} arm64" if emulated else suite
    try:
        root = emulated_root(suite) if emulated else native_root(suite)
    except RuntimeError as error:  # a mirror may lack this suite, and the others are run all the same
        print(f"matrix: {name}: {error}")
        return Row(name, "?", {"debootstrap": 1}, {}, {})
    variables = {"TEST_PACKAGES": os.environ.get("TEST_PACKAGES", ""), "TESTS": os.environ.get("TESTS") or TESTS}
    with space() as directory:
        if emulated:
            variables |= {"EMULATED": name, "OPTIONS": "-n 4 --dist worksteal", "EFFORT": "--quick"}
            variables |= {"PYINIT_TEST_DEADLINE": "600"}  # the emulation takes twenty times as long
            status = enter_emulated(root, directory, STEPS, variables)
        else:
            variables |= {"EMULATED": "", "OPTIONS": "--all", "EFFORT": ""}
            status = enter(root, directory, STEPS, variables)
        return result(directory / "matrix", name, status)


def native_root(suite: str) -> Path:
    """The root file system for enter(); RuntimeError."""
    return cached(f"root-{suite}-{key(*PACKAGES)}", lambda path: bootstrap(path, suite, PACKAGES))


def emulated_root(suite: str) -> Path:
    """The guest for enter_emulated(), with its packages; RuntimeError."""
    packages = sorted({*PACKAGES, *os.environ.get("ARM64_PACKAGES", "").split()})
    requirements = (REPOSITORY / "tests/requirements.txt").read_text()

    def make(guest: Path) -> None:
        arm64.download(guest, suite, packages)
        with space() as directory:
            if enter_emulated(guest, directory, arm64.INSTALL, {}):
                raise RuntimeError("the guest has not installed its packages")
            arm64.install(guest, directory / "matrix/root.tar")

    return cached(f"arm64-{suite}-{key(*packages, requirements, arm64.FIRST, *arm64.MODULES)}", make)


@contextmanager
def space() -> Iterator[Path]:
    """A directory for ENTER, which has the repository, and in the end what a script has left in /matrix."""
    with tempfile.TemporaryDirectory(prefix="pyinit-matrix-") as directory:
        path = Path(directory)
        path.chmod(0o755)  # other users' tests run in a directory of it
        for part in ("over", "root", "matrix"):
            (path / part).mkdir()
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", REPOSITORY, path / "pyinit"], check=True)
        yield path


def enter(root: Path, directory: Path, script: str, variables: dict[str, str]) -> int:
    """Run a script in a root file system, and return its exit status."""
    environment = kept() | variables | {"FILES": " ".join(HOST_FILES)}
    return subprocess.run(entering(str(directory), str(root), script), env=environment).returncode


def enter_emulated(guest: Path, directory: Path, script: str, variables: dict[str, str]) -> int:
    """Run a script in a guest of tools/arm64.py, and return its exit status."""
    command = entering(arm64.SHARED, "/", script)
    return arm64.boot(guest, directory, command, kept() | variables, [*HOST_FILES, CERTIFICATES])


def entering(directory: str, root: str, script: str) -> list[str]:
    return [*NAMESPACES, "sh", "-c", ENTER, "sh", directory, root, "sh", "-c", script]


def kept() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)} | ENVIRONMENT


def result(directory: Path, suite: str, status: int) -> Row:
    """What the steps have written down; `status` is that of the shell that ran them."""
    name, python = (said(directory / "suite") or suite, said(directory / "python") or "?")
    steps = {path.stem: int(said(path)) for path in sorted(directory.glob("*.status"))}
    if status:
        steps["system"] = status
    return Row(name, python, steps, tests(directory / "tests.xml"), figures(directory / "benchmarks.json"))


def said(path: Path) -> str:
    """What a step has written into a file; "" where it has not come to that."""
    return path.read_text().strip() if path.exists() else ""


def tests(path: Path) -> dict[str, int]:
    """How many tests there were, and what became of them."""
    if not path.exists():
        return {}
    suite = next(ElementTree.parse(path).iter("testsuite"))
    count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return {"passed": count["tests"] - failed - count["skipped"], "failed": failed, "skipped": count["skipped"]}


def figures(path: Path) -> dict[str, tuple[float, float]]:
    """The medians of the start, in ms, and of private memory at rest, in KiB, as PID 1: pyinit's and tini's."""
    if not path.exists():
        return {}
    found = {}
    for measure in json.loads(path.read_text())["measures"]:
        medians = {name: figure["median"] for name, figure in measure["figures"].items()}
        if measure["role"] == "PID 1" and {"pyinit", "tini"} <= medians.keys():
            found[measure["name"]] = (medians["pyinit"], medians["tini"])
    return found


def table(rows: list[Row]) -> list[str]:
    """One line for each suite, in Markdown, with a last column for what failed."""
    lines = ["", "| suite | Python | passed | failed | skipped | start / tini's | private memory / tini's | not well |"]
    lines.append("| --- " * 8 + "|")
    for row in rows:
        counts = [str(row.counts.get(name, "-")) for name in ("passed", "failed", "skipped")]
        start = beside(row.figures.get("init -- true"), "ms")
        memory = beside(row.figures.get("private dirty"), "KiB")
        bad = ", ".join(name for name, status in row.steps.items() if status)
        lines.append("| " + " | ".join([row.suite, row.python, *counts, start, memory, bad or "-"]) + " |")
    return lines


def beside(pair: tuple[float, float] | None, unit: str) -> str:
    return f"{pair[0]:.3g} / {pair[1]:.3g} {unit} = {pair[0] / pair[1]:.2g}" if pair else "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
