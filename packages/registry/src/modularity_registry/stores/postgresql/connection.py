"""A connection to PostgreSQL on which every wait has a deadline and can be ended."""

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
    ConnectionBroken,
    translated,
    unreachable,
)
from modularity_registry.stores.server_url import Host, Server, Tls

CHECK_SECONDS: Final = 0.1
"""Until a blocked call notices that it should end."""

# For each host, so that a store closes promptly even while it connects. The driver
# takes whole seconds from 2 up.
_CONNECT_SECONDS: Final = 3

# The server times out before the client, so that the outcome of a write is known.
_SERVER_TIMEOUT_SHARE: Final = 0.8

_AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class WakeEvent(threading.Event):
    """An event that `poll` can wait for, so that an idle wait ends at once."""

    def __init__(self) -> None:
        super().__init__()
        self._receiver, self._sender = socket.socketpair()

    def set(self) -> None:
        super().set()
        with suppress(OSError):  # no thread waits any more
            self._sender.send(b"!")

    def fileno(self) -> int:
        return self._receiver.fileno()

    def close(self) -> None:
        """Close it; no thread may be waiting."""
        self._receiver.close()
        self._sender.close()


class _Ended(Exception):
    """A wait was cut short."""


class _BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose waits end at ``deadline``, or when ``stop`` is set."""

    # The driver has no timeout for a statement, and TCP's own don't help against a
    # server that accepts everything and answers nothing.
    deadline: float = math.inf
    stop: threading.Event

    def wait(
        self,
        gen: PQGen[RV],
        interval: float = CHECK_SECONDS,
        timeout: float | None = None,
    ) -> RV:
        return super().wait(self._bounded(gen), interval=min(interval, CHECK_SECONDS))

    def _bounded(self, gen: PQGen[RV]) -> PQGen[RV]:
        try:
            waits_for = next(gen)
            while True:
                ready = yield waits_for
                if self.stop.is_set():
                    raise _Ended("the store was closed")
                if not ready and time.monotonic() >= self.deadline:
                    raise _Ended("no answer came in time")
                waits_for = gen.send(ready)
        except StopIteration as end:
            value: RV = end.value
            return value


class Connection:
    """One connection, used by one thread at a time. Raises `StoreError` only."""

    def __init__(self, driver: _BoundedConnection, timeout: float) -> None:
        self._driver = driver
        self._timeout = timeout
        self.notified = 0
        """The highest number in a notification since this was set to 0."""

    def execute(
        self, query: bytes, parameters: Sequence[object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows. With ``parameters`` the query is prepared.

        Raises `Refused` when the server changed nothing, `ConnectionBroken` when that
        is unknown; close the connection then.
        """
        self._driver.deadline = time.monotonic() + self._timeout
        try:
            prepare = parameters is not None
            with self._driver.cursor(binary=prepare) as cursor:
                cursor.execute(query, parameters, prepare=prepare)
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            broken = self._driver.broken
            raise translated(error, broken) from error
        except _Ended as ended:
            self.close()
            raise ConnectionBroken(
                f"the connection to PostgreSQL was closed: {ended}"
            ) from None

    def backend(self) -> int:
        """Return the number of the server's process that answers."""
        [[number]] = self.execute(b"SELECT pg_backend_pid()")
        return int(number)

    def listen(self, statement: bytes) -> None:
        """Receive the notifications that ``statement`` subscribes to."""
        self._driver.add_notify_handler(
            lambda notify: self._note_payload(notify.payload.encode())
        )
        self.execute(statement)

    def wait_for_notification(
        self, number: int, seconds: float, wake_event: WakeEvent
    ) -> None:
        """Return on a notification of more than ``number``, or after ``seconds``.

        Raises `ConnectionBroken` when the connection ends or ``wake_event`` is set.
        """
        deadline = time.monotonic() + seconds
        try:
            while (
                self.notified <= number
                and (remaining := deadline - time.monotonic()) > 0
            ):
                _readable(remaining, self._driver.fileno(), wake_event.fileno())
                if wake_event.is_set():
                    raise ConnectionBroken("the watch was closed")
                self._read_notifications()
        except psycopg.Error as error:
            raise translated(error, broken=True) from error

    def is_idle(self) -> bool:
        """Return whether the connection can be used: it is open, with nothing to read.

        A server that went away has sent an error or closed it. Noticing that before
        a write keeps the outcome of the write known.
        """
        return not self._driver.closed and not _readable(0, self._driver.fileno())

    def close(self) -> None:
        """Close it; never raises."""
        self._driver.close()

    def _read_notifications(self) -> None:
        pgconn = self._driver.pgconn
        pgconn.consume_input()
        while notify := pgconn.notifies():
            self._note_payload(notify.extra)

    def _note_payload(self, payload: bytes) -> None:
        if payload.isdigit():
            self.notified = max(self.notified, int(payload))


def _readable(seconds: float, *descriptors: int) -> bool:
    poll = select.poll()  # select.select takes no descriptor above 1,023
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def open_connection(
    server: Server, timeout: float, stop: threading.Event
) -> Connection:
    """Return a connection to the first host that accepts writes.

    Raises `StoreUnavailable` when none does, or when ``stop`` is set. Setting it later
    ends all waits on the connection.
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


def _open(
    server: Server, host: Host, timeout: float, stop: threading.Event
) -> Connection:
    try:
        driver = _BoundedConnection.connect(
            "", autocommit=True, **_parameters(server, host, timeout)
        )
    except psycopg.Error as error:
        raise unreachable(error, host) from error
    driver.stop = stop
    connection = Connection(driver, timeout)
    try:
        connection.execute(_settings(timeout))
    except BaseException:
        connection.close()
        raise
    return connection


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
        # After a failover the former primary may still accept connections.
        "target_session_attrs": "read-write",
        "gssencmode": "disable",
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        **_tls(server.tls),
    }
    return {name: value for name, value in parameters.items() if value is not None}


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
    # The driver has an OpenSSL of its own, which looks in other places.
    files = (ssl.get_default_verify_paths().cafile, *_AUTHORITIES)
    return next((file for file in files if file and Path(file).is_file()), "system")


def _settings(timeout: float) -> bytes:
    milliseconds = max(1, int(timeout * _SERVER_TIMEOUT_SHARE * 1000))
    # With a stricter isolation level, concurrent writers would fail instead of waiting
    # for each other.
    return (
        b"SET statement_timeout = %d; SET idle_in_transaction_session_timeout = %d;"
        b" SET default_transaction_isolation = 'read committed'"
    ) % (milliseconds, 10 * milliseconds)
