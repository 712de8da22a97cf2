"""The rows of a store file: one table holds documents, the ledger and the change log.

Text keys are documents, the empty one among them is the ledger, and a key that is a
blob is a row of the log (`sqlite_log`); no document can have such a key. All three in
one table, so that a commit without deletions is a single step of SQLite. Each step
costs a hand-over of the interpreter lock: with a busy thread beside it, a step took
8 ms and a transaction in five steps 16 ms.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modularity_registry.stores.base import Record
from modularity_registry.stores.sqlite.errors import corrupt

APPLICATION_ID: Final = 0x4D6F6452  # "ModR"
FORMAT: Final = 2
FORMATS: Final = (1, FORMAT)
"""Those that can be opened; the first had no log and did not count openings."""

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
# A scan, not a walk through the index: it meets every page of the table once.
SELECT_RECORDS: Final = _SELECT + "typeof(key) = 'text' AND key <> ''"
# Blobs come after all texts. One statement: the ledger and the log of one moment.
SELECT_NEWS: Final = SELECT_LEDGER + " UNION ALL " + _SELECT + "key > ? ORDER BY key"
SELECT_LOG: Final = _SELECT + "key >= x'' ORDER BY key"
SIGN: Final = "UPDATE record SET value = ?, crc = ? WHERE key = ''"
TRIM: Final = "DELETE FROM record WHERE key >= x'' AND key <= ?"

# The rest of these depends on a number of rows: question marks are all that is added.
_INSERT: Final = "INSERT INTO record (key, revision, value, crc) VALUES "
_DELETE: Final = "DELETE FROM record WHERE key IN (?"
_SELECTED: Final = (
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

    A row that is lost, doubled or from another time is noticed by it, not only one
    that is altered. ``openings`` counts how often the file was opened: a process that
    finds more than its own is no longer alone with it.
    """

    epoch: str
    revision: int = 0
    count: int = 0
    total: int = 0
    openings: int = field(default=0, compare=False)

    def row(self) -> Row:
        value = f"{self.epoch} {self.count} {self.total} {self.openings}"
        return sealed(LEDGER_KEY, self.revision, value.encode())

    @classmethod
    def of(cls, row: Record) -> "Ledger":
        epoch, *numbers = row.value.decode().split(" ")
        return cls(epoch, row.revision, *map(int, numbers))


def insert(rows: int) -> str:
    """Return the statement that makes a new file's first rows."""
    return _INSERT + _marks(rows)


def upsert(rows: int) -> str:
    """Return the statement that writes ``rows`` rows if nobody else has written.

    After theirs it takes two parameters, revision and checksum of the ledger that the
    rows build on. If the file has another one, no row is written.
    """
    return _SELECTED + _marks(rows) + _UNLESS_OTHERS_WROTE + _UPDATE


def delete(keys: int) -> str:
    return _DELETE + ", ?" * (keys - 1) + ")"


def sealed(key: str | bytes, revision: int, value: bytes) -> Row:
    """Return the row with its checksum."""
    name = key.encode() if isinstance(key, str) else key
    return key, revision, value, _checksum(name, revision, value)


def unsealed(row: Sequence[object], path: Path) -> tuple[bytes, int, bytes]:
    """Return key, revision and value; raises `StoreCorrupt` if they were altered."""
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
    key, revision, value = unsealed(row, path)
    return Record(key.decode(), value, revision)


def _marks(rows: int) -> str:
    return "(?, ?, ?, ?)" + ", (?, ?, ?, ?)" * (rows - 1)


def _checksum(key: bytes, revision: int, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(b"%d\0%s\0" % (revision, key)))
