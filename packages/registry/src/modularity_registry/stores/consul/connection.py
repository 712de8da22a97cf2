"""Connections to Consul that another thread can break."""

import socket
import threading
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

# For the writer and a ping; a further call gets a connection of its own.
_POOLED: Final = 2

# Notices a dead peer after 5 + 3 * 3 seconds, even for a read without a timeout.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3}


class OpenConnections:
    """The open connections of one client, to be cut from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[HTTPConnection] = WeakSet()
        self._cut = False

    def check(self, connection: HTTPConnection) -> None:
        """Refuse to connect after `cut`."""
        if self._cut:
            raise NewConnectionError(connection, "this client is closed")

    def add(self, connection: HTTPConnection) -> None:
        """Remember a new connection; refuse it after `cut`."""
        with self._lock:
            if not self._cut:
                self._open.add(connection)
                return
        connection.close()
        self.check(connection)

    def cut(self) -> None:
        """Break all connections, and refuse new ones. Idempotent."""
        with self._lock:
            self._cut = True
            connections = list(self._open)
        for connection in connections:
            sock = connection.sock
            if sock is not None:
                # The base class's: that of a TLS socket would change state that a
                # reader in another thread is using.
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


class TrackingAdapter(HTTPAdapter):
    """Makes the connections of a requests session, noted in ``connections``."""

    def __init__(self, connections: OpenConnections) -> None:
        self._connections = connections
        super().__init__(pool_connections=1, pool_maxsize=_POOLED)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(
            *arguments, socket_options=_socket_options(), **options
        )
        self.poolmanager.pool_classes_by_scheme = _pools(self._connections)


def _pools(connections: OpenConnections) -> dict[str, type[HTTPConnectionPool]]:
    # The pools only take a class, so the class must know the set of connections.
    class Plain(HTTPConnection):
        def connect(self) -> None:
            connections.check(self)
            super().connect()
            connections.add(self)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            connections.check(self)
            super().connect()
            connections.add(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _socket_options() -> list[tuple[int, int, int]]:
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has each of them
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
