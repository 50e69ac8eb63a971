"""What a new user namespace hands out, taken back: the command must not gain a capability.

Called by namespace if it had to make a user namespace. unshare(2) fills the capability sets, within that namespace,
and resets the securebits; for a command that runs as uid 0 the next exec would keep it so. See capabilities(7).
"""

import errno
import posix
import sys

from ..base.syscalls import libc, prctl

PR_CAPBSET_DROP, PR_GET_SECUREBITS, PR_SET_SECUREBITS = 24, 27, 28  # <linux/prctl.h>
CAPABILITY_VERSION_3 = 0x20080522  # <linux/capability.h>


class Privileges:
    """The capability sets and securebits that this process has; OSError without /proc."""

    def __init__(self) -> None:
        self.securebits = prctl(PR_GET_SECUREBITS)
        fd = posix.open("/proc/self/status", posix.O_RDONLY | posix.O_CLOEXEC)
        fields = dict(line.split(b":", 1) for line in posix.read(fd, 65536).splitlines())
        posix.close(fd)
        self.sets = [int(fields[name], 16) for name in (b"CapEff", b"CapPrm", b"CapInh")]
        self.bounding = int(fields[b"CapBnd"], 16)

    def restore(self) -> None:
        """Give up what this process has beyond these privileges; OSError."""
        for capability in range(64):
            if not self.bounding >> capability & 1:
                try:
                    prctl(PR_CAPBSET_DROP, capability)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    break  # the kernel knows no more
        prctl(PR_SET_SECUREBITS, self.securebits)
        words = [0, *(each & 0xFFFFFFFF for each in self.sets), *(each >> 32 for each in self.sets)]  # 0: this process
        data = b"".join(word.to_bytes(4, sys.byteorder) for word in [CAPABILITY_VERSION_3, *words])
        libc("capset", data[:8], data[8:])
