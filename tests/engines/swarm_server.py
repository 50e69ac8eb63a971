"""The service of test_swarm.py: HTTP on a socket in /sockets, named after the slot of the replica.

On SIGTERM it takes its socket's name away, so that no new client finds it, goes on answering those who had, and needs
two seconds until its work is finished. It then exits with 0.
"""

import os
import signal
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

WORK = 0.1  # seconds that a request takes
FINISHING = 2.0  # seconds from SIGTERM to the end


class Handler(BaseHTTPRequestHandler):
    """Answers with the version that it was deployed as."""

    def do_GET(self) -> None:
        time.sleep(WORK)
        body = os.environ["VERSION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        """A client of a Unix socket has no address."""
        return "-"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Server(socketserver.ThreadingUnixStreamServer):
    """Waits for the requests in hand before it closes."""

    daemon_threads = False
    request_queue_size = 128


def main() -> None:
    """Serve until SIGTERM, and two seconds more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    name = Path("/sockets", os.environ["SLOT"])
    server = Server(f"{name}.new", Handler)
    os.rename(f"{name}.new", name)
    threading.Thread(target=server.serve_forever).start()
    signal.sigwait([signal.SIGTERM])
    name.unlink()
    time.sleep(FINISHING)
    server.shutdown()
    server.server_close()
    print("finished", flush=True)
    sys.exit(0)


main()
