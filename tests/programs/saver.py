"""A server that saves when it is told to stop: saver.py FILE SECONDS [WAY [LATE]]

It says up. From the first stop signal on it takes its time. Then it prints a last line, and writes the names of those
that came until then into FILE. WAY says how it takes them:

waits    by sigwait(3), all of them
dies     by sigwait(3), and dies at once of a second one
handles  by a handler, if it does not ignore them, and dies of a second one
ignores  by a handler that has the second one ignored
blocks   by a handler, when LATE seconds are over
"""

import os
import signal
import sys
import time

file, seconds, way = sys.argv[1], float(sys.argv[2]), (sys.argv[3:] or ["waits"])[0]
stops = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1}
came: list[str] = []
if way not in ("waits", "dies", "handles", "ignores", "blocks"):
    sys.exit(f"{way} is no way")


def told(signum: int, _: object) -> None:
    came.append(signal.Signals(signum).name)
    signal.signal(signum, signal.SIG_IGN if way == "ignores" else signal.SIG_DFL)
    time.sleep(seconds)
    save()


def save() -> None:
    os.write(1, b"the last line\n")  # print() cannot be called by a handler that has interrupted it
    with open(file, "w") as saved:
        saved.write(" ".join(came))
    sys.exit()


by_waiting = way in ("waits", "dies")
for stop in stops:
    if by_waiting or signal.getsignal(stop) != signal.SIG_IGN:
        signal.signal(stop, signal.SIG_DFL if by_waiting else told)
if way not in ("handles", "ignores"):
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
os.write(1, b"up\n")
if by_waiting:
    came.append(signal.Signals(signal.sigwait(stops)).name)
    if way == "dies":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
        time.sleep(seconds)
    end = time.monotonic() + seconds
    while way == "waits" and (left := end - time.monotonic()) > 0:
        if info := signal.sigtimedwait(stops, left):
            came.append(signal.Signals(info.si_signo).name)
    save()
if way == "blocks":
    time.sleep(float(sys.argv[4]))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
while True:
    time.sleep(0.05)  # the turn of a handler that comes right before a call that waits is taken after that
