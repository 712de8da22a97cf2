"""Follows the log of changes over one connection to PostgreSQL."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Change, Record, Snapshot
from modularity_registry.stores.postgresql.connection import Bell, Line
from modularity_registry.stores.postgresql.errors import GONE, Refused
from modularity_registry.stores.postgresql.layout import Schema
from modularity_registry.stores.reconnecting_watch import Gap

# A notification wakes us at once; should one be lost, or the schema with all in it,
# this many seconds find it out.
POLL_SECONDS: Final = 1.0

_BEYOND_ALL: Final = 2**62
_RECORDS_AT_ONCE: Final = 1_000
_CHANGES_AT_ONCE: Final = 500


class PostgresSession:
    """One connection's worth of a watch. It connects when the snapshot is taken."""

    def __init__(
        self,
        connect: Callable[[Bell], Line],
        schema: Schema,
        begun: Callable[[str], None],
    ) -> None:
        """Use ``connect`` with what will end it; tell ``begun`` the epoch."""
        self._connect = connect
        self._schema = schema
        self._begun = begun
        self._stop = Bell()
        self._line: Line | None = None
        self._epoch = ""
        self._revision = 0
        # In one statement, so of one moment. The inner LIMIT keeps to the index.
        self._read = schema.filled(
            "SELECT l.epoch, l.revision, l.floor, c.revision, c.key, c.value"
            " FROM {schema}.ledger l LEFT JOIN LATERAL ("
            "SELECT * FROM {schema}.change WHERE revision > %s"
            " ORDER BY revision LIMIT %s"
            ") c ON true ORDER BY c.revision"
        )

    def snapshot(self) -> Snapshot:
        line = self._line = self._connect(self._stop)
        self._schema.prepare(line)
        # Listening begins before the snapshot, so nothing falls between them.
        line.listen(self._schema.filled("LISTEN {listening}"))
        line.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Asked as `changes` will, so that what would fail there fails here.
        ledger = line.execute(self._read, (_BEYOND_ALL, 1))
        if not ledger:
            raise StoreUnavailable("the ledger was emptied by other hands")
        records = self._records(line)
        line.execute(b"COMMIT")
        self._epoch, self._revision = ledger[0][:2]
        self._begun(self._epoch)
        return Snapshot(tuple(records), self._revision)

    def _records(self, line: Line) -> list[Record]:
        line.execute(
            self._schema.filled(
                "DECLARE record_cursor NO SCROLL CURSOR FOR"
                " SELECT key, value, revision FROM {schema}.record"
            )
        )
        records: list[Record] = []
        while True:
            rows = line.execute(
                b"FETCH FORWARD %d FROM record_cursor" % _RECORDS_AT_ONCE, ()
            )
            records += [Record(key, value, revision) for key, value, revision in rows]
            if len(rows) < _RECORDS_AT_ONCE:
                break
        # Sorted here: an index on the revision would make every write dearer.
        records.sort(key=lambda record: record.revision)
        return records

    def changes(self) -> Iterator[Change | None]:
        line = self._line
        if line is None:
            raise StoreUnavailable("the feed has not begun")
        while True:
            rows = self._new(line)
            for revision, key, value in rows:
                self._revision = revision
                yield Change(key, value, revision)
            if len(rows) < _CHANGES_AT_ONCE:
                line.wait_beyond(self._revision, POLL_SECONDS, self._stop)
                yield None

    def _new(self, line: Line) -> list[tuple[int, str, bytes | None]]:
        # Forgotten, so that a false one makes us ask once and not for ever.
        line.told = 0
        rows = self._ask(line)
        epoch, newest, floor = rows[0][:3] if rows else ("", 0, 0)
        if epoch != self._epoch:
            raise Gap("the records were wiped, and the store starts anew")
        if newest < self._revision:
            raise Gap("the database was set back to an earlier state")
        if floor > self._revision:
            raise Gap(f"the log begins after {floor}, and {self._revision} is known")
        return [row[3:] for row in rows if row[3] is not None]

    def _ask(self, line: Line) -> list[tuple[Any, ...]]:
        try:
            return line.execute(self._read, (self._revision, _CHANGES_AT_ONCE))
        except Refused as error:
            if error.sqlstate in GONE:
                raise Gap("the schema was dropped, and the store starts anew") from None
            raise

    def interrupt(self) -> None:
        self._stop.set()

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._stop.close()
