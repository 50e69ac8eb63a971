"""System calls that Python has no function for: prctl(2), mount(2), capset(2), and before 3.12 unshare(2)."""

import posix
import sys

from .. import __path__
from . import OWN_ERROR, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36  # <linux/prctl.h>


def prctl(option: int, argument: int = 0) -> int:
    """prctl(2); OSError. ImportError where there is neither python-prctl nor ctypes.

    python-prctl is the cheaper one to load, unless ctypes is there already, as for --pid-namespace, which mounts.
    """
    if "_ctypes" not in sys.modules:
        try:
            call = _python_prctl()
        except (ImportError, OSError):  # OSError: a folder that cannot be read
            pass
        else:
            return int(call(option, argument) or 0)  # None from what only sets
    return libc("prctl", option, argument)


def _python_prctl() -> "Callable[[int, int], int | None]":
    """The C half of python-prctl, whose Python half takes 3 ms to import; ImportError.

    It is beside pyinit or where Debian's packages are, and neither is in the path of an isolated Python.
    """
    sys.path.insert(0, f"{__path__[0]}/..")
    try:
        from _prctl import prctl as call
    except ImportError:
        call = None
    finally:
        del sys.path[0]  # before anything else is imported, which would be looked for there first
    if call is None:
        import site

        searched = len(sys.path)
        sys.path += site.getsitepackages()
        try:
            from _prctl import prctl as call
        finally:
            del sys.path[searched:]
    return call  # type: ignore[no-any-return]


def adopt_orphans() -> None:
    """Become a subreaper; see PR_SET_CHILD_SUBREAPER in prctl(2). A warning where that can't be done."""
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except ImportError as error:
        log.warning(f"orphans will not be adopted, because neither python-prctl nor ctypes can be imported: {error}")
    except OSError as error:
        log.warning(f"orphans will not be adopted: PR_SET_CHILD_SUBREAPER: {error.strerror}")


def set_parent_death_signal(signum: int) -> None:
    """Have the kernel send `signum` when the parent dies; see PR_SET_PDEATHSIG in prctl(2). Ends pyinit if it can't."""
    parent = posix.getppid()
    try:
        prctl(PR_SET_PDEATHSIG, signum)
    except (ImportError, OSError) as error:
        log.error(f"--parent-death-signal: {error}")
        posix._exit(OWN_ERROR)
    if posix.getppid() != parent:  # it died just before: the kernel has nothing to tell any more
        posix.kill(posix.getpid(), signum)


def unshare(flags: int) -> None:
    """unshare(2); OSError."""
    if hasattr(posix, "unshare"):  # Python 3.12
        posix.unshare(flags)
    else:
        libc("unshare", flags)


def mount(source: bytes, target: bytes, kind: bytes, flags: int) -> None:
    """mount(2) without data; OSError."""
    libc("mount", source, target, kind, flags, None)


def libc(function: str, *arguments: bytes | int | None) -> int:
    """Call a function of the C library that returns an int; OSError if that is -1.

    Of ctypes this takes the C half only: its Python half takes 3 ms to import.
    """
    import _ctypes

    class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
        _type_ = "l"

    class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
        _type_ = "i"

    class Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
        _restype_ = Int

    address = _ctypes.dlsym(_ctypes.dlopen(None, 0), function)  # type: ignore[arg-type]
    words = [Long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = int(Function(address)(*words))
    if result == -1:
        code = _ctypes.get_errno()
        raise OSError(code, posix.strerror(code))
    return result
