"""The build steps that setup.cfg names; nothing imports this at run time.

pip replaces a script's `#!python …` line by the path of its interpreter and drops the flags, but without -I and -S
whatever PYTHONPATH holds would run inside PID 1. /bin/sh in front of python3 would be portable, but it is not
transparent: dash loses variables such as `discovery.type=x`, adds PWD, and forgets that SIGCHLD was ignored. So the
script gets the absolute path of the interpreter it is built with (the base interpreter, which outlives any venv), and
the wheel is tagged for that Python, its ABI and platform, since it holds for them alone. No tag can hold the path: a
cache of pip's that two Pythons of one version share has to be passed by, with --no-cache-dir.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools.command.bdist_wheel import bdist_wheel  # isort: skip, it brings distutils with it
from setuptools.command.build_py import build_py  # isort: skip
from distutils.command.build_scripts import build_scripts  # isort: skip

FLAGS = "-ISXutf8"
LONGEST_LINE = 127  # before Linux 5.1; see execve(2)


def interpreter() -> str:
    """The absolute path of the base interpreter, with its version in its name where it has such a name."""
    base = Path(os.path.abspath(getattr(sys, "_base_executable", sys.executable)))
    versioned = base.with_name(f"python%d.%d{sys.abiflags}" % sys.version_info[:2])
    return str(versioned if versioned.exists() else base)


# Small and read-only, without a C library; then with one, for other machines.
SMALL = "-DFREESTANDING -Os -static -nostdlib -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables"
SMALL += " -fno-pie -no-pie -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,norelro -s"
WAYS = (SMALL, "-Os -static -s", "-Os -s")


class BuildPackage(build_py):
    """Builds the waiter too, where there is a compiler."""

    def run(self) -> None:
        """Copy the package, and put the waiter in it."""
        super().run()
        compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
        target = Path(self.build_lib, "pyinit", "waiter")
        target.unlink(missing_ok=True)  # of an earlier build
        for way in WAYS:
            command = [*shlex.split(compiler), *way.split(), "-o", str(target), "pyinit/waiter.c"]
            try:
                if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
                    return
            except OSError:
                break
        print("pyinit: no C compiler that works, so pyinit will wait in Python: it takes more memory at rest")


class BuildScripts(build_scripts):
    """Starts the script with the interpreter's own path and the flags that isolate it."""

    def run(self) -> None:
        """Build the scripts, then write their first line; SystemExit where the kernel could not run that line."""
        super().run()
        line = f"#!{interpreter()} {FLAGS}"
        if " " in interpreter() or len(line) > LONGEST_LINE:
            raise SystemExit(f"pyinit: {line!r} is no line that execve(2) understands: move this Python")
        for script in self.scripts:
            built = Path(self.build_dir, Path(script).name)
            built.write_text(f"{line}\n{built.read_text().partition(chr(10))[2]}")


class BdistWheel(bdist_wheel):
    """Tags the wheel for the interpreter and the platform that its script names."""

    def get_tag(self) -> tuple[str, str, str]:
        """The wheel's tag: `cp311`, `cp311`, `linux_x86_64`; for a free-threaded Python `cp313`, `cp313t`."""
        python = "cp%d%d" % sys.version_info[:2]
        return python, python + sys.abiflags, str(self.plat_name).replace("-", "_").replace(".", "_")
