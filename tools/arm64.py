"""An arm64 Debian with a kernel of its own, under qemu-system-aarch64, for `make matrix SUITES=stable:arm64`.

debootstrap(8) downloads a kernel and packages here, and the guest installs the packages. A guest is a directory with
the kernel, an initramfs and the root file system. The guest mounts the root file system read-only by 9p, and beside it
a directory in which it finds its orders and leaves its results. It uses this machine's network.
"""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools.cache import bootstrap

SHARED = "/run"  # where the guest has the directory that it shares with this machine
KERNEL = ("linux-image-arm64", "busybox-static")
MODULES = ("9pnet_virtio", "9p", "overlay", "virtio_net", "unix_diag")
QEMU = """
qemu-system-aarch64 -machine virt -cpu cortex-a72 -smp 2 -m 6G -nographic -no-reboot
-append "console=ttyAMA0 quiet panic=-1" -netdev user,id=net -device virtio-net-pci,netdev=net,romfile=
"""
NAME_SERVER = "nameserver 10.0.2.3\n"  # this and the addresses below are those of qemu's user network
# The guest's first process. The kernel's files for descriptors are links that udev makes elsewhere.
FIRST = """#!/bin/busybox sh
/bin/busybox --install -s /bin
for module in /modules/*; do insmod $module; done
ifconfig lo up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
route add default gw 10.0.2.2
share="mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=512000"
$share,ro root /root
$share shared /root/run
cd /root
mount -t proc proc proc
mount -t sysfs sys sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
echo +memory +pids >sys/fs/cgroup/cgroup.subtree_control
mount -t devtmpfs dev dev
mkdir dev/pts dev/shm
mount -t devpts -o ptmxmode=666,gid=5,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
exec switch_root . /bin/sh /run/orders <dev/console >dev/console 2>&1
"""
ORDERS = """
setsid --wait {command}
echo $? >/run/status
sync
echo o >/proc/sysrq-trigger
sleep 1000
"""
# Run by the guest in a copy of the repository. debootstrap installs only what is required, because it takes minutes for
# each package that must come before another. It unmounts /proc. ca-certificates forgets this machine's certificates.
INSTALL = """
set -e
exec </dev/null
export RUNLEVEL=1
cp -r /etc/ssl /matrix
: >/debootstrap/base
/debootstrap/debootstrap --second-stage
mountpoint -q /proc || mount -t proc proc /proc
dpkg --force-depends --skip-same-version --unpack /var/cache/apt/archives/*.deb
dpkg --configure --pending
cp -r /matrix/ssl /etc
rm -f /var/cache/apt/archives/*.deb
make PYTHON=/usr/bin/python3 .venv/tools
tar -C / --one-file-system -cf /matrix/root.tar .
"""


def download(guest: Path, suite: str, packages: Iterable[str]) -> None:
    """Make a guest that can boot and has all packages for INSTALL, but none installed; RuntimeError."""
    guest.mkdir()
    download_kernel(guest, suite)
    bootstrap(guest / "root", suite, packages, "--arch=arm64", "--foreign")
    if (guest / "root/proc").is_symlink():  # debootstrap makes it so if it runs in a container
        (guest / "root/proc").unlink()
        (guest / "root/proc").mkdir()


def download_kernel(guest: Path, suite: str) -> None:
    """Put the kernel and the initramfs into the guest; RuntimeError."""
    with tempfile.TemporaryDirectory() as directory:
        archives, kernel, first = (Path(directory, name) for name in ("archives", "kernel", "first"))
        bootstrap(archives, suite, KERNEL, "--arch=arm64", "--download-only")
        for name in ("linux-image-[0-9]", "busybox-static_"):
            package = next(archives.glob(f"var/cache/apt/archives/{name}*.deb"))
            subprocess.run(["dpkg-deb", "--extract", package, kernel], check=True)
        for part in ("bin", "dev", "modules", "proc", "root", "sys"):
            (first / part).mkdir(parents=True)
        shutil.copy(next(kernel.glob("**/bin/busybox")), first / "bin")
        (first / "init").write_text(FIRST)
        (first / "init").chmod(0o755)
        for number, module in enumerate(modules(kernel)):
            shutil.copy(module, first / f"modules/{number:02}-{module.name}")
        shutil.copy(next(kernel.glob("boot/vmlinuz-*")), guest / "vmlinuz")
        pack = f"find . | cpio --quiet --create --format=newc | gzip >{shlex.quote(str(guest))}/initrd"
        subprocess.run(["sh", "-c", pack], cwd=first, check=True)


def modules(kernel: Path) -> list[Path]:
    """The files of MODULES and of what they need, in the order in which they are loaded."""
    directory = next(kernel.glob("**/lib/modules/*"))
    base = directory.parents[2]
    subprocess.run(["depmod", "-b", base, directory.name], check=True)
    command = ["modprobe", "-d", str(base), "-S", directory.name, "--show-depends", "--all", *MODULES]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [Path(path) for path in dict.fromkeys(line.split()[1] for line in lines if line.startswith("insmod"))]


def boot(guest: Path, shared: Path, command: list[str], environment: Mapping[str, str], files: Iterable[str]) -> int:
    """Run a command in the guest, show what it prints, and return its exit status; 1 if the guest fails.

    `files` are this machine's, and are put into the guest.
    """
    for file in filter(lambda file: Path("/", file).exists(), files):
        (guest / "root" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path("/", file), guest / "root" / file)
    (guest / "root/etc/resolv.conf").write_text(NAME_SERVER)
    variables = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    (shared / "orders").write_text("".join(variables) + ORDERS.format(command=shlex.join(command)))
    qemu = [*shlex.split(QEMU), "-kernel", str(guest / "vmlinuz"), "-initrd", str(guest / "initrd")]
    for tag, path, read_only in (("root", guest / "root", "on"), ("shared", shared, "off")):
        qemu += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=passthrough,readonly={read_only}"]
    subprocess.run(qemu, stdin=subprocess.DEVNULL)
    status = shared / "status"
    return int(status.read_text()) if status.exists() else 1


def install(guest: Path, tree: Path) -> None:
    """Put the root file system that INSTALL has written in the place of the one that ran it."""
    shutil.rmtree(guest / "root")
    (guest / "root").mkdir()
    subprocess.run(["tar", "-C", guest / "root", "--numeric-owner", "-xpf", tree], check=True)
