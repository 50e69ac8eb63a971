"""Runs a command while the system calls of the pyinit in it are listed, and one of them fails.

    python -m tests.faults.supervise CALLS [ROLE SYSCALL NTH ERRNO] -- command

Seccomp's user notification stops every system call of the command until this process has decided about it; see
seccomp_unotify(2). What counts is pyinit's own: from its first line on, which blocks every signal, in C and in Python,
in its children up to their exec, and in the adviser. CALLS is the file that they are written to, a line each: role,
system call, how often it has been made by that role. Roles are numbered as they appear: 0 is pyinit, 1 its first child.
A role that `runs` has become a command. The call that fails has `failed` and its errno behind it; 0 for NTH fails every
one. What the command leaves behind is listed as `left`, its name, its PID, and killed. The exit status is that of the
command.
"""

import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

LIBC = ctypes.CDLL(None, use_errno=True)
SECCOMP, PIDFD_GETFD = {"x86_64": (317, 438), "aarch64": (277, 438)}[platform.machine()]
SET_MODE_FILTER, NEW_LISTENER = 1, 1 << 3
USER_NOTIF = 0x7FC00000
BPF_RET = 0x06
RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND
NOTICE = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp
CONTINUE = 1
SIG_BLOCK, SIG_SETMASK = 0, 2


def syscall_names() -> dict[int, str]:
    """The names of the system calls by number, as <asm/unistd.h> has them on this machine.

    Debian's headers may bring every architecture's.
    """
    include = Path("/usr/include")
    own = [include / f"{platform.machine()}-linux-gnu/asm/unistd_64.h", include / "asm/unistd_64.h"]
    found = next((path for path in own if path.exists()), include / "asm-generic/unistd.h")
    lines = [line.split() for line in found.read_text().splitlines()]
    return {
        int(words[2]): words[1].partition("NR")[2].lstrip("3264_")
        for words in lines
        if len(words) > 2 and words[0] == "#define" and words[1].startswith("__NR") and words[2].isdigit()
    }


def call(number: int, *arguments: object) -> int:
    """syscall(2); OSError."""
    result = int(LIBC.syscall(ctypes.c_long(number), *arguments))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def become(command: list[str]) -> NoReturn:
    """In the child: have every system call supervised from now on, and exec."""
    instruction = ctypes.create_string_buffer(struct.pack("=HBBI", BPF_RET, 0, 0, USER_NOTIF))
    program = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(instruction)))
    if LIBC.prctl(38, 1, 0, 0, 0):  # PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    call(SECCOMP, ctypes.c_ulong(SET_MODE_FILTER), ctypes.c_ulong(NEW_LISTENER), program)
    os.execv(command[0], command)


def listener_of(pid: int, number: int) -> int:
    """The listener that the child `pid` has made as its descriptor `number`."""
    pidfd = os.pidfd_open(pid)
    while True:
        try:
            return call(PIDFD_GETFD, ctypes.c_long(pidfd), ctypes.c_long(number), ctypes.c_ulong(0))
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            time.sleep(0.001)


class Supervisor:
    """Decides about each system call.

    `fault` is role, system call, the how manieth or 0 for all, and errno; None: nothing fails.
    """

    def __init__(self, calls: Path, fault: "tuple[int, str, int, int] | None") -> None:
        self.calls = calls.open("w")
        self.fault = fault
        self.names = syscall_names()
        self.roles: dict[int, int] = {}  # of the PIDs that are watched
        self.passed: set[int] = set()  # the PIDs that are not
        self.starting: set[int] = set()  # those whose Python has not come to pyinit's first line yet
        self.made: Counter[tuple[int, str]] = Counter()
        self.expected: Counter[int] = Counter()  # the children that each has forked, and that have not shown themselves

    def decide(self, pid: int, number: int, arguments: tuple[int, ...]) -> int:
        """The errno that this call fails with, or 0."""
        name = self.names.get(number, str(number))
        role = self.role_of(pid, name, arguments)
        if role is None:
            return 0
        self.made[role, name] += 1
        code = 0
        if self.fault is not None and self.fault[:3] in ((role, name, self.made[role, name]), (role, name, 0)):
            code = self.fault[3]
        print(role, name, self.made[role, name], *(["failed", code] if code else []), file=self.calls)
        if name == "execve" and not code:
            self.has_become(pid, arguments)
        if name in ("clone", "fork") and not code:
            self.expected[pid] += 1
        return code

    def has_become(self, pid: int, arguments: tuple[int, ...]) -> None:
        """It becomes the waiter, or Python, which has been told what to do, or a command, which `runs` from here on."""
        if path_at(pid, arguments[0]).endswith(b"/native/waiter"):
            return
        if any(word.startswith(b"--told=") for word in words_at(pid, arguments[1])):
            self.starting.add(pid)
        else:
            self.passed.add(pid)
            print(self.roles[pid], "runs", 0, file=self.calls)

    def role_of(self, pid: int, name: str, arguments: tuple[int, ...]) -> int | None:
        """The role of the process; None where it is none of pyinit's."""
        if pid in self.passed:
            return None
        if pid in self.starting:
            if name != "rt_sigprocmask" or not blocks_all(pid, arguments):
                return None
            self.starting.remove(pid)
        if pid not in self.roles:
            if self.roles:
                if self.expected[parent_of(pid)] <= 0:  # an orphan that pyinit has adopted
                    self.passed.add(pid)
                    return None
                self.expected[parent_of(pid)] -= 1
            elif name != "rt_sigprocmask" or not blocks_all(pid, arguments):
                return None
            self.roles[pid] = len(self.roles)
        return self.roles[pid]


def parent_of(pid: int) -> int:
    """The parent of a process, which is in a system call."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def path_at(pid: int, address: int) -> bytes:
    """The path at an address of a process."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(4096).partition(b"\0")[0]


def words_at(pid: int, address: int) -> list[bytes]:
    """The first words of an argv at an address of a process."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        pointers = struct.unpack("=5Q", memory.read(40))
    return [path_at(pid, pointer) for pointer in pointers[: pointers.index(0) if 0 in pointers else 5]]


def blocks_all(pid: int, arguments: tuple[int, ...]) -> bool:
    """Whether rt_sigprocmask(2) is called to block every signal, but perhaps those that the C library keeps."""
    if arguments[0] not in (SIG_BLOCK, SIG_SETMASK) or not arguments[1]:
        return False
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(arguments[1])
        return bin(int.from_bytes(memory.read(8), sys.byteorder)).count("1") >= 60


def supervise(pid: int, listener: int, supervisor: Supervisor) -> None:
    """Serve until the command has ended."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(os.pidfd_open(pid), select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if not ready.get(listener, 0) & select.POLLIN:
            return
        try:
            notice = fcntl.ioctl(listener, RECEIVE, bytes(NOTICE.size))
        except OSError:  # ENOENT: a signal has ended the call
            continue
        identity, pid, _, number, _, _, *arguments = NOTICE.unpack(notice)
        try:
            code = supervisor.decide(pid, number, tuple(arguments))
        except OSError:  # it has been killed
            code = 0
        try:
            fcntl.ioctl(listener, SEND, ANSWER.pack(identity, 0, -code, 0 if code else CONTINUE))
        except OSError:
            pass  # ENOENT, as above


def leftovers() -> list[str]:
    """The children that the kernel does not end within a second, as it ends a namespace whose launcher has ended."""
    end = time.monotonic() + 1
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return []
        if time.monotonic() > end:
            return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        time.sleep(0.01)


def main(words: list[str]) -> int:
    """Run the command; its exit status, in a shell's terms."""
    options, command = words[: words.index("--")], words[words.index("--") + 1 :]
    fault = (int(options[1]), options[2], int(options[3]), int(options[4])) if len(options) > 1 else None
    LIBC.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: what the command leaves behind is seen
    number = os.dup(0)
    os.close(number)
    pid = os.fork()
    if pid == 0:
        become(command)
    supervisor = Supervisor(Path(options[0]), fault)
    supervise(pid, listener_of(pid, number), supervisor)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for left in leftovers():
        print("left", Path(f"/proc/{left}/comm").read_text().strip(), left, file=supervisor.calls)
        os.kill(int(left), signal.SIGKILL)
    supervisor.calls.close()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
