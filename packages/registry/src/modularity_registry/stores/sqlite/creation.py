"""How a store file is found, claimed, made and connected to."""

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
    "PRAGMA fullfsync = ON",  # macOS: past the drive's own cache, too
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
)
# Others are let in one by one, and each reads the whole file.
CLAIM_SECONDS: Final = 10.0


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return the file's own path; raises `BadSetting` and `StoreUnavailable`."""
    name = os.fspath(path)
    if name in ("", ":memory:"):
        raise BadSetting("an SQLite store needs a file; without one, use memory://")
    # Two names of one file, by a link, must meet at the same lock.
    resolved = Path(os.path.realpath(name))
    if not resolved.parent.is_dir():
        raise StoreUnavailable(
            f"the folder {resolved.parent} does not exist; create it or choose another"
        )
    return resolved


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Open the file as the only one to do so, until the block ends.

    So that one process makes a new file or brings it to this format. A version that
    did not share the file holds the same lock for as long as it has it open.
    """
    lock = FileLock(f"{path}.lock", thread_local=False)
    try:
        lock.acquire(timeout=CLAIM_SECONDS, poll_interval=0.01)
    except Timeout:
        raise StoreUnavailable(
            f"another registry holds the store file {path}: one of an earlier version,"
            " which does not share it, or one that is starting; stop it, or give this"
            " one a file of its own"
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
    """Make an empty store at ``path``, which must not exist.

    It gets its name when it is complete, so that an empty or half-written file there
    is never taken for a store with nothing in it.
    """
    if beside(path, "-wal").exists():
        raise corrupt(path, "it is missing, but its -wal file is there")
    fresh = beside(path, ".new")
    try:
        for end in ("", "-wal", "-journal"):
            beside(fresh, end).unlink(missing_ok=True)
        _fill(fresh)
        os.replace(fresh, path)
        _sync_folder(path.parent)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except OSError as error:
        raise _refused(path, error) from error


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Return a connection; ``mode`` is rw, or rwc to make the file."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=0,  # `SqliteFile` waits by itself, so that a close can end it
        isolation_level=None,  # transactions begin and end where this package says
        check_same_thread=False,
        cached_statements=256,  # one for each size of a batch
    )
    # Damaged text need not be UTF-8; as bytes it reaches the checksum.
    connection.text_factory = bytes
    return connection


def inode(path: Path) -> int:
    """Return the file's inode; raises what keeps it from being a store."""
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


def beside(path: Path, end: str) -> Path:
    """Return the file of that name with ``end`` after it."""
    return path.with_name(path.name + end)


def _fill(path: Path) -> None:
    connection = connect(path, "rwc")
    try:
        for pragma in PRAGMAS:
            connection.execute(pragma)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute(TABLE)
        connection.execute(insert(1), Ledger(uuid.uuid4().hex[:12]).row())
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
