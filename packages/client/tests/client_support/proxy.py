"""A proxy between a client and a registry: counts, cuts, and can stand in the way."""

import socket
import threading
from contextlib import suppress

from client_support.harness import HOST


class Proxy:
    """Passes bytes on to ``port``; ``seen`` has all that clients sent."""

    def __init__(self, port: int) -> None:
        self.connections = 0
        self._port = port
        self._seen = bytearray()
        self.held = threading.Event()
        self._wanted: bytes | None = None
        self._open = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def seen(self) -> bytes:
        return bytes(self._seen)

    def hold(self, request: bytes) -> None:
        """Keep back the reply to such a request until `pass_on`; see ``held``."""
        self._wanted = request
        self._open.clear()

    def pass_on(self) -> None:
        self._wanted = None
        self._open.set()

    def cut(self) -> None:
        """Break all connections; new ones are served."""
        self.pass_on()
        for each in list(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                try:
                    server = socket.create_connection((HOST, self._port))
                except OSError:
                    client.close()
                    continue
                asked = bytearray()
                for source, target in ((client, server), (server, client)):
                    self._sockets.add(source)
                    threading.Thread(
                        target=self._pump,
                        args=(source, target, asked, source is client),
                        daemon=True,
                    ).start()

    def _pump(
        self, source: socket.socket, target: socket.socket, asked: bytearray, up: bool
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if up:
                    asked += data
                    self._seen += data
                elif self._wanted is not None and self._wanted in asked:
                    self.held.set()
                    self._open.wait()
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.discard(source)
        source.close()
