"""Stands in for the command `pyinit` in tests: a program that launches itself, then becomes the command that it names.

It takes the words of a command line, and passes the options to pyinit.launch().
"""

import os
import signal
import sys

import pyinit
from pyinit.run.options import read

options = read(sys.argv[1:], {})
pyinit.launch(
    subreaper=True,
    scope=options.scope or None,  # type: ignore[arg-type]
    rewrite=options.rewrites,
    remap_exit=options.remapped,
    grace=options.grace,
    kill_after=options.kill_after,
    wait_all=options.wait_all,
    parent_death_signal=options.parent_death_signal or None,
    warn_on_reap=options.warn_on_reap,
    verbose=max(options.verbosity, 0),
    json_status_fd=options.status_fd if options.status_fd >= 0 else None,
)
for ignored_by_python in signal.SIGPIPE, signal.SIGXFSZ:
    signal.signal(ignored_by_python, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    os.execvp(options.command[0], options.command)
except FileNotFoundError as error:
    print(error, file=sys.stderr)
    sys.exit(127)
