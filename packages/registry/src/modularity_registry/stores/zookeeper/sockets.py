"""The sockets under kazoo: they verify names, keep what they read, can be dropped."""

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
    """A socket that reads much at once: kazoo asks for 4 bytes, then for the rest.

    ``pending`` tells what needs no wait, as `ssl.SSLSocket` does; kazoo heeds it.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._held = b""
        self._used = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def recv(self, size: int) -> bytes:
        """Return at most ``size`` bytes, none at the end of the stream."""
        if self._used == len(self._held):
            self._held = self._socket.recv(READ_AT_ONCE)
            self._used = 0
        part = self._held[self._used : self._used + size]
        self._used += len(part)
        return part

    def pending(self) -> int:
        """Return how many bytes are there already."""
        below = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        return len(self._held) - self._used + below


class Handler(SequentialThreadingHandler):  # type: ignore[misc]  # has no types
    """Makes kazoo's connections and waits for them."""

    def __init__(self, context: ssl.SSLContext | None, patience: float) -> None:
        """With ``context`` over TLS; to connect takes at most ``patience`` seconds."""
        super().__init__()
        self.failure: OSError | None = None
        """Why the latest attempt to connect failed, None when it did not."""
        self._context = context
        self._patience = patience
        self._guard = threading.Lock()
        self._current: socket.socket | None = None
        self._closed = False

    def drop(self) -> None:
        """Break the connection that there is; kazoo then makes another one."""
        with self._guard:
            _break(self._current)

    def refuse(self) -> None:
        """Break the connection and make none any more."""
        with self._guard:
            self._closed = True
            _break(self._current)

    def create_connection(
        self, address: tuple[str, int], hostname: str = "", timeout: float = 0, **_: Any
    ) -> BufferedSocket:
        """Return a connection to an IP address; raises `OSError`.

        Of kazoo's own, a name in a certificate goes unchecked and IPv6 fails with TLS.
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
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            if self._context is not None:
                # Before it connects: else a reset in between makes Python go on plain.
                made = self._context.wrap_socket(made, server_hostname=hostname)
            self._hold(made)
            made.settimeout(self._patience)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect(address)
        except BaseException:
            made.close()
            raise
        return made

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
        """Return which of them need no wait; ``timeout`` is in seconds.

        Kazoo's own waits for the network even when TLS has read the answer already.
        """
        poll = select.poll()
        for each in readers:
            poll.register(each, select.POLLIN)
        for each in writers:
            both = select.POLLIN if each in readers else 0
            poll.register(each, select.POLLOUT | both)
        wait = None if timeout is None else max(timeout, 0) * 1_000
        held = any(_pending(each) for each in readers)
        found = dict(poll.poll(0 if held else wait))
        # What is broken is ready for either, so that whoever uses it hears of it.
        read, write = ~select.POLLOUT, ~select.POLLIN
        return (
            [e for e in readers if _pending(e) or found.get(e.fileno(), 0) & read],
            [e for e in writers if found.get(e.fileno(), 0) & write],
            [],
        )


def _pending(connection: Any) -> bool:
    return isinstance(connection, BufferedSocket) and connection.pending() > 0


def _break(connection: socket.socket | None) -> None:
    # Not closed: kazoo's thread waits on it, and its number could soon be another's.
    if connection is not None:
        with suppress(OSError):  # it may be broken already
            connection.shutdown(socket.SHUT_RDWR)
