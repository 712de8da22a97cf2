"""Finds, locks and creates a store file, and connects to it."""

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from modularity_registry.errors import BadSetting, StoreUnavailable
from modularity_registry.stores.sqlite.errors import corrupt, explain, foreign
from modularity_registry.stores.sqlite.layout import (
    APPLICATION_ID,
    FORMAT,
    TABLE,
    Ledger,
    insert,
)

PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",  # a commit returns when the WAL is on the disk
    "PRAGMA fullfsync = ON",  # macOS: also flushes the drive's cache
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
)
PRIVATE: Final = 0o600
"""The mode of all files: a store holds tokens' hashes and private metadata."""

# Processes open the file one after the other, and each reads the whole file.
LOCK_SECONDS: Final = 10.0


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return the file's real path; raises `BadSetting` and `StoreUnavailable`."""
    name = os.fspath(path)
    if name in ("", ":memory:"):
        raise BadSetting("an SQLite store needs a file; without one, use memory://")
    # Two names of one file, with a link, must use the same lock.
    resolved = Path(os.path.realpath(name))
    if not resolved.parent.is_dir():
        raise StoreUnavailable(
            f"the folder {resolved.parent} does not exist; create it or choose another"
        )
    return resolved


@contextmanager
def opening_lock(path: Path, seconds: float | None = None) -> Iterator[None]:
    """Keep other processes from opening the file during the block.

    Waits for them at most ``seconds``, by default `LOCK_SECONDS`.
    So only one process creates or upgrades it. A version that did not share the file
    holds this lock as long as it has the file open.
    """
    lock = FileLock(f"{path}.lock", mode=PRIVATE, thread_local=False)
    try:
        lock.acquire(
            timeout=LOCK_SECONDS if seconds is None else seconds, poll_interval=0.01
        )
    except Timeout:
        raise StoreUnavailable(
            f"another registry has locked the store file {path}: an earlier version,"
            " which does not share it, or one that is starting; stop it, or use another"
            " file"
        ) from None
    except OSError as error:
        raise StoreUnavailable(
            f"can't lock {path}.lock: {error.strerror}; the registry needs to write"
            " that file and its folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def create(path: Path) -> None:
    """Create an empty store at ``path``, which must not exist.

    It gets its name when it is complete, so that an empty or half-written file is
    never taken for an empty store.
    """
    if beside(path, "-wal").exists():
        raise corrupt(path, "it is missing, but its -wal file is there")
    new = beside(path, ".new")
    try:
        for end in ("", "-wal", "-journal"):
            beside(new, end).unlink(missing_ok=True)
        _fill(new)
        os.replace(new, path)
        _sync_folder(path.parent)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except OSError as error:
        raise _refused(path, error) from error


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to a file that exists."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=0,  # `Connection` waits by itself, so that a close can end it
        isolation_level=None,  # no implicit transactions
        check_same_thread=False,
        cached_statements=256,  # one for each batch size
    )
    # Damaged text may not be UTF-8; as bytes it reaches the checksum.
    connection.text_factory = bytes
    return connection


def inode(path: Path) -> int:
    """Return the file's inode; raises if it can't be a store."""
    try:
        status = path.stat()
    except OSError as error:
        raise _refused(path, error) from error
    if path.is_dir():
        raise StoreUnavailable(f"{path} is a folder; name a file in it")
    if status.st_size == 0:
        # SQLite would take it for a new database and delete a -wal beside it.
        raise foreign(path, "it is empty")
    return status.st_ino


def new_epoch() -> str:
    return uuid.uuid4().hex[:12]


def beside(path: Path, end: str) -> Path:
    """Return the path with ``end`` appended."""
    return path.with_name(path.name + end)


def _fill(path: Path) -> None:
    # SQLite gives the -wal, -shm and -journal the mode of this file.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    os.close(descriptor)
    path.chmod(PRIVATE)  # whatever the umask
    connection = connect(path)
    try:
        for pragma in PRAGMAS:
            connection.execute(pragma)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute(TABLE)
        connection.execute(insert(1), Ledger(new_epoch()).row())
    finally:
        connection.close()


def _refused(path: Path, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"the store file {path} can't be used: {error.strerror}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
