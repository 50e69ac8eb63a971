"""What a new user namespace hands out, taken back: the command must not gain a capability.

Called by launcher where it had to make a user namespace. unshare(2) fills the capability sets, within that namespace,
and resets the securebits; for a command that runs as uid 0 the next exec would keep it so. See capabilities(7).
"""

import ctypes
import sys

from .kernel import libc, prctl

PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_GET_SECUREBITS, PR_SET_SECUREBITS = 23, 24, 27, 28  # <linux/prctl.h>
CAPABILITY_VERSION_3 = 0x20080522  # <linux/capability.h>
DATA_SIZE = 24  # two times three 32-bit words: effective, permitted, inheritable


class Privileges:
    """The capability sets and securebits that this process has."""

    def __init__(self) -> None:
        self.securebits = prctl(PR_GET_SECUREBITS)
        self.header = CAPABILITY_VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)  # PID 0: this process
        self.sets = ctypes.create_string_buffer(DATA_SIZE)
        libc("capget", self.header, self.sets)
        self.unbounded = []  # the capabilities that are not in the bounding set
        for capability in range(64):
            try:
                if not prctl(PR_CAPBSET_READ, capability):
                    self.unbounded.append(capability)
            except OSError:  # EINVAL: the kernel knows no more
                break

    def restore(self) -> None:
        """Give up what this process has beyond these privileges; OSError."""
        for capability in self.unbounded:
            prctl(PR_CAPBSET_DROP, capability)
        prctl(PR_SET_SECUREBITS, self.securebits)
        libc("capset", self.header, self.sets)
