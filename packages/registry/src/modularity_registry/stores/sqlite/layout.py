"""The rows of a store file: one table holds documents, the ledger and the change log.

A text key is a document's, the empty one is the ledger's, and a blob is the key of a
row of the log (`change_log`); no document can have such a key. All three are in one
table, so that a commit without deletions is a single step of SQLite. Each step costs a
hand-over of the interpreter lock: with a busy thread beside it, a step took
8 ms and a transaction in five steps 16 ms.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from modularity_registry.stores.base import Change, Record
from modularity_registry.stores.sqlite.errors import corrupt

APPLICATION_ID: Final = 0x4D6F6452  # "ModR"
FORMAT: Final = 2
FORMATS: Final = (1, FORMAT)
"""Formats that can be opened; the first has no log and does not count openings."""

LEDGER_KEY: Final = ""
TABLE: Final = """
    CREATE TABLE record (
        key TEXT PRIMARY KEY NOT NULL,
        revision INTEGER NOT NULL,
        value BLOB NOT NULL,
        crc INTEGER NOT NULL
    )
"""
Row = tuple[str | bytes, int, bytes, int]

_SELECT: Final = "SELECT key, revision, value, crc FROM record WHERE "
SELECT_LEDGER: Final = _SELECT + "key = ''"
# A scan, not a walk through the index: it reads every page of the table once.
SELECT_RECORDS: Final = _SELECT + "typeof(key) = 'text' AND key <> ''"
# Blobs sort after all texts. One statement, so ledger and log match.
SELECT_CHANGES: Final = SELECT_LEDGER + " UNION ALL " + _SELECT + "key > ? ORDER BY key"
SELECT_LOG: Final = _SELECT + "key >= x'' ORDER BY key"
UPDATE_LEDGER: Final = "UPDATE record SET value = ?, crc = ? WHERE key = ''"
TRIM: Final = "DELETE FROM record WHERE key >= x'' AND key <= ?"

# The others depend on the number of rows: only question marks are added.
_INSERT: Final = "INSERT INTO record (key, revision, value, crc) VALUES "
_DELETE: Final = "DELETE FROM record WHERE key IN (?"
_INSERT_SELECTED: Final = (
    "INSERT INTO record (key, revision, value, crc) SELECT * FROM (VALUES "
)
_UNLESS_OTHERS_WROTE: Final = (
    ") WHERE EXISTS (SELECT 1 FROM record WHERE key = '' AND revision = ? AND crc = ?)"
)
_UPDATE: Final = (
    " ON CONFLICT (key) DO UPDATE SET revision = excluded.revision,"
    " value = excluded.value, crc = excluded.crc"
)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The store in numbers: ``total`` is the sum of all records' revisions.

    It reveals rows that are lost, doubled or outdated, where a checksum only reveals
    altered ones. ``openings`` counts how often the file was opened: a process that
    reads more than its own number is no longer alone with it.
    """

    epoch: str
    revision: int = 0
    count: int = 0
    total: int = 0
    openings: int = field(default=0, compare=False)

    def row(self) -> Row:
        value = f"{self.epoch} {self.count} {self.total} {self.openings}"
        return with_checksum(LEDGER_KEY, self.revision, value.encode())

    def after(
        self, changes: Sequence[Change], revisions: Mapping[str, int]
    ) -> "Ledger":
        """Return the ledger after ``changes`` to records with these ``revisions``."""
        count, total = self.count, self.total
        latest: dict[str, int] = {}
        for change in changes:
            old = latest.get(change.key, revisions.get(change.key, 0))
            new = 0 if change.value is None else change.revision
            count += (new > 0) - (old > 0)
            total += new - old
            latest[change.key] = new
        return replace(self, revision=changes[-1].revision, count=count, total=total)

    @classmethod
    def of(cls, row: Record) -> "Ledger":
        epoch, *numbers = row.value.decode().split(" ")
        return cls(epoch, row.revision, *map(int, numbers))


def insert(rows: int) -> str:
    """Return the statement that makes a new file's first rows."""
    return _INSERT + _marks(rows)


def upsert(rows: int) -> str:
    """Return the statement that writes ``rows`` rows if no other process has.

    After the rows' it takes two parameters: the revision and checksum of the ledger
    that the rows build on. If the file has another ledger, no row is written.
    """
    return _INSERT_SELECTED + _marks(rows) + _UNLESS_OTHERS_WROTE + _UPDATE


def delete(keys: int) -> str:
    return _DELETE + ", ?" * (keys - 1) + ")"


def with_checksum(key: str | bytes, revision: int, value: bytes) -> Row:
    """Return the row with its checksum."""
    name = key.encode() if isinstance(key, str) else key
    return key, revision, value, _checksum(name, revision, value)


def verify_checksum(row: Sequence[object], path: Path) -> tuple[bytes, int, bytes]:
    """Return key, revision and value; raises `StoreCorrupt` if altered."""
    key, revision, value, crc = row
    if (
        isinstance(key, bytes)
        and isinstance(revision, int)
        and isinstance(value, bytes)
        and crc == _checksum(key, revision, value)
    ):
        return key, revision, value
    raise corrupt(path, "a row does not match its checksum")


def record(row: Sequence[object], path: Path) -> Record:
    """Return the document of a row; raises `StoreCorrupt`."""
    key, revision, value = verify_checksum(row, path)
    return Record(key.decode(), value, revision)


def _marks(rows: int) -> str:
    return "(?, ?, ?, ?)" + ", (?, ?, ?, ?)" * (rows - 1)


def _checksum(key: bytes, revision: int, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(b"%d\0%s\0" % (revision, key)))
