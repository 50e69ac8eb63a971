"""System calls for which Python has no function: prctl(2), mount(2), capset(2), and before Python 3.12 unshare(2)."""

import posix
import sys

from .. import __path__
from . import OWN_ERROR, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36  # <linux/prctl.h>


def prctl(option: int, argument: int = 0) -> int:
    """Call prctl(2) and return its result; OSError. ImportError if there is neither python-prctl nor ctypes.

    python-prctl loads faster than ctypes. But --pid-namespace has loaded ctypes already, because it calls mount(2).
    """
    if "_ctypes" not in sys.modules:
        try:
            call = _python_prctl()
        except (ImportError, OSError):  # OSError: a folder cannot be read
            pass
        else:
            return int(call(option, argument) or 0)  # an option that only sets returns None
    return libc("prctl", option, argument)


def _python_prctl() -> "Callable[[int, int], int | None]":
    """Return prctl() from the C half of python-prctl; ImportError. Its Python half takes 3 ms to import.

    The module is beside pyinit or in the folder of Debian's packages. An isolated Python has neither in its path.
    """
    sys.path.insert(0, f"{__path__[0]}/..")
    try:
        from _prctl import prctl as call
    except ImportError:
        call = None
    finally:
        del sys.path[0]  # at once: Python would look there first for any other module
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
    """Become a subreaper, or print a warning if that fails; see PR_SET_CHILD_SUBREAPER in prctl(2)."""
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    except ImportError as error:
        log.warning(f"orphans will not be adopted, because neither python-prctl nor ctypes can be imported: {error}")
    except OSError as error:
        log.warning(f"orphans will not be adopted: PR_SET_CHILD_SUBREAPER: {error.strerror}")


def set_parent_death_signal(signum: int) -> None:
    """Have the kernel send `signum` to pyinit when pyinit's parent dies; see PR_SET_PDEATHSIG in prctl(2).

    If that fails, pyinit prints the error and exits.
    """
    parent = posix.getppid()
    try:
        prctl(PR_SET_PDEATHSIG, signum)
    except (ImportError, OSError) as error:
        log.error(f"--parent-death-signal: {error}")
        posix._exit(OWN_ERROR)
    if posix.getppid() != parent:  # it died just before, so the kernel sends no signal
        posix.kill(posix.getpid(), signum)


def unshare(flags: int) -> None:
    """Call unshare(2); OSError."""
    if hasattr(posix, "unshare"):  # Python 3.12
        posix.unshare(flags)
    else:
        libc("unshare", flags)


def mount(source: bytes, target: bytes, kind: bytes, flags: int) -> None:
    """Call mount(2) without data; OSError."""
    libc("mount", source, target, kind, flags, None)


def libc(function: str, *arguments: bytes | int | None) -> int:
    """Call a function of the C library and return its int; OSError if that is -1.

    This uses only the C half of ctypes, because the Python half takes 3 ms to import.
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
