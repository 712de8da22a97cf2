"""Explains SQLite's result codes to the operator.

The codes and their meanings: https://www.sqlite.org/rescode.html
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from modularity_registry.errors import StoreCorrupt, StoreError, StoreUnavailable

# After these errors SQLite has certainly rolled back. After any other, the last frames
# may be on the disk or not, and only opening the file again tells.
NOTHING_WRITTEN: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOMEM,
    }
)

_UNAVAILABLE: Final = {
    sqlite3.SQLITE_BUSY: "is locked by another program; stop that program",
    sqlite3.SQLITE_LOCKED: "is locked by another program; stop that program",
    sqlite3.SQLITE_NOMEM: "needs more memory than is available",
    sqlite3.SQLITE_IOERR: "can't be read or written: the disk is full or reports an"
    " error, or a limit on file sizes was reached; see the system's log",
    sqlite3.SQLITE_CANTOPEN: "can't be opened; the registry needs to read and write"
    " the file and its folder",
    sqlite3.SQLITE_PERM: "can't be opened; the registry needs to read and write the"
    " file and its folder",
    sqlite3.SQLITE_READONLY: "is read-only; the registry needs to write the file and"
    " its folder",
    sqlite3.SQLITE_NOLFS: "has reached the largest size its file system allows",
    sqlite3.SQLITE_PROTOCOL: "can't be locked; don't put it on a network folder",
}


class DiskFull(StoreUnavailable):
    """Nothing was written, since there is no room for it."""


_RESTORE: Final = (
    "stop the registry and restore the file from a backup, or move it away together"
    " with its -wal and -shm files to start empty"
)


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; -1 if there is none."""
    code = getattr(error, "sqlite_errorcode", -1)
    return int(code) & 0xFF if code >= 0 else -1


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the store's error for ``error``: what happened, and what to do."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_NOTADB:
        return foreign(path, "it is not an SQLite database")
    if code == sqlite3.SQLITE_READONLY and _writable(path):
        # The file's header says that it is read-only, so the header is damaged.
        return corrupt(path, str(error))
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(
            f"the store file {path} can't grow, the disk is full; make room and try"
            f" again ({error})"
        )
    sentence = _UNAVAILABLE.get(code)
    if sentence is not None:
        return StoreUnavailable(f"the store file {path} {sentence} ({error})")
    # SQLITE_CORRUPT, and what these statements only meet in a damaged schema.
    return corrupt(path, str(error))


def corrupt(path: Path, damage: str) -> StoreCorrupt:
    """Return the error for a damaged store file."""
    return StoreCorrupt(f"the store file {path} is damaged: {damage}; {_RESTORE}")


def foreign(path: Path, reason: str) -> StoreCorrupt:
    """Return the error for a file that is not a store."""
    return StoreCorrupt(
        f"{path} is not a store of this registry: {reason}; choose another path,"
        " or move the file away to start empty"
    )


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
