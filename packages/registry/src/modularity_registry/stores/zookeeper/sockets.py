"""The sockets for kazoo: they verify host names, buffer reads and can be cut."""

import select
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from kazoo.handlers.threading import (  # type: ignore[import-untyped]  # has no types
    SequentialThreadingHandler,
)

READ_AT_ONCE: Final = 65_536


class BufferedSocket:
    """A socket that reads ahead: kazoo reads 4 bytes, then the rest.

    ``pending`` works as that of `ssl.SSLSocket`; kazoo uses it.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = b""
        self._used = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def recv(self, size: int) -> bytes:
        """Return at most ``size`` bytes, none at the end of the stream."""
        if self._used == len(self._buffer):
            self._buffer = self._socket.recv(READ_AT_ONCE)
            self._used = 0
        part = self._buffer[self._used : self._used + size]
        self._used += len(part)
        return part

    def pending(self) -> int:
        """Return how many bytes can be read without a wait."""
        in_tls = (
            self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        )
        return len(self._buffer) - self._used + in_tls


class Handler(SequentialThreadingHandler):  # type: ignore[misc]  # has no types
    """Makes kazoo's connections and waits for them."""

    def __init__(self, context: ssl.SSLContext | None, timeout: float) -> None:
        """With ``context`` it uses TLS; ``timeout`` is for a connection, in seconds."""
        super().__init__()
        self.failure: OSError | None = None
        """Why the latest attempt to connect failed, None if it succeeded."""
        self._context = context
        self._timeout = timeout
        self._guard = threading.Lock()
        self._current: socket.socket | None = None
        self._closed = False

    def drop(self) -> None:
        """Break the current connection; kazoo then opens another one."""
        with self._guard:
            _break(self._current)

    def refuse(self) -> None:
        """Break the connection and allow no new ones."""
        with self._guard:
            self._closed = True
            _break(self._current)

    def create_connection(
        self, address: tuple[str, int], hostname: str = "", timeout: float = 0, **_: Any
    ) -> BufferedSocket:
        """Return a connection to an IP address; raises `OSError`.

        Kazoo's own does not check the certificate's name, and fails for IPv6 with TLS.
        """
        try:
            connected = self._connect(address, hostname or address[0])
        except OSError as error:
            self.failure = error
            raise
        self.failure = None
        return BufferedSocket(connected)

    def _connect(self, address: tuple[str, int], hostname: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        new = socket.socket(family, socket.SOCK_STREAM)
        try:
            if self._context is not None:
                # Before it connects: after a reset in between, Python would go on
                # without TLS.
                new = self._context.wrap_socket(new, server_hostname=hostname)
            self._hold(new)
            new.settimeout(self._timeout)
            new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            new.connect(address)
        except BaseException:
            new.close()
            raise
        return new

    def _hold(self, connection: socket.socket) -> None:
        with self._guard:
            if self._closed:
                raise ConnectionAbortedError("the store is closed")
            self._current = connection

    def select(
        self,
        readers: Sequence[Any],
        writers: Sequence[Any],
        _: Sequence[Any],
        timeout: float | None = None,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Return which of them are ready; ``timeout`` is in seconds.

        Kazoo's own waits for the network even if TLS has already read the answer.
        """
        poll = select.poll()
        for reader in readers:
            poll.register(reader, select.POLLIN)
        for writer in writers:
            both = select.POLLIN if writer in readers else 0
            poll.register(writer, select.POLLOUT | both)
        wait = None if timeout is None else max(timeout, 0) * 1_000
        buffered = any(map(_pending, readers))
        ready = dict(poll.poll(0 if buffered else wait))
        # A broken one is ready for both, so that its user notices.
        read, write = ~select.POLLOUT, ~select.POLLIN
        return (
            [e for e in readers if _pending(e) or ready.get(e.fileno(), 0) & read],
            [e for e in writers if ready.get(e.fileno(), 0) & write],
            [],
        )


def _pending(connection: Any) -> bool:
    return isinstance(connection, BufferedSocket) and connection.pending() > 0


def _break(connection: socket.socket | None) -> None:
    # Not closed: kazoo's thread waits on it, and its descriptor could be reused.
    if connection is not None:
        with suppress(OSError):  # it may be broken already
            connection.shutdown(socket.SHUT_RDWR)
