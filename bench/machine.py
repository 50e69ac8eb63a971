"""What the run ran on. No host name and no path of this machine is part of it."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from .contenders import PYINIT, Init


def describe(inits: list[Init], python: str) -> dict[str, str]:
    """Return words for the reader: processor, system, versions."""
    facts = {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{_system()}, Linux {platform.release()}, {platform.machine()}",
        "load at the start": f"{os.getloadavg()[0]:.2f}",
        "python": _said([python, "-I", "-S", "-c", "import sys; print('CPython', sys.version.split()[0])"]),
    }
    for init in inits:
        facts[init.name] = _own_version() if init.name == PYINIT else _version(init.path)
    return facts


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return "an unknown distribution"


def _own_version() -> str:
    for name in ("pyinit-pid1", PYINIT):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _version(path: str) -> str:
    """Return the last word that looks like a version in what the program says of itself."""
    words = _said([path, "--version"]).replace("v", " ").split()
    return next((word.partition("_")[0] for word in reversed(words) if word[:1].isdigit() and "." in word), "unknown")


def _said(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=10, env={"PATH": os.defpath}, check=False)
    return (done.stdout + done.stderr).strip()
