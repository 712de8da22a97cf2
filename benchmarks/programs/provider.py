"""A provider that answers calls with its own name: ``python provider.py PORT NAME``."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Seconds that a call takes: at 200 a second some are always under way at a kill.
WORK = 0.03


class Handler(BaseHTTPRequestHandler):
    """The two endpoints of a module that the scenario needs."""

    protocol_version = "HTTP/1.1"
    # Small replies must not wait for the caller's acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Answer the health check."""
        self._reply({"status": "healthy"})

    def do_POST(self) -> None:
        """Answer a call with the provider's name and the params."""
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        threading.Event().wait(WORK)
        result = {"by": sys.argv[2], "params": call["params"]}
        self._reply({"capability": call["capability"], "result": result})

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def _reply(self, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """A server for many callers at once, which ends without waiting for them."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()
