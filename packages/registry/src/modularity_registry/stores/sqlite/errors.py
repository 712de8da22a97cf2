"""What SQLite's result codes mean to whoever runs the registry.

The codes and their meanings: https://www.sqlite.org/rescode.html
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from modularity_registry.errors import StoreCorrupt, StoreError, StoreUnavailable

# After these SQLite has certainly undone the transaction. After any other error the
# last frames may or may not be on the disk, and only a fresh look tells.
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
    sqlite3.SQLITE_BUSY: "is locked by another program; end what holds it",
    sqlite3.SQLITE_LOCKED: "is locked by another program; end what holds it",
    sqlite3.SQLITE_FULL: "can't grow, the disk is full; make room and try again",
    sqlite3.SQLITE_NOMEM: "needs more memory than there is",
    sqlite3.SQLITE_IOERR: "can't be read or written: the disk is full or reports an"
    " error, or a limit on file sizes was reached; see the system's log",
    sqlite3.SQLITE_CANTOPEN: "can't be opened; the registry needs to read and write"
    " the file and its folder",
    sqlite3.SQLITE_PERM: "can't be opened; the registry needs to read and write the"
    " file and its folder",
    sqlite3.SQLITE_READONLY: "is read-only; the registry needs to write the file and"
    " its folder",
    sqlite3.SQLITE_NOLFS: "has reached the largest size its file system allows",
    sqlite3.SQLITE_PROTOCOL: "can't be locked; a network folder can't hold it",
}

_RESTORE: Final = (
    "stop the registry and restore the file from a backup, or move it away together"
    " with its -wal and -shm files to start with no services"
)


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's result code without its extension; -1 if there is none."""
    code = getattr(error, "sqlite_errorcode", -1)
    return int(code) & 0xFF if code >= 0 else -1


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the store's error for ``error``: what happened, and what to do."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_NOTADB:
        return foreign(path, "it is not an SQLite database")
    if code == sqlite3.SQLITE_READONLY and _writable(path):
        # The file says of itself that nobody may write it: its header is damaged.
        return corrupt(path, str(error))
    sentence = _UNAVAILABLE.get(code)
    if sentence is not None:
        return StoreUnavailable(f"the store file {path} {sentence} ({error})")
    # SQLITE_CORRUPT, and what fixed statements can only meet in a damaged schema.
    return corrupt(path, str(error))


def corrupt(path: Path, what: str) -> StoreCorrupt:
    """Return the error for a file of the registry's that has been damaged."""
    return StoreCorrupt(f"the store file {path} is damaged: {what}; {_RESTORE}")


def foreign(path: Path, what: str) -> StoreCorrupt:
    """Return the error for a file that is something else than a store."""
    return StoreCorrupt(
        f"{path} is not a store of this registry: {what}; choose another path,"
        " or move the file away to start with no services"
    )


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
