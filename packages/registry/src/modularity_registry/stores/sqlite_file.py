"""The file behind `SqliteStore`: one table, every row under a checksum.

The row under the empty key is the ledger. It holds the revision, the epoch, and how
many records there are with the sum of their revisions, so that a row that is lost,
doubled or from another time is noticed, not only one that is altered. It goes to the
disk in the same statement as the records: a commit without deletions is a single
step of SQLite, and each step costs a hand-over of the interpreter lock. With a busy
thread beside it, a step took 8 ms and a transaction in five steps 16 ms.
"""

import os
import sqlite3
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Record
from modularity_registry.stores.sqlite_errors import (
    NOTHING_WRITTEN,
    corrupt,
    explain,
    foreign,
    primary_code,
)

APPLICATION_ID: Final = 0x4D6F6452  # "ModR"
FORMAT: Final = 1
LEDGER_KEY: Final = ""

_CREATE: Final = """
    CREATE TABLE record (
        key TEXT PRIMARY KEY NOT NULL,
        revision INTEGER NOT NULL,
        value BLOB NOT NULL,
        crc INTEGER NOT NULL
    )
"""
_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",  # a commit returns when the WAL is on the disk
    "PRAGMA fullfsync = ON",  # macOS: past the drive's own cache, too
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The store in numbers: ``total`` is the sum of all records' revisions."""

    epoch: str
    revision: int = 0
    count: int = 0
    total: int = 0

    def row(self) -> Record:
        value = f"{self.epoch} {self.count} {self.total}".encode()
        return Record(LEDGER_KEY, value, self.revision)

    @classmethod
    def of(cls, row: Record) -> "Ledger":
        epoch, count, total = row.value.decode().split(" ")
        return cls(epoch, row.revision, int(count), int(total))


class SqliteFile:
    """An open store file; its owner calls one method at a time.

    ``ledger`` and ``revisions`` (by key) are what the file holds. Once ``settled`` is
    False it is unknown whether the last commit is on the disk: close, open anew.
    """

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self.path = path
        self.settled = True
        self._inode = _inode(path)
        try:
            self._connection = _connect(path, "rw", busy_seconds)
        except sqlite3.Error as error:
            raise explain(error, path) from error
        try:
            with self._explained():
                self._prepare()
                self.ledger = self._read_ledger()
                self.revisions = {row.key: row.revision for row in self._rows()}
        except BaseException:
            self.close()
            raise

    def records(self) -> list[Record]:
        """Return every record, ordered by revision."""
        with self._explained():
            records = list(self._rows())
        records.sort(key=lambda record: record.revision)
        return records

    def commit(
        self, puts: Sequence[Record], gone: Sequence[str], ledger: Ledger
    ) -> None:
        """Write all or nothing; on return it is on the disk."""
        rows = [ledger.row(), *puts]
        parameters = [field for row in rows for field in _fields(row)]
        with self._explained():
            if gone:
                self._execute("BEGIN IMMEDIATE")
                self._execute(_delete(len(gone)), gone)
                self._execute(_upsert(len(rows)), parameters)
                self._execute("COMMIT")
            else:
                self._execute(_upsert(len(rows)), parameters)
        self.ledger = ledger

    def check(self) -> None:
        """Return when the file answers and is still the one that was opened."""
        self.require_same()
        with self._explained():
            self._execute("SELECT revision FROM record WHERE key = ''").fetchall()

    def require_same(self) -> None:
        """Raise when another file, or none, has taken the place of this one."""
        try:
            same = os.stat(self.path).st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise StoreUnavailable(
                f"the store file {self.path} was removed or replaced while the"
                " registry had it open; put it back or restart the registry"
            )

    def close(self) -> None:
        """Close it, whatever state it is in."""
        try:
            self._connection.close()
        except sqlite3.Error:
            self.settled = False  # the WAL stays and is read at the next opening

    def _execute(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, parameters)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if primary_code(error) not in NOTHING_WRITTEN:
                self.settled = False
            self._roll_back()
            raise explain(error, self.path) from error
        except UnicodeDecodeError as error:  # in a message that cites the schema
            self.settled = False
            raise corrupt(self.path, "its schema can't be read") from error

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.settled = False

    def _prepare(self) -> None:
        [[application]] = self._execute("PRAGMA application_id")
        [[version]] = self._execute("PRAGMA user_version")
        if application != APPLICATION_ID:
            raise foreign(self.path, "it is another program's database")
        if version != FORMAT:
            raise foreign(
                self.path,
                f"it has format {version}, and this version knows format {FORMAT}",
            )
        for pragma in _PRAGMAS:
            self._execute(pragma)
        [[mode]] = self._execute("PRAGMA journal_mode = WAL")
        if mode != b"wal":
            raise StoreUnavailable(
                f"the folder of {self.path} can't hold a write-ahead log;"
                " choose one on a local disk"
            )
        # Finds out now if it can't be written. BEGIN IMMEDIATE alone does not: in a
        # file that is read-only, SQLite makes it a transaction that reads.
        self._execute("BEGIN IMMEDIATE")
        self._execute("UPDATE record SET crc = crc WHERE key = ''")
        self._execute("ROLLBACK")
        found = self._execute("PRAGMA integrity_check(1)").fetchall()
        if found != [(b"ok",)]:
            raise corrupt(self.path, found[0][0].decode(errors="replace"))

    def _read_ledger(self) -> Ledger:
        rows = self._execute(_SELECT + " WHERE key = ''").fetchall()
        if len(rows) != 1:
            raise corrupt(self.path, "its ledger is missing")
        return Ledger.of(_record(rows[0], self.path))

    def _rows(self) -> Iterator[Record]:
        """Yield every record, then check them all against the ledger."""
        count = total = newest = 0
        for row in self._execute(_SELECT + " WHERE key <> ''"):
            record = _record(row, self.path)
            count += 1
            total += record.revision
            newest = max(newest, record.revision)
            yield record
        ledger = self.ledger
        if (count, total) != (ledger.count, ledger.total) or newest > ledger.revision:
            raise corrupt(self.path, "rows are missing or from another time")


def create(path: Path, busy_seconds: float) -> None:
    """Make an empty store at ``path``, which must not exist.

    It gets its name when it is complete, so that an empty or half-written file there
    is never taken for a store with nothing in it.
    """
    if _beside(path, "-wal").exists():
        raise corrupt(path, "it is missing, but its -wal file is there")
    fresh = _beside(path, ".new")
    try:
        for end in ("", "-wal", "-journal"):
            _beside(fresh, end).unlink(missing_ok=True)
        _fill(fresh, busy_seconds)
        os.replace(fresh, path)
        _sync_folder(path.parent)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except OSError as error:
        raise _refused(path, error) from error


def _fill(path: Path, busy_seconds: float) -> None:
    connection = _connect(path, "rwc", busy_seconds)
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute(_CREATE)
        ledger = Ledger(uuid.uuid4().hex[:12])
        connection.execute(_upsert(1), _fields(ledger.row()))
    finally:
        connection.close()


_SELECT: Final = "SELECT key, revision, value, crc FROM record"


def _upsert(rows: int) -> str:
    return (
        "INSERT INTO record (key, revision, value, crc) VALUES (?, ?, ?, ?)"
        + ", (?, ?, ?, ?)" * (rows - 1)
        + " ON CONFLICT (key) DO UPDATE SET revision = excluded.revision,"
        " value = excluded.value, crc = excluded.crc"
    )


def _delete(keys: int) -> str:
    return f"DELETE FROM record WHERE key IN (?{', ?' * (keys - 1)})"


def _fields(record: Record) -> tuple[str, int, bytes, int]:
    crc = _checksum(record.key.encode(), record.revision, record.value)
    return record.key, record.revision, record.value, crc


def _record(row: tuple[object, ...], path: Path) -> Record:
    key, revision, value, crc = row
    if (
        isinstance(key, bytes)
        and isinstance(revision, int)
        and isinstance(value, bytes)
        and crc == _checksum(key, revision, value)
    ):
        return Record(key.decode(), value, revision)
    raise corrupt(path, "a row does not match its checksum")


def _checksum(key: bytes, revision: int, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(b"%d\0%s\0" % (revision, key)))


def _connect(path: Path, mode: str, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,  # transactions begin and end where this module says
        check_same_thread=False,
        cached_statements=256,  # one for each size of a batch
    )
    # Damaged text need not be UTF-8; as bytes it reaches the checksum.
    connection.text_factory = bytes
    return connection


def _inode(path: Path) -> int:
    try:
        found = path.stat()
    except OSError as error:
        raise _refused(path, error) from error
    if path.is_dir():
        raise StoreUnavailable(f"{path} is a folder; name a file in it")
    if found.st_size == 0:
        # SQLite would take it for a new database, and throw away a -wal beside it.
        raise foreign(path, "it is empty")
    return found.st_ino


def _refused(path: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"the store file {path} can't be used: {error.strerror}")


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
