"""What is left to do for a pyinit that the waiter has woken up, and that cannot be loaded.

Called by the script. The package may be in the middle of an upgrade: nothing else of it is used here. The command and
its status must not be lost.
"""

import posix
import sys

TRIES = 4


def try_again(script: str) -> int:
    """Start the script anew, or else wait for the command; return the exit status.

    The waiter's word is behind the script's name, and each try adds a `+` to it. What the numbers in it are is told by
    Woken in the module request.
    """
    position = sys.orig_argv.index(script) + 1
    word = sys.orig_argv[position]
    if not word.startswith(f"--woken={posix.getpid():08x},"):
        return 125
    if word.count("+") < TRIES - 1:
        sys.orig_argv[position] = word + "+"
        posix.execv(sys.executable, sys.orig_argv)
    numbers = [int(number, 16) for number in word.removeprefix("--woken=").rstrip("+").split(",")]
    _, _, child, _, has_ended, status, _, signum, _, _ = numbers
    if child and not has_ended:
        posix.kill(child, signum)
        pid = 0
        while pid != child or posix.WIFSTOPPED(status):
            pid, status = posix.waitpid(-1, 0)
    if not child:
        return status
    return posix.WEXITSTATUS(status) if posix.WIFEXITED(status) else 128 + posix.WTERMSIG(status)
