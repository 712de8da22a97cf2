"""Starts programs/serving.py as a real server and speaks raw HTTP/1.1 to it."""

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from socketserver import BaseServer
from tempfile import NamedTemporaryFile
from typing import Any

from support.programs.serving import main
from support.registry import eventually
from support.servers.forked import Forked

HOST = "127.0.0.1"


# Browsers open none of the ports up to 10,080 that once had another use.
FIRST_PORT, LOWEST_OUTGOING = 10_081, 32_768
# Each worker of the tests has ports of its own: until a server listens at the one that
# was found free, another worker would find it free as well.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
OWN_PORTS = (LOWEST_OUTGOING - FIRST_PORT) // WORKERS
# Each process begins elsewhere, so that two of them seldom try the same.
_ports = count(os.getpid() * 61)


def free_port() -> int:
    """Return a port that nothing listens on.

    Not one that the kernel gives to outgoing connections: such a port may be taken by
    one of them before a server, which takes its time to start, listens there.
    """
    for _ in range(OWN_PORTS):
        port = FIRST_PORT + WORKER * OWN_PORTS + next(_ports) % OWN_PORTS
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise OSError("no port is free")


@contextmanager
def in_thread(server: BaseServer) -> Iterator[None]:
    """Have ``server`` serve until the end of the block, then close it."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        # The second: it ended between the opening and the reading of the file.
        return False
    return state != "Z"


class Server:
    """A server under test; ``stop`` and `running` end all that belongs to it."""

    def __init__(self, **settings: Any) -> None:
        self.port: int = settings.setdefault("port", free_port())
        self._errors = NamedTemporaryFile()  # noqa: SIM115 (closed in `kill`)
        self.process = Forked(main, json.dumps(settings), errors=self._errors.name)

    def wait_until_up(self) -> None:
        eventually(lambda: self.process.poll() is not None or self._answers())
        assert self.process.poll() is None, self.errors()

    def _answers(self) -> bool:
        try:
            return self.get("/")[0] == 200
        except OSError:
            return False

    def get(self, path: str, timeout: float = 10.0) -> tuple[int, Any]:
        return self.call("GET", path, timeout=timeout)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 10.0,
    ) -> tuple[int, Any]:
        """Return status and JSON of one call on a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def worker(self) -> int:
        pid: int = self.get("/")[1]["pid"]
        return pid

    def connect(
        self, sent: bytes = b"", timeout: float = 10.0, source: str = HOST
    ) -> socket.socket:
        connection = socket.create_connection((HOST, self.port), timeout, (source, 0))
        connection.sendall(sent)
        return connection

    def exchange(self, sent: bytes, half_close: bool = False) -> bytes:
        """Send bytes; return all that comes back until the server closes."""
        with self.connect(sent) as connection:
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def signal(self, number: signal.Signals, group: bool = False) -> None:
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def exit_code(self, seconds: float = 10.0) -> int:
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it, and all that it has left behind. Idempotent."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self._errors.close()

    def errors(self) -> str:
        """What it has said; it must have ended, or end soon."""
        self.process.wait(10)
        return self._errors.read().decode()


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def read_some(connection: socket.socket, until: bytes) -> bytes:
    """Return what comes up to and with ``until``, or up to the end."""
    got = b""
    while until not in got:
        part = connection.recv(65_536)
        if not part:
            break
        got += part
    return got


@contextmanager
def running(**settings: Any) -> Iterator[Server]:
    server = Server(**settings)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.kill()
