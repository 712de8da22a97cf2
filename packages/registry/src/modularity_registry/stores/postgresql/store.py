"""``postgresql://``: records in a schema of a PostgreSQL database (13 or newer)."""

import threading
from collections.abc import Sequence
from typing import Final

from modularity_registry.errors import OutcomeUnknown, StoreConflict, StoreUnavailable
from modularity_registry.stores.base import Outcome, Send, Write, require_valid
from modularity_registry.stores.postgresql.connection import Connection, open_connection
from modularity_registry.stores.postgresql.errors import (
    GONE,
    POOLED,
    ConnectionBroken,
    Refused,
)
from modularity_registry.stores.postgresql.feed import FeedSession
from modularity_registry.stores.postgresql.layout import Schema
from modularity_registry.stores.reconnecting_watch import ReconnectingWatch, WatchSet
from modularity_registry.stores.server_url import Server

# How long `close` waits for a running batch to finish, and then for its thread to
# notice the end.
_GRACE_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 3.5

# A ping is a write: the deletion of a record that can't exist.
_NO_KEY: Final = ""


class PostgresStore:
    """One connection for writes, a transaction for each batch; one for each watch."""

    shared: Final = True
    embedded: Final = False

    def __init__(self, server: Server, timeout: float = 5.0) -> None:
        """Connect, and create the schema named ``server.prefix`` if there is none.

        ``timeout`` is in seconds, for every call. Raises `StoreUnavailable` when the
        server can't be reached, refuses the credentials, or was used by a newer
        registry.
        """
        self._server = server
        self._timeout = timeout
        self._schema = Schema(server.prefix)
        self._write_query = self._schema.fill(
            "SELECT {schema}.write(%b::text[], %b::bytea[], %b::bigint[])"
        )
        self._watches = WatchSet("PostgreSQL")
        self._turn = threading.Lock()  # for the connection: a ping uses it, too
        self._stop = threading.Event()
        self._epoch = ""
        self._connection: Connection | None = self._connect(self._stop)
        try:
            self._require_session(self._connection)
            self._epoch = self._schema.prepare(self._connection)
        except BaseException:
            self._drop_connection()
            raise

    @property
    def epoch(self) -> str:
        return self._epoch

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        require_valid(batch)
        for write in batch:
            _require_storable(write.key)
        try:
            return self._commit(batch)
        except ConnectionBroken as error:
            raise OutcomeUnknown.because(error.detail) from error

    def watch(self, send: Send) -> ReconnectingWatch:
        return self._watches.start(self._session, send)

    def begin_epoch(self) -> str:
        with self._turn:
            self._watches.require_open()
            connection = self._ready_connection()
            try:
                self._epoch = self._schema.begin_epoch(connection)
            except BaseException:
                self._drop_connection()
                raise
            return self._epoch

    def ping(self) -> None:
        self._commit([Write(_NO_KEY, None)])

    def close(self) -> None:
        self._watches.close()
        acquired = self._turn.acquire(timeout=_GRACE_SECONDS)
        self._stop.set()
        if acquired or self._turn.acquire(timeout=_STOP_SECONDS):
            self._drop_connection()
            self._turn.release()

    def _require_session(self, connection: Connection) -> None:
        """Raise `StoreUnavailable` behind a pool in transaction mode.

        There, a connection moves from one server's session to another's, or two share
        one. The feed would get no notification, and writes fail now and then.
        """
        other = self._connect(self._stop)
        try:
            for _ in range(2):
                mine, others = connection.backend(), other.backend()
                if mine == others or mine != connection.backend():
                    raise StoreUnavailable(
                        f"PostgreSQL at {self._server} can't be used: {POOLED}"
                    )
        finally:
            other.close()

    def _session(self) -> FeedSession:
        return FeedSession(self._connect, self._schema, self._set_epoch)

    def _set_epoch(self, epoch: str) -> None:
        self._epoch = epoch

    def _connect(self, stop: threading.Event) -> Connection:
        return open_connection(self._server, self._timeout, stop)

    def _commit(self, batch: Sequence[Write]) -> list[Outcome]:
        with self._turn:
            self._watches.require_open()
            try:
                numbers = self._write(batch)
            finally:
                if self._stop.is_set():
                    self._drop_connection()
        return [
            (
                StoreConflict(write.key, -number)
                if number is not None and number <= 0
                else number
            )
            for write, number in zip(batch, numbers, strict=True)
        ]

    def _write(self, batch: Sequence[Write]) -> list[int | None]:
        """Write ``batch`` in one transaction and round trip."""
        connection = self._ready_connection()
        parameters = (
            [write.key for write in batch],
            [write.value for write in batch],
            [write.expected for write in batch],
        )
        try:
            [[numbers]] = connection.execute(self._write_query, parameters)
        except Refused as error:
            self._recover(connection, error)
            raise StoreUnavailable(f"{error.detail}; nothing was written") from error
        except ConnectionBroken:
            self._drop_connection()
            raise
        outcomes: list[int | None] = numbers
        return outcomes

    def _ready_connection(self) -> Connection:
        if self._connection is not None and not self._connection.is_idle():
            self._drop_connection()
        if self._connection is None:
            self._connection = self._connect(self._stop)
        return self._connection

    def _recover(self, connection: Connection, error: Refused) -> None:
        if error.sqlstate not in GONE:
            # Another host may accept what this one refused.
            self._drop_connection()
            return
        try:
            self._epoch = self._schema.prepare(connection)
        except BaseException as problem:
            self._drop_connection()
            if isinstance(problem, ConnectionBroken):
                reason = f"{problem.detail}; nothing was written"
                raise StoreUnavailable(reason) from problem
            raise

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _require_storable(key: str) -> None:
    key.encode()  # fails for half a surrogate pair
    if not key or "\0" in key:
        raise ValueError(f"a key has at least one character and no NUL: {key!r}")
