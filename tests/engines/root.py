"""A root file system with the engines of Debian's next release, for those that this machine's Debian does not have yet.

It is made by debootstrap once and kept in a cache. What runs in it shares everything with this machine but the file
system, of which it sees /tmp, the repository and the cache: tests look at its processes as at all others. Used by
conftest.py.
"""

import subprocess
import tempfile
from typing import Self

from tests.engines.base import REPOSITORY
from tools.cache import bootstrap, cached, key

SUITE = "testing"
DOCKER = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "iproute2")
PODMAN = ("podman", "crun", "conmon", "catatonit")
PACKAGES = ("ca-certificates", *DOCKER, *PODMAN)
# $1: the root file system, which stays as it is; the others: directories of this machine. A chroot(2) would not do:
# an engine makes mounts and namespaces, see pivot_root(2).
ENTER = """
set -e
root=$1
shift
mount --bind "$root" "$root"
for directory in run var/cache var/lib var/tmp; do
    mount -t tmpfs -o mode=755 engines "$root/$directory"
done
for directory in /proc /sys /dev "$@"; do
    mkdir -p "$root$directory"
    mount --rbind "$directory" "$root$directory"
done
# Newer engines are about to know version 2 only, or know it already.
[ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 engines "$root/sys/fs/cgroup"
mount -o remount,bind,ro "$root"
cd "$root"
pivot_root . .
umount --lazy .
echo entered
exec sleep infinity
"""


class Root:
    """The root file system, entered while the context lasts."""

    def __enter__(self) -> Self:
        root = cached(f"engines-{key(SUITE, *PACKAGES)}", lambda path: bootstrap(path, SUITE, PACKAGES))
        directories = [tempfile.gettempdir(), str(REPOSITORY), str(root.parent)]
        # Its mounts last as long as it does, and it no longer than this suite.
        own = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount"]
        argv = [*own, "sh", "-c", ENTER, "sh", str(root), *directories]
        self.holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        if not self.holder.stdout or self.holder.stdout.readline() != "entered\n":
            raise RuntimeError(f"{root} cannot be entered")
        return self

    def __exit__(self, *_: object) -> None:
        self.holder.kill()
        self.holder.communicate()

    def inside(self, *words: str) -> list[str]:
        """The argv that runs these words in it."""
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *words]
