"""Records the signals that come: recorder.py [SIGNAME...]

It says up, and then a line for each signal that somebody sends: got, and the name, or the number if it has no name. It
ends when one comes that is named, and by SIGTERM if none is.
"""

import signal
import sys

ends = sys.argv[1:] or ["SIGTERM"]
every = signal.valid_signals()
names = {int(member): member.name for member in signal.Signals}
signal.pthread_sigmask(signal.SIG_BLOCK, every)
print("up", flush=True)
name = ""
while name not in ends:
    info = signal.sigwaitinfo(every)
    if info.si_signo != signal.SIGCHLD or info.si_code <= 0:  # not for the end of a child
        name = names.get(info.si_signo, str(info.si_signo))
        print("got", name, flush=True)
