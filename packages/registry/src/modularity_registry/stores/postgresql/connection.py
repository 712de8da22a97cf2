"""A connection to PostgreSQL on which every wait ends: in time, or when told to."""

import math
import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.postgresql.errors import (
    LineBroken,
    translated,
    unreachable,
)
from modularity_registry.stores.server_url import Host, Server, Tls

TICK: Final = 0.1
"""Seconds until a blocked call hears that it should end."""

# Each host gets this long to let us in, so that closing a store that is just trying
# to get a line stays prompt. The driver takes whole seconds from 2 up.
_CONNECT_SECONDS: Final = 3

# The server gives up before we do: then it is known that nothing was done.
_SERVERS_SHARE: Final = 0.8

_AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class Bell(threading.Event):
    """An event that a poll hears, so that an idle wait ends at once."""

    def __init__(self) -> None:
        super().__init__()
        self._heard, self._rope = socket.socketpair()

    def set(self) -> None:
        super().set()
        with suppress(OSError):  # nobody waits any more
            self._rope.send(b"!")

    def fileno(self) -> int:
        return self._heard.fileno()

    def close(self) -> None:
        """Give it back; nobody may be waiting."""
        self._heard.close()
        self._rope.close()


class _Ended(Exception):
    """A wait was cut short."""


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up at ``deadline``, or when ``stop`` is set."""

    # The driver sets no time limit on a statement. TCP's own limits don't help
    # against a server that accepts everything and answers nothing.
    deadline: float = math.inf
    stop: threading.Event

    def wait(
        self, gen: PQGen[RV], interval: float = TICK, timeout: float | None = None
    ) -> RV:
        return super().wait(self._bounded(gen), interval=min(interval, TICK))

    def _bounded(self, gen: PQGen[RV]) -> PQGen[RV]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if self.stop.is_set():
                    raise _Ended("the store was closed")
                if not ready and time.monotonic() >= self.deadline:
                    raise _Ended("no answer came in time")
                wanted = gen.send(ready)
        except StopIteration as end:
            value: RV = end.value
            return value


class Line:
    """One connection, used by one thread at a time. Raises `StoreError` only."""

    def __init__(self, connection: _Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self.told = 0
        """The newest number that a notification brought since this was set to 0."""

    def execute(
        self, query: bytes, parameters: Sequence[object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows. With ``parameters`` the query is planned once and kept.

        Raises `Refused` when the server did nothing of it, `LineBroken` when that
        is not known; the line is of no use then.
        """
        self._connection.deadline = time.monotonic() + self._timeout
        try:
            kept = parameters is not None
            with self._connection.cursor(binary=kept) as cursor:
                cursor.execute(query, parameters, prepare=kept)
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            broken = self._connection.broken
            raise translated(error, broken) from error
        except _Ended as ended:
            self.close()
            raise LineBroken(f"the line to PostgreSQL was given up: {ended}") from None

    def listen(self, statement: bytes) -> None:
        """Begin to hear the notifications that ``statement`` asks for."""
        self._connection.add_notify_handler(
            lambda notify: self._hear(notify.payload.encode())
        )
        self.execute(statement)

    def wait_beyond(self, number: int, seconds: float, bell: Bell) -> None:
        """Return when a notification brought more than ``number``, or time is up.

        Raises `LineBroken` when the line ends, or when ``bell`` is set.
        """
        deadline = time.monotonic() + seconds
        try:
            while self.told <= number and (left := deadline - time.monotonic()) > 0:
                _readable(left, self._connection.fileno(), bell.fileno())
                if bell.is_set():
                    raise LineBroken("the watch was closed")
                self._take_in()
        except psycopg.Error as error:
            raise translated(error, broken=True) from error

    def quiet(self) -> bool:
        """Return whether an idle line is whole: it has nothing to say.

        A server that went away while nobody asked it anything has left word or hung
        up, and whoever finds that out before sending loses nothing.
        """
        return not self._connection.closed and not _readable(
            0, self._connection.fileno()
        )

    def close(self) -> None:
        """Give it back; never raises."""
        self._connection.close()

    def _take_in(self) -> None:
        connection = self._connection.pgconn
        connection.consume_input()
        while notify := connection.notifies():
            self._hear(notify.extra)

    def _hear(self, payload: bytes) -> None:
        if payload.isdigit():
            self.told = max(self.told, int(payload))


def _readable(seconds: float, *descriptors: int) -> bool:
    poll = select.poll()  # select.select takes no descriptor above 1,023
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def open_line(server: Server, timeout: float, stop: threading.Event) -> Line:
    """Return a line to the first host that takes writes.

    Raises `StoreUnavailable` when none does, or when ``stop`` is set meanwhile; from
    then on that ends all waits on the line.
    """
    reasons: list[str] = []
    for host in server.hosts:
        if stop.is_set():
            raise StoreUnavailable("the store was closed")
        try:
            return _open(server, host, timeout, stop)
        except StoreUnavailable as error:
            reasons.append(error.detail)
    raise StoreUnavailable("; ".join(reasons))


def _open(server: Server, host: Host, timeout: float, stop: threading.Event) -> Line:
    try:
        connection = _Connection.connect(
            "", autocommit=True, **_parameters(server, host, timeout)
        )
    except psycopg.Error as error:
        raise unreachable(error, host) from error
    connection.stop = stop
    line = Line(connection, timeout)
    try:
        line.execute(_settings(timeout))
    except BaseException:
        line.close()
        raise
    return line


def _parameters(server: Server, host: Host, timeout: float) -> dict[str, Any]:
    parameters = {
        "host": host.name,
        "port": host.port,
        "user": server.user or None,
        "password": server.password or None,
        "dbname": server.database or None,
        "application_name": "modularity-registry",
        "client_encoding": "UTF8",
        "connect_timeout": min(_CONNECT_SECONDS, max(2, math.ceil(timeout))),
        # After a failover the one that was the primary may still let us in.
        "target_session_attrs": "read-write",
        "gssencmode": "disable",
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        **_tls(server.tls),
    }
    return {name: each for name, each in parameters.items() if each is not None}


def _tls(tls: Tls | None) -> dict[str, str | None]:
    if tls is None:
        return {"sslmode": "prefer"}
    return {
        "sslmode": "verify-full",
        "sslrootcert": tls.ca or _authorities(),
        "sslcert": tls.cert,
        "sslkey": tls.key,
    }


def _authorities() -> str:
    # The driver brings an OpenSSL of its own, which looks for them elsewhere.
    known = (ssl.get_default_verify_paths().cafile, *_AUTHORITIES)
    return next((each for each in known if each and Path(each).is_file()), "system")


def _settings(timeout: float) -> bytes:
    milliseconds = max(1, int(timeout * _SERVERS_SHARE * 1000))
    # Under a stricter isolation the writers of several registries would not wait for
    # each other but fail.
    return (
        b"SET statement_timeout = %d; SET idle_in_transaction_session_timeout = %d;"
        b" SET default_transaction_isolation = 'read committed'"
    ) % (milliseconds, 10 * milliseconds)
