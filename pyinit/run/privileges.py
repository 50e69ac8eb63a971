"""The privileges that a new user namespace adds, and that pyinit gives up: the command must not gain a capability.

This is needed only if run.namespace had to make a user namespace. unshare(2) fills the capability sets, within that
namespace, and resets the securebits. If the command runs as uid 0, it would keep these capabilities after the exec. See
capabilities(7).
"""

import errno
import posix
import sys

from ..base.syscalls import libc, prctl

PR_CAPBSET_DROP, PR_GET_SECUREBITS, PR_SET_SECUREBITS = 24, 27, 28  # <linux/prctl.h>
CAPABILITY_VERSION_3 = 0x20080522  # <linux/capability.h>


class Privileges:
    """The capability sets and securebits of this process; OSError without /proc."""

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
                    break  # the kernel has no capability with this number
        prctl(PR_SET_SECUREBITS, self.securebits)
        words = [0, *(each & 0xFFFFFFFF for each in self.sets), *(each >> 32 for each in self.sets)]  # 0: this process
        data = b"".join(word.to_bytes(4, sys.byteorder) for word in [CAPABILITY_VERSION_3, *words])
        libc("capset", data[:8], data[8:])
