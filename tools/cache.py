"""What takes minutes to make and is kept for the next time, root file systems by debootstrap above all.

It lies in $XDG_CACHE_HOME/pyinit-tests, else in /var/cache/pyinit-tests. Its name holds a hash of what it is made from.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The path of what is called `name`; `make` makes it first, at the path that it is given, where it is not there."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache", "pyinit-tests")
    directory.mkdir(parents=True, exist_ok=True)
    kept, unfinished = directory / name, directory / f"{name}.unfinished"
    with open(directory / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two who start at once, one makes it and the other waits
        if not kept.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(kept)
    return kept


def key(*inputs: str) -> str:
    """A hash of what something is made from, and for which machine."""
    return hashlib.sha256("\n".join([*inputs, platform.machine()]).encode()).hexdigest()[:16]


def bootstrap(root: Path, suite: str, packages: Iterable[str], *options: str) -> None:
    """Make a root file system of a Debian suite by debootstrap(8), with these packages; RuntimeError.

    It reaches package indexes the way this machine does: with its certificates.
    """
    # In namespaces of its own, which end what an interrupted one leaves mounted.
    inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", *options, suite, str(root)]
    result = subprocess.run([*inside, *command], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"debootstrap: exit {result.returncode}\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    (root / CERTIFICATES).parent.mkdir(parents=True, exist_ok=True)  # with --foreign it is not there yet
    shutil.copyfile(f"/{CERTIFICATES}", root / CERTIFICATES)
