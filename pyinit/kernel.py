"""System calls that Python has no function for: prctl(2), mount(2), capget(2), and before 3.12 unshare(2).

Called by parentage, where pyinit is not PID 1, and by launcher and privileges. prctl(2) is called by python-prctl,
which is cheap to load, and by ctypes where that is not installed.
"""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>


def prctl(option: int, argument: int) -> None:
    """prctl(2); OSError. ImportError where there is neither python-prctl nor ctypes."""
    try:
        call = _python_prctl()
    except ImportError:
        libc("prctl", option, argument)
    else:
        call(option, argument)


def _python_prctl() -> "Callable[[int, int], object]":
    """The C half of python-prctl: its Python half takes 3 ms to import."""
    import sys

    from . import __path__

    # Beside pyinit, or where Debian's packages are: neither is in the path of an isolated Python.
    sys.path.insert(0, f"{__path__[0]}/..")
    try:
        from _prctl import prctl as call
    except ImportError:
        import site

        sys.path += site.getsitepackages()
        from _prctl import prctl as call
    finally:
        del sys.path[0]
    return call  # type: ignore[no-any-return]


def unshare(flags: int) -> None:
    """unshare(2); OSError."""
    if hasattr(posix, "unshare"):  # Python 3.12
        posix.unshare(flags)
    else:
        libc("unshare", flags)


def mount(source: bytes, target: bytes, kind: bytes, flags: int) -> None:
    """mount(2) without data; OSError."""
    libc("mount", source, target, kind, flags, None)


def libc(function: str, *arguments: "bytes | int | ctypes.Array[ctypes.c_char] | None") -> int:
    """Call a function of the C library that returns an int; OSError where that is -1."""
    import ctypes

    words = [ctypes.c_ulong(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = int(getattr(ctypes.CDLL(None, use_errno=True), function)(*words))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, posix.strerror(code))
    return result
