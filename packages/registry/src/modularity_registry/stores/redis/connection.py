"""Connections to a Redis server, each used by one thread at a time.

Retries are the store's own affair, and an end from another thread has to reach a
thread that waits for an answer. So this uses the driver's connections without its
client and its pool.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import redis
from redis.exceptions import RedisError, ResponseError

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.redis.errors import unavailable
from modularity_registry.stores.server_url import Server

Command = Sequence[str | bytes | int]

# An attempt to connect is all that can't be interrupted: it must not hold up a close.
CONNECT_SECONDS: Final = 3.0


class _Plain(redis.Connection):
    """A connection that shows its socket before anything is said on it."""

    hold: Callable[[socket.socket], None]

    def _connect(self) -> socket.socket:
        sock: socket.socket
        sock = super()._connect()  # type: ignore[no-untyped-call]  # it has no types
        try:
            self.hold(sock)
        except BaseException:
            sock.close()
            raise
        return sock


class _Secured(redis.SSLConnection, _Plain):
    """The same under TLS: the socket shows before the handshake."""


class Line:
    """One connection. Errors of it are `StoreUnavailable`, and end it."""

    def __init__(self, server: Server, timeout: float, patience: float) -> None:
        """Prepare it; ``patience`` is how long an answer may take, in seconds."""
        self._server = server
        # The driver's methods have no types.
        self._connection: Any = _connection(server, timeout, patience)
        self._connection.hold = self._hold
        self._guard = threading.Lock()
        # A second handle on the socket: to shut it down from another thread, whatever
        # the driver does with its own meanwhile.
        self._handle: socket.socket | None = None
        self._interrupted = False

    @property
    def interrupted(self) -> bool:
        """Whether it is of no more use, on request."""
        return self._interrupted

    def open(self) -> None:
        """Connect and log in, unless it is; nothing is left open when that fails."""
        try:
            self._connection.connect()
        except (RedisError, OSError, UnicodeError) as error:
            self.close()
            raise unavailable(error, self._server) from error
        except BaseException:
            self.close()
            raise

    def stale(self) -> bool:
        """Whether the server has closed it, or said what nobody asked for."""
        try:
            return bool(self._connection.can_read(0))
        except (RedisError, OSError):
            return True

    def send(self, commands: Sequence[Command]) -> None:
        """Send ``commands`` in one go; some of them may arrive when it raises."""
        try:
            packed = self._connection.pack_commands(commands)
            # A closed connection is not opened anew in the midst of an exchange.
            if self._interrupted:
                raise redis.ConnectionError("closed")
            self._connection.send_packed_command(packed)
        except (RedisError, OSError) as error:
            raise unavailable(error, self._server) from error

    def receive(self) -> Any:
        """Return the next answer; an error that the server answered is returned."""
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error
        except (RedisError, OSError) as error:
            raise unavailable(error, self._server) from error

    def exchange(self, *commands: Command) -> list[Any]:
        """Return the answers to ``commands``, errors among them."""
        self.send(commands)
        return [self.receive() for _ in commands]

    def ask(self, *commands: Command) -> list[Any]:
        """Return the answers to ``commands``; raises when one of them is an error."""
        answers = self.exchange(*commands)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise unavailable(answer, self._server) from answer
        return answers

    def interrupt(self) -> None:
        """Make a call that waits on it fail, and each after it. From any thread."""
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
        self._connection.disconnect()
        if handle is not None:
            handle.close()

    def _hold(self, sock: socket.socket) -> None:
        with self._guard:
            if self._interrupted:
                raise OSError("closed")
            self._handle = sock.dup()


class Lines:
    """All lines of one store, ended with it."""

    def __init__(self, server: Server, timeout: float) -> None:
        self._server = server
        self._timeout = timeout
        self._lock = threading.Lock()
        self._lines: set[Line] = set()
        self._free: list[Line] = []
        self._closed = False

    def line(self, waiting: float = 0.0) -> Line:
        """Return a line yet to be opened; the server may be asked to wait so long."""
        line = Line(self._server, self._timeout, self._timeout + waiting)
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the Redis store is closed")
            self._lines.add(line)
        return line

    def drop(self, line: Line) -> None:
        """Close ``line``. Idempotent."""
        with self._lock:
            self._lines.discard(line)
        line.close()

    @contextmanager
    def borrow(self) -> Iterator[Line]:
        """Give an open line for the block; after an error it is not used again."""
        line = self._take() or self.line()
        try:
            line.open()
            yield line
        except BaseException:
            self.drop(line)
            raise
        self._give(line)

    def renew(self) -> None:
        """End all connections: what is asked next is asked on fresh ones."""
        with self._lock:
            lines = list(self._lines)
            free, self._free = self._free, []
            self._lines.difference_update(free)
        for line in lines:
            line.interrupt()
        for line in free:
            line.close()

    def close(self) -> None:
        """End all connections and make no new ones. Idempotent."""
        with self._lock:
            self._closed = True
        self.renew()

    def _take(self) -> Line | None:
        while True:
            with self._lock:
                if not self._free:
                    return None
                line = self._free.pop()
            if not line.stale():
                return line
            self.drop(line)

    def _give(self, line: Line) -> None:
        with self._lock:
            if not self._closed and not line.interrupted:
                self._free.append(line)
                return
        self.drop(line)


def _connection(server: Server, timeout: float, patience: float) -> _Plain:
    host = server.hosts[0]
    settings: dict[str, Any] = {
        "host": host.name,
        "port": host.port,
        "db": int(server.database or 0),
        "username": server.user or None,
        "password": server.password or None,
        "protocol": 2,
        "socket_timeout": patience,
        "socket_connect_timeout": min(timeout, CONNECT_SECONDS),
        "socket_keepalive": True,
    }
    if server.tls is None:
        return _Plain(**settings)  # type: ignore[no-untyped-call]  # it has no types
    return _Secured(
        ssl_ca_certs=server.tls.ca,
        ssl_certfile=server.tls.cert,
        ssl_keyfile=server.tls.key,
        **settings,
    )
