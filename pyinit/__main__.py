"""`python -m pyinit`: it starts the script anew, in an isolated interpreter."""

import posix
import sys

from .base import OWN_ERROR
from .native.launch import SCRIPT, isolated
from .run.command import restore_locale

try:
    restore_locale()
    posix.execv(sys.executable, [*isolated(), *sys.argv[1:]])
except OSError as error:
    print(f"pyinit: cannot start {sys.executable} {SCRIPT}: {error.strerror}", file=sys.stderr)
    posix._exit(OWN_ERROR)
