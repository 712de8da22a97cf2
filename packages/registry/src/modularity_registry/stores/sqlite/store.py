"""``sqlite:///path``: records in a file of this machine, shared by its processes."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Final

from modularity_registry.errors import StoreError, StoreUnavailable
from modularity_registry.stores.base import (
    Change,
    Lost,
    Outcome,
    Send,
    Snapshot,
    Write,
    require_valid,
)
from modularity_registry.stores.local_watch import Fanout, LocalWatch
from modularity_registry.stores.sqlite.batch import plan
from modularity_registry.stores.sqlite.creation import create, opening_lock, resolve
from modularity_registry.stores.sqlite.errors import DiskFull
from modularity_registry.stores.sqlite.feed import ChangePoller
from modularity_registry.stores.sqlite.file import SqliteFile

log = logging.getLogger(__name__)

BUSY_SECONDS: Final = 5.0
CLOSING_SECONDS: Final = 1.0
"""How long a close waits for a process that opens the file."""
LARGEST_VALUE: Final = 64 * 1024 * 1024
# A stat hands over the interpreter lock; once a second bounds what a removal loses.
STAT_SECONDS: Final = 1.0
# SQLite's lock has no queue. A process that writes all the time releases it now and
# then, for longer than the others' pauses between two attempts.
STREAK_SECONDS: Final = 0.02
YIELD_SECONDS: Final = 0.002


class SqliteStore:
    """Keeps records in an SQLite file; a write returns when it is on the disk.

    A batch is one commit. Only keys and revisions are in memory. From the first watch
    on, a thread polls for writes of other processes.
    """

    shared: Final = True
    embedded: Final = False

    def __init__(
        self, path: str | os.PathLike[str], busy_seconds: float = BUSY_SECONDS
    ) -> None:
        """Open or create the file; ``busy_seconds`` bounds waits for other programs.

        Raises `StoreUnavailable` when it can't be opened, `StoreCorrupt` when it is
        damaged or not a store, and `BadSetting` for ``:memory:``.
        """
        self._path = resolve(path)
        self._busy_seconds = busy_seconds
        self._ending = threading.Event()
        with opening_lock(self._path):
            if not os.path.lexists(self._path):
                create(self._path)
            self._file = self._open(is_first=True)
        self.epoch = self._file.ledger.epoch
        self._announced = self._file.ledger  # what was sent to watches
        self._highest = self._announced.revision  # of all that was ever sent
        self._lost = False  # whether that was sent
        self._alone = True  # as of the last commit
        self._warned_of_disk = False
        self._wrote_at = self._writing_since = 0.0
        self._turn = threading.Lock()  # for the file; taken before ``_feed``
        self._feed = threading.Lock()  # for deliveries
        self._fanout = Fanout()
        self._poller = ChangePoller(self._poll, self._report_lost)
        self._checked = time.monotonic()
        self._closed = False

    def commit(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        require_valid(batch)
        for key, value, _ in batch:
            if not key.encode():
                raise ValueError("a key has at least one character")
            if value is not None and len(value) > LARGEST_VALUE:
                raise ValueError(f"a value has at most {LARGEST_VALUE} bytes")
        with self._turn:
            try:
                return self._write(self._usable_file(), batch)
            except StoreError:
                raise
            except BaseException:
                # Ctrl-C in between: the file and the watches may disagree.
                self._file.is_settled = False
                raise

    def watch(self, send: Send) -> LocalWatch:
        with self._turn:
            file = self._usable_file()
            with file.read_transaction():
                self._catch_up(file)
                records = tuple(file.records())
            send(Snapshot(records, self._highest))
            self._poller.start()
            with self._feed:
                return self._fanout.add(send, self._unwatch)

    def begin_epoch(self) -> str:
        with self._turn:
            file = self._usable_file()
            file.begin(lambda: self._catch_up(file))
            try:
                self._catch_up(file)
                file.begin_epoch()
            finally:
                file.roll_back()
            self._catch_up(file)
            return self.epoch

    def ping(self) -> None:
        with self._turn:
            self._usable_file().check()

    def close(self) -> None:
        self._ending.set()
        with self._turn:
            if self._closed:
                return
            self._closed = True
            with self._feed:
                self._fanout.clear()
            self._close_file()
        self._poller.stop()

    def _close_file(self) -> None:
        try:
            # So that no other process opens it before it is marked as closed.
            with opening_lock(self._path, CLOSING_SECONDS):
                self._file.close_marked()
        except StoreUnavailable:
            self._file.close()
        self._file.revisions.clear()

    def _write(self, file: SqliteFile, batch: Sequence[Write]) -> Sequence[Outcome]:
        if file.is_shared:
            self._yield_turn()
        try:
            outcomes = self._write_once(file, batch)
        except DiskFull:
            # The -wal grows to 4 MB before SQLite begins it again.
            if not file.empty_log():
                raise
            outcomes = self._write_once(file, batch)
            if not self._warned_of_disk:
                self._warned_of_disk = True
                log.warning(
                    "the disk of the store file %s is nearly full: make room",
                    self._path,
                )
        self._wrote_at = time.monotonic()
        return outcomes

    def _write_once(
        self, file: SqliteFile, batch: Sequence[Write]
    ) -> Sequence[Outcome]:
        outcomes = self._write_alone(file, batch) if self._alone else None
        return self._write_in_turn(file, batch) if outcomes is None else outcomes

    def _yield_turn(self) -> None:
        """Give other processes a turn, now and then."""
        now = time.monotonic()
        if now - self._wrote_at > YIELD_SECONDS / 2:
            self._writing_since = now
        elif now - self._writing_since > STREAK_SECONDS:
            self._ending.wait(YIELD_SECONDS)
            self._writing_since = time.monotonic()

    def _write_alone(
        self, file: SqliteFile, batch: Sequence[Write]
    ) -> Sequence[Outcome] | None:
        """Write in one step; None if another process has written."""
        planned = plan(batch, file.revisions, self._highest)
        if not planned.changes:
            # A conflict must exist now, not with a former state.
            return None if self._catch_up(file) else planned.outcomes
        if not file.commit(planned.changes):
            return None
        self._deliver(file, planned.changes)
        return planned.outcomes

    def _write_in_turn(
        self, file: SqliteFile, batch: Sequence[Write]
    ) -> Sequence[Outcome]:
        """Lock out other processes, read their writes, then decide and write."""
        file.begin(lambda: self._catch_up(file))
        try:
            self._alone = not self._catch_up(file)
            planned = plan(batch, file.revisions, self._highest)
            if planned.changes and not file.commit(planned.changes):
                raise RuntimeError("another process wrote in spite of the lock")
        finally:
            file.roll_back()
        if planned.changes:
            self._deliver(file, planned.changes)
        return planned.outcomes

    def _deliver(self, file: SqliteFile, changes: Sequence[Change]) -> None:
        with self._feed:
            for change in changes:
                self._fanout.deliver(change)
        self._announced = file.ledger
        self._highest = file.ledger.revision

    def _catch_up(self, file: SqliteFile) -> bool:
        """Read and deliver the writes of other processes; return whether there were
        any."""
        with file.read_transaction():
            changes = file.catch_up()
            if file.ledger == self._announced:
                return False
            if not changes or changes[0].revision <= self._highest:
                self._send_snapshot(file)
                return True
        self._deliver(file, changes)
        return True

    def _usable_file(self) -> SqliteFile:
        if self._closed:
            raise StoreUnavailable(f"the store file {self._path} is closed")
        now = time.monotonic()
        if self._lost or now - self._checked > STAT_SECONDS:
            self._file.require_same()
            self._checked = now
        if not self._file.is_settled:
            self._reopen()
        if self._lost:
            with self._file.read_transaction():
                self._file.catch_up()
                self._send_snapshot(self._file)
        return self._file

    def _open(self, is_first: bool) -> SqliteFile:
        return SqliteFile(self._path, self._busy_seconds, self._ending, is_first)

    def _reopen(self) -> None:
        """Read from the disk whether the last commit was written."""
        self._file.require_same()
        self._file.close()
        self._file = file = self._open(is_first=False)
        log.warning("opened the store file %s again after an error", self._path)
        if file.ledger != self._announced:
            with file.read_transaction():
                file.catch_up()
                self._send_snapshot(file)

    def _send_snapshot(self, file: SqliteFile) -> None:
        # A revision that a watch has sent is never used again.
        self._highest = max(self._highest, file.ledger.revision)
        self.epoch = file.ledger.epoch
        snapshot = Snapshot(tuple(file.records()), self._highest)
        with self._feed:
            self._fanout.deliver(snapshot)
        self._announced = file.ledger
        self._lost = False

    def _poll(self) -> bool:
        """Deliver the writes of other processes, in the poller's thread; True if
        any."""
        if not self._turn.acquire(blocking=False):
            return True  # the thread that has it reads them, too
        try:
            if self._closed:
                return False
            file = self._usable_file()
            file.advance_identity()
            return file.changed_elsewhere() and self._catch_up(file)
        finally:
            self._turn.release()

    def _report_lost(self, error: StoreError) -> None:
        with self._turn:
            if not self._lost and not self._closed:
                self._lost = True
                with self._feed:
                    self._fanout.deliver(Lost(error.detail))

    def _unwatch(self, watch: LocalWatch) -> None:
        with self._feed:
            self._fanout.remove(watch)
