"""Connections to a Redis server, each used by one thread at a time.

The store retries by itself, and closing it must end a wait in another thread. So this
uses the driver's connections, without its client and its pool.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    RedisError,
    ResponseError,
)

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.redis.driver_options import login, tls_files
from modularity_registry.stores.redis.errors import unavailable
from modularity_registry.stores.redis.sentinel import find_primary
from modularity_registry.stores.server_url import Server

Command = Sequence[str | bytes | int]

# Connecting can't be interrupted, so it must be short: `close` waits for it.
CONNECT_SECONDS: Final = 3.0


class _Plain(redis.Connection):
    """A driver's connection that passes on its socket before it is used."""

    hold_socket: Callable[[socket.socket], None]

    def _connect(self) -> socket.socket:
        sock: socket.socket
        sock = super()._connect()  # type: ignore[no-untyped-call]  # it has no types
        try:
            self.hold_socket(sock)
        except BaseException:
            sock.close()
            raise
        return sock


class _Secured(redis.SSLConnection, _Plain):
    """The same with TLS: it passes on the socket before the handshake."""


class Connection:
    """One connection. Its errors are `StoreUnavailable`, and end it."""

    def __init__(self, server: Server, timeout: float, answer_timeout: float) -> None:
        """Prepare it; ``answer_timeout`` is how long an answer may take, in seconds."""
        self._server = server
        # The driver's methods have no types.
        self._driver: Any = _driver_connection(server, timeout, answer_timeout)
        self._driver.hold_socket = self._hold_socket
        self._guard = threading.Lock()
        # A second handle on the socket: to shut it down from another thread, whatever
        # the driver does with its own.
        self._handle: socket.socket | None = None
        self._interrupted = False

    def open(self) -> None:
        """Connect and log in if needed; nothing stays open when that fails.

        Of servers that Sentinels watch, the primary at this moment.
        """
        try:
            if self._server.primary and self._handle is None:
                self._driver.host, self._driver.port = find_primary(self._server)
            self._driver.connect()
        except (RedisError, OSError, UnicodeError) as error:
            self.close()
            raise unavailable(error, self._server) from error
        except BaseException:
            self.close()
            raise

    def is_stale(self) -> bool:
        """Whether it has ended, or the server sent something unrequested."""
        try:
            return self._interrupted or bool(self._driver.can_read(0))
        except (RedisError, OSError):
            return True

    def send(self, commands: Sequence[Command]) -> None:
        """Send ``commands`` at once; when it raises, the last one has not arrived."""
        try:
            packed = self._driver.pack_commands(commands)
            # The driver would open a closed connection again, in mid-exchange.
            if self._interrupted:
                raise redis.ConnectionError("closed")
            self._driver.send_packed_command(packed)
        except (RedisError, OSError) as error:
            raise unavailable(error, self._server) from error

    def receive(self) -> Any:
        """Return the next answer; an error from the server is returned, not raised."""
        try:
            return self._driver.read_response()
        except (ResponseError, AuthenticationError, BusyLoadingError) as error:
            return error
        except (RedisError, OSError) as error:
            raise unavailable(error, self._server) from error

    def exchange(self, *commands: Command) -> list[Any]:
        """Return the answers to ``commands``, errors among them."""
        self.send(commands)
        return [self.receive() for _ in commands]

    def request(self, *commands: Command) -> list[Any]:
        """Return the answers to ``commands``; raises when one of them is an error."""
        answers = self.exchange(*commands)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise unavailable(answer, self._server) from answer
        return answers

    def interrupt(self) -> None:
        """Make its running call fail, and each after it. From any thread."""
        with self._guard:
            self._interrupted = True
            if self._handle is not None:
                with suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release it. Idempotent."""
        with self._guard:
            self._interrupted = True
            handle, self._handle = self._handle, None
        self._driver.disconnect()
        if handle is not None:
            handle.close()

    def _hold_socket(self, sock: socket.socket) -> None:
        with self._guard:
            if self._interrupted:
                raise OSError("closed")
            self._handle = sock.dup()


class ConnectionPool:
    """All connections of one store: one for requests, and one for each feed."""

    def __init__(self, server: Server, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._lock = threading.Lock()
        self._open: set[Connection] = set()
        self._closed = False
        self._requesting = threading.Lock()
        self._kept: Connection | None = None

    def new(self, waiting: float = 0.0) -> Connection:
        """Return a connection, not open yet; answers may take ``waiting`` s longer."""
        connection = Connection(self._server, self._timeout, self._timeout + waiting)
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the Redis store is closed")
            self._open.add(connection)
        return connection

    def drop(self, connection: Connection) -> None:
        """Close ``connection``. Idempotent."""
        with self._lock:
            self._open.discard(connection)
        connection.close()

    @contextmanager
    def borrow(self) -> Iterator[Connection]:
        """Lend the one for requests, open, to one thread at a time; an error closes it.

        It is kept from block to block.
        """
        with self._requesting:
            if self._kept is not None and self._kept.is_stale():
                self._drop_kept()
            connection = self._kept = self._kept or self.new()
            try:
                connection.open()
                yield connection
            except BaseException:
                self._drop_kept()
                raise

    def reset(self) -> None:
        """End all connections; the next requests open new ones."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            connection.interrupt()

    def close(self) -> None:
        """End all connections and open no new ones. Idempotent."""
        with self._lock:
            self._closed = True
        self.reset()
        with self._requesting:
            self._drop_kept()

    def _drop_kept(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            self.drop(kept)


def _driver_connection(server: Server, timeout: float, answer_timeout: float) -> _Plain:
    host = server.hosts[0]
    settings: dict[str, Any] = {
        "host": host.name,
        "port": host.port,
        "db": int(server.database or 0),
        **login(server),
        "protocol": 2,
        "socket_timeout": answer_timeout,
        "socket_connect_timeout": min(timeout, CONNECT_SECONDS),
        "socket_keepalive": True,
    }
    if server.tls is None:
        return _Plain(**settings)  # type: ignore[no-untyped-call]  # it has no types
    return _Secured(**tls_files(server), **settings)
