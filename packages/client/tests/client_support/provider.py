"""A module in a process of its own: says who answers, or dies when it is told to."""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer({"status": "healthy"})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        params = json.loads(self.rfile.read(length))["params"]
        if params.get("die") == NAME:
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait(params.get("takes", 0.0))
        self._answer({"capability": "x", "result": {"by": NAME}})

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    NAME = sys.argv[1]
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
    print("up", flush=True)
    server.serve_forever()
