"""Reads the log of changes over one connection to PostgreSQL."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Change, Record, Snapshot
from modularity_registry.stores.postgresql.connection import Connection, WakeEvent
from modularity_registry.stores.postgresql.errors import GONE, Refused
from modularity_registry.stores.postgresql.layout import Schema
from modularity_registry.stores.reconnecting_watch import Gap

# A notification ends the wait at once. This notices a lost one, or a dropped schema.
POLL_SECONDS: Final = 1.0

_BEYOND_ALL: Final = 2**62
_RECORDS_AT_ONCE: Final = 1_000
_CHANGES_AT_ONCE: Final = 500


class FeedSession:
    """One connection of a watch. It connects when the snapshot is taken."""

    def __init__(
        self,
        connect: Callable[[WakeEvent], Connection],
        schema: Schema,
        set_epoch: Callable[[str], None],
    ) -> None:
        """Pass ``connect`` the event that ends its waits, ``set_epoch`` the epoch."""
        self._connect = connect
        self._schema = schema
        self._set_epoch = set_epoch
        self._stop = WakeEvent()
        self._connection: Connection | None = None
        self._epoch = ""
        self._revision = 0
        # One statement, so a consistent view. The inner LIMIT makes it use the index.
        self._read = schema.fill(
            "SELECT l.epoch, l.revision, l.floor, c.revision, c.key, c.value"
            " FROM {schema}.ledger l LEFT JOIN LATERAL ("
            "SELECT * FROM {schema}.change WHERE revision > %s"
            " ORDER BY revision LIMIT %s"
            ") c ON true ORDER BY c.revision"
        )

    def snapshot(self) -> Snapshot:
        connection = self._connection = self._connect(self._stop)
        self._schema.prepare(connection)
        # Listen before the snapshot, so that no change is missed in between.
        connection.listen(self._schema.fill("LISTEN {listening}"))
        connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # The query of `changes`, so that what would fail there fails here.
        ledger = connection.execute(self._read, (_BEYOND_ALL, 1))
        if not ledger:
            raise StoreUnavailable(
                "the ledger is empty: another program deleted its row"
            )
        records = self._records(connection)
        connection.execute(b"COMMIT")
        self._epoch, self._revision = ledger[0][:2]
        self._set_epoch(self._epoch)
        return Snapshot(tuple(records), self._revision)

    def _records(self, connection: Connection) -> list[Record]:
        connection.execute(
            self._schema.fill(
                "DECLARE record_cursor NO SCROLL CURSOR FOR"
                " SELECT key, value, revision FROM {schema}.record"
            )
        )
        records: list[Record] = []
        while True:
            rows = connection.execute(
                b"FETCH FORWARD %d FROM record_cursor" % _RECORDS_AT_ONCE, ()
            )
            records += [Record(key, value, revision) for key, value, revision in rows]
            if len(rows) < _RECORDS_AT_ONCE:
                break
        # Sorted here: an index on the revision would make every write slower.
        records.sort(key=lambda record: record.revision)
        return records

    def changes(self) -> Iterator[Change | None]:
        connection = self._connection
        if connection is None:
            raise StoreUnavailable("the feed has not begun")
        while True:
            rows = self._read_changes(connection)
            for revision, key, value in rows:
                self._revision = revision
                yield Change(key, value, revision)
            if len(rows) < _CHANGES_AT_ONCE:
                connection.wait_for_notification(
                    self._revision, POLL_SECONDS, self._stop
                )
                yield None

    def _read_changes(
        self, connection: Connection
    ) -> list[tuple[int, str, bytes | None]]:
        # Reset, so that a wrong notification causes one query and not an endless loop.
        connection.notified = 0
        rows = self._query(connection)
        epoch, newest, floor = rows[0][:3] if rows else ("", 0, 0)
        if epoch != self._epoch:
            raise Gap("the records were wiped")
        if newest < self._revision:
            raise Gap("the database was restored from a backup")
        if floor > self._revision:
            raise Gap(
                f"the log begins after {floor}, this watch is at {self._revision}"
            )
        return [row[3:] for row in rows if row[3] is not None]

    def _query(self, connection: Connection) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(self._read, (self._revision, _CHANGES_AT_ONCE))
        except Refused as error:
            if error.sqlstate in GONE:
                raise Gap("the schema was dropped") from None
            raise

    def interrupt(self) -> None:
        self._stop.set()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._stop.close()
