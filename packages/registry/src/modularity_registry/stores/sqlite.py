"""``sqlite:///path``: records in a file of this machine, for one process at a time."""

import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from modularity_registry.errors import BadSetting, StoreError, StoreUnavailable
from modularity_registry.stores.base import Send, Snapshot
from modularity_registry.stores.fanout import Fanout, LocalWatch
from modularity_registry.stores.groupcommit import GroupCommit
from modularity_registry.stores.sqlite_batch import Draft, Write
from modularity_registry.stores.sqlite_file import SqliteFile, create

log = logging.getLogger(__name__)

BUSY_SECONDS: Final = 5.0
LARGEST_VALUE: Final = 64 * 1024 * 1024
# A stat is a hand-over of the interpreter lock; once a second bounds what is lost.
LOOK_SECONDS: Final = 1.0


class SqliteStore:
    """Keeps records in an SQLite file; a write returns when it is on the disk.

    Writers that come together share a commit. In memory are only the keys with their
    revisions. One process holds the file at a time, by a lock on ``<path>.lock``.
    """

    def __init__(
        self, path: str | os.PathLike[str], busy_seconds: float = BUSY_SECONDS
    ) -> None:
        """Open or create the file; ``busy_seconds`` bounds waits for other programs.

        Raises `StoreUnavailable` when it can't be opened or another registry has it,
        `StoreCorrupt` when it is damaged or not a store, and `BadSetting` for
        ``:memory:``.
        """
        self._path = _resolve(path)
        self._busy_seconds = busy_seconds
        self._claim = _claim(self._path)
        try:
            if not os.path.lexists(self._path):
                create(self._path, busy_seconds)
            self._file = SqliteFile(self._path, busy_seconds)
        except BaseException:
            self._claim.release()
            raise
        self.epoch = self._file.ledger.epoch
        self.commits = 0
        self._told = self._file.ledger  # what the watchers know
        self._writers = GroupCommit(self._commit)
        self._turn = threading.Lock()  # for the file; taken before ``_feed``
        self._feed = threading.Lock()  # for deliveries
        self._fanout = Fanout()
        self._looked = time.monotonic()
        self._closed = False

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        # What SQLite would refuse is refused here, before it can fail a whole batch.
        if not key.encode():
            raise ValueError("a key has at least one character")
        if len(value) > LARGEST_VALUE:
            raise ValueError(f"a value has at most {LARGEST_VALUE} bytes")
        revision = self._submit(Write(key, bytes(value), expected))
        assert revision is not None
        return revision

    def delete(self, key: str, expected: int | None = None) -> int | None:
        return self._submit(Write(key, None, expected))

    def watch(self, send: Send) -> LocalWatch:
        with self._turn:
            file = self._ready()
            records = tuple(file.records())
            send(Snapshot(records, file.ledger.revision))
            with self._feed:
                return self._fanout.add(send, self._unwatch)

    def ping(self) -> None:
        with self._turn:
            self._ready().check()

    def close(self) -> None:
        with self._turn:
            if self._closed:
                return
            self._closed = True
            with self._feed:
                self._fanout.clear()
            self._file.close()
            self._file.revisions.clear()
            self._claim.release()

    def _submit(self, write: Write) -> int | None:
        self._writers.run(write)
        if write.error is not None:
            raise write.error
        if not write.done:
            raise StoreUnavailable("the write was interrupted, its outcome is unknown")
        return write.revision

    def _commit(self, batch: list[Write]) -> None:
        with self._turn:
            try:
                self._write(self._ready(), batch)
            except StoreError as error:
                for write in batch:
                    write.fail(error)
            except BaseException:
                # Ctrl-C in the midst: the file and the watchers may disagree.
                self._file.settled = False
                raise

    def _write(self, file: SqliteFile, batch: list[Write]) -> None:
        self._look(file)
        draft = Draft(file.ledger, file.revisions)
        for write in batch:
            draft.add(write)
        if draft.changes:
            file.commit(*draft.outcome())
            self.commits += 1
            draft.apply(file.revisions)
            with self._feed:
                for change in draft.changes:
                    self._fanout.deliver(change)
            self._told = file.ledger
        for write in batch:
            write.done = True

    def _look(self, file: SqliteFile) -> None:
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            file.require_same()
            self._looked = now

    def _ready(self) -> SqliteFile:
        if self._closed:
            raise StoreUnavailable(f"the store file {self._path} is closed")
        if not self._file.settled:
            self._reopen()
        return self._file

    def _reopen(self) -> None:
        """Learn from the disk what the last commit came to."""
        self._file.close()
        file = SqliteFile(self._path, self._busy_seconds)
        if file.ledger.epoch != self.epoch:
            file.close()
            raise StoreUnavailable(
                f"the store file {self._path} was replaced while the registry had it"
                " open; restart the registry"
            )
        log.warning("opened the store file %s again after an error", self._path)
        self._file = file
        if file.ledger != self._told:
            self._announce(file)

    def _announce(self, file: SqliteFile) -> None:
        # A revision that watchers have seen is never given out for a second time.
        revision = max(self._told.revision, file.ledger.revision)
        file.ledger = replace(file.ledger, revision=revision)
        snapshot = Snapshot(tuple(file.records()), revision)
        with self._feed:
            self._fanout.deliver(snapshot)
        self._told = file.ledger

    def _unwatch(self, watch: LocalWatch) -> None:
        with self._feed:
            self._fanout.remove(watch)


def _resolve(path: str | os.PathLike[str]) -> Path:
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


def _claim(path: Path) -> FileLock:
    # Not bound to a thread: whoever closes the store releases it.
    lock = FileLock(f"{path}.lock", timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise StoreUnavailable(
            f"another registry has the store file {path} open; stop it, or give this"
            " one a file of its own"
        ) from None
    except OSError as error:
        raise StoreUnavailable(
            f"can't lock {path}.lock: {error.strerror}; the registry needs to write"
            " that file and its folder"
        ) from error
    return lock
