"""The build steps that setup.cfg names; nothing imports this at run time.

With a C compiler the command `pyinit` is the C program, and Python's half lies beside it as `pyinit-python`. pip writes
the interpreter that it installs for into its first line. So one wheel serves every Python of a platform.

Without a compiler the command is the script. pip drops the flags of a `#!python` line, but without -I and -S whatever
PYTHONPATH holds would run inside PID 1. So the script gets the absolute path of the interpreter that it is built with
(the base interpreter, which outlives any venv), and the wheel is tagged for that Python, since it holds for it alone.
No tag can hold the path: if two Pythons of one version share pip's cache, --no-cache-dir passes it by.
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
SOURCE = "pyinit/native/pyinit.c"


def compile_program(target: Path, *flags: str) -> None:
    """Build the C program as `target`; if no compiler can, there is none then."""
    own_flags = [word for name in ("CFLAGS", "LDFLAGS") for word in shlex.split(os.environ.get(name, ""))]
    target.unlink(missing_ok=True)  # of an earlier build
    for compiler in filter(None, (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc")):
        for way in WAYS:
            command = [*shlex.split(compiler), *own_flags, *way.split(), *flags, "-o", str(target), SOURCE]
            try:
                if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
                    return
            except FileNotFoundError:  # try the next one
                break
            except OSError:
                return
        else:
            return


class BuildPackage(build_py):
    """Builds the C program too, if there is a compiler."""

    def run(self) -> None:
        """Copy the package, and put the C program in it, without its entrance: what Python becomes."""
        super().run()
        target = Path(self.build_lib, "pyinit/native/waiter")
        compile_program(target, "-DWAITER=1")
        if not target.exists():
            print("pyinit: no C compiler that works, so PID 1 will be Python: it starts later and takes more memory")


class BuildScripts(build_scripts):
    """Makes the command of the C program, if there is one."""

    def run(self) -> None:
        """Build the scripts; SystemExit if the kernel could not run the first line of the only one."""
        super().run()
        script = Path(self.build_dir, "pyinit")
        program = script.with_name("program")
        compile_program(program)
        if program.exists():
            script.replace(script.with_name("pyinit-python"))
            program.replace(script)
            return
        first, _, rest = script.read_text().partition("\n")
        line = f"#!{interpreter()} {first.partition(' ')[2]}"
        if " " in interpreter() or len(line) > LONGEST_LINE:
            raise SystemExit(f"pyinit: {line!r} is no line that execve(2) understands: move this Python")
        script.write_text(f"{line}\n{rest}")


class BdistWheel(bdist_wheel):
    """Tags the wheel for the platform, and without the C program for the interpreter that its script names."""

    def get_tag(self) -> tuple[str, str, str]:
        """The wheel's tag: `py3`, `none`, `linux_x86_64`; without the C program `cp311`, `cp311`, `linux_x86_64`."""
        platform = str(self.plat_name).replace("-", "_").replace(".", "_")
        if list(Path(self.bdist_dir).rglob("native/waiter")):
            return "py3", "none", platform
        python = "cp%d%d" % sys.version_info[:2]
        return python, python + sys.abiflags, platform
