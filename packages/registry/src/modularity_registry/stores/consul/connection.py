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

# Threads that write, ping and look at once; more get a connection for one call.
_POOLED: Final = 8

# A dead peer is noticed after 5 + 3 * 3 seconds even where no read has a time-out.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3}


class Lines:
    """The open connections of one client, to be cut from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[HTTPConnection] = WeakSet()
        self._cut = False

    def check(self, line: HTTPConnection) -> None:
        """Refuse a connection that would be made after `cut`."""
        if self._cut:
            raise NewConnectionError(line, "this client is closed")

    def add(self, line: HTTPConnection) -> None:
        """Take note of a connection that was just made; refuse it after `cut`."""
        with self._lock:
            if not self._cut:
                self._open.add(line)
                return
        line.close()
        self.check(line)

    def cut(self) -> None:
        """Break all connections, and every one that is made later. Idempotent."""
        with self._lock:
            self._cut = True
            lines = list(self._open)
        for line in lines:
            sock = line.sock
            if sock is not None:
                # The base class's: that of a TLS socket would change what a reader
                # in another thread is just using.
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


class LineAdapter(HTTPAdapter):
    """Makes the connections of a requests session, noted in ``lines``."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        super().__init__(pool_connections=1, pool_maxsize=_POOLED)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(
            *arguments, socket_options=_socket_options(), **options
        )
        self.poolmanager.pool_classes_by_scheme = _pools(self._lines)


def _pools(lines: Lines) -> dict[str, type[HTTPConnectionPool]]:
    # The pools make connections from a class alone, so the class knows the lines.
    class Plain(HTTPConnection):
        def connect(self) -> None:
            lines.check(self)
            super().connect()
            lines.add(self)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            lines.check(self)
            super().connect()
            lines.add(self)

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
