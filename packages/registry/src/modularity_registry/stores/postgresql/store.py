"""``postgresql://``: records in a schema of a PostgreSQL database (13 or newer)."""

import threading
from collections.abc import Sequence
from typing import Final

from modularity_registry.errors import StoreConflict, StoreError, StoreUnavailable
from modularity_registry.stores.base import Send
from modularity_registry.stores.group_commit import GroupCommit, Write
from modularity_registry.stores.postgresql.connection import Connection, open_connection
from modularity_registry.stores.postgresql.errors import GONE, ConnectionBroken, Refused
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
    """One connection for all writers, which share commits, and one for each watch."""

    shared: Final = True

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
        self._group = GroupCommit(self._commit)
        self._turn = threading.Lock()  # for the connection of the writers
        self._stop = threading.Event()
        self._epoch = ""
        self._connection: Connection | None = self._connect(self._stop)
        try:
            self._epoch = self._schema.prepare(self._connection)
        except BaseException:
            self._drop_connection()
            raise

    @property
    def epoch(self) -> str:
        return self._epoch

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        self._watches.require_open()
        return self._group.put(_checked(key), value, expected)

    def delete(self, key: str, expected: int | None = None) -> int | None:
        self._watches.require_open()
        return self._group.delete(_checked(key), expected)

    def watch(self, send: Send) -> ReconnectingWatch:
        return self._watches.start(self._session, send)

    def ping(self) -> None:
        self._watches.require_open()
        self._group.delete(_NO_KEY, None)

    def close(self) -> None:
        # Writers that still wait for a commit get an error: nothing was written.
        self._watches.close()
        acquired = self._turn.acquire(timeout=_GRACE_SECONDS)
        self._stop.set()
        if acquired or self._turn.acquire(timeout=_STOP_SECONDS):
            self._drop_connection()
            self._turn.release()

    def _session(self) -> FeedSession:
        return FeedSession(self._connect, self._schema, self._set_epoch)

    def _set_epoch(self, epoch: str) -> None:
        self._epoch = epoch

    def _connect(self, stop: threading.Event) -> Connection:
        return open_connection(self._server, self._timeout, stop)

    def _commit(self, batch: list[Write]) -> None:
        with self._turn:
            try:
                self._watches.require_open()
                outcomes = self._write_batch(batch)
            except StoreError as error:
                for write in batch:
                    write.fail(error)
                return
            finally:
                if self._stop.is_set():
                    self._drop_connection()
        for write, outcome in zip(batch, outcomes, strict=True):
            _finish(write, outcome)

    def _write_batch(self, batch: list[Write]) -> Sequence[int | None]:
        """Write ``batch`` in one transaction and round trip; return the outcomes."""
        connection = self._ready_connection()
        parameters = (
            [write.key for write in batch],
            [write.value for write in batch],
            [write.expected for write in batch],
        )
        try:
            outcomes: list[int | None] = connection.execute(
                self._write_query, parameters
            )[0][0]
        except Refused as error:
            self._recover(connection, error)
            raise StoreUnavailable(f"{error.detail}; nothing was written") from error
        except ConnectionBroken as error:
            self._drop_connection()
            raise StoreUnavailable(
                f"{error.detail}; the outcome of the write is unknown"
            ) from error
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
        except BaseException:
            self._drop_connection()
            raise

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _finish(write: Write, outcome: int | None) -> None:
    if outcome is not None and outcome <= 0:
        write.error = StoreConflict(write.key, -outcome)
    else:
        write.revision = outcome
        write.done = True


def _checked(key: str) -> str:
    """Return ``key``; raise `ValueError` for one that would fail the whole batch."""
    key.encode()  # fails for half a surrogate pair
    if not key or "\0" in key:
        raise ValueError(f"a key has at least one character and no NUL: {key!r}")
    return key
