"""``sqlite:///path``: records in a file of this machine, shared by its processes."""

import logging
import os
import threading
import time
from typing import Final

from modularity_registry.errors import StoreError, StoreUnavailable
from modularity_registry.stores.base import Lost, Send, Snapshot
from modularity_registry.stores.group_commit import GroupCommit
from modularity_registry.stores.local_watch import Fanout, LocalWatch
from modularity_registry.stores.sqlite.batch import Draft
from modularity_registry.stores.sqlite.creation import claimed, create, resolve
from modularity_registry.stores.sqlite.feed import Lookout
from modularity_registry.stores.sqlite.file import SqliteFile
from modularity_registry.stores.write import Write

log = logging.getLogger(__name__)

BUSY_SECONDS: Final = 5.0
LARGEST_VALUE: Final = 64 * 1024 * 1024
# A stat is a hand-over of the interpreter lock; once a second bounds what is lost.
LOOK_SECONDS: Final = 1.0
# SQLite's lock knows no queue. Whoever writes all the time leaves it open for a while
# that is longer than the others' pauses between two tries.
STREAK_SECONDS: Final = 0.02
OPEN_SECONDS: Final = 0.002


class SqliteStore:
    """Keeps records in an SQLite file; a write returns when it is on the disk.

    Writers that come together share a commit. In memory are only the keys with their
    revisions. What other processes write is heard by a thread that looks for it,
    beginning with the first watch.
    """

    shared: Final = True

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
        with claimed(self._path):
            if not os.path.lexists(self._path):
                create(self._path)
            self._file = self._open()
        self.epoch = self._file.ledger.epoch
        self.commits = 0
        self._told = self._file.ledger  # what the watchers know
        self._highest = self._told.revision  # of all that they were ever told
        self._lost = False  # whether they were told that
        self._alone = True  # as far as the last commit could tell
        self._wrote = self._streak = 0.0  # when, and since when without a break
        self._writers = GroupCommit(self._commit)
        self._turn = threading.Lock()  # for the file; taken before ``_feed``
        self._feed = threading.Lock()  # for deliveries
        self._fanout = Fanout()
        self._lookout = Lookout(self._look, self._lose)
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
            with file.frozen():
                self._catch_up(file)
                records = tuple(file.records())
            send(Snapshot(records, self._highest))
            self._lookout.start()
            with self._feed:
                return self._fanout.add(send, self._unwatch)

    def ping(self) -> None:
        with self._turn:
            self._ready().check()

    def close(self) -> None:
        self._ending.set()
        with self._turn:
            if self._closed:
                return
            self._closed = True
            with self._feed:
                self._fanout.clear()
            self._file.close()
            self._file.revisions.clear()
        self._lookout.stop()

    def _submit(self, write: Write) -> int | None:
        self._writers.run(write)
        return write.outcome()

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
        if file.joint:
            self._give_way()
        if not (self._alone and self._write_alone(file, batch)):
            self._write_in_turn(file, batch)
        self._wrote = time.monotonic()
        for write in batch:
            write.done = True

    def _give_way(self) -> None:
        """Let another process come in between, now and then."""
        now = time.monotonic()
        if now - self._wrote > OPEN_SECONDS / 2:
            self._streak = now
        elif now - self._streak > STREAK_SECONDS:
            self._ending.wait(OPEN_SECONDS)
            self._streak = time.monotonic()

    def _write_alone(self, file: SqliteFile, batch: list[Write]) -> bool:
        """Write in one step, if no other process has written meanwhile."""
        draft = self._draft(file, batch)
        if not draft.changes:
            # What was found to be in conflict has to be so now, not a while ago.
            return not self._catch_up(file)
        if not file.commit(draft.outcome()):
            return False
        self._tell(file, draft)
        return True

    def _write_in_turn(self, file: SqliteFile, batch: list[Write]) -> None:
        """Keep other processes out, see what they wrote, then decide and write."""
        file.begin(lambda: self._catch_up(file))
        try:
            self._alone = not self._catch_up(file)
            draft = self._draft(file, batch)
            if draft.changes and not file.commit(draft.outcome()):
                raise RuntimeError("another process wrote under this one's lock")
        finally:
            file.roll_back()
        self._tell(file, draft)

    def _draft(self, file: SqliteFile, batch: list[Write]) -> Draft:
        draft = Draft(file.ledger, file.revisions, self._highest)
        for write in batch:
            draft.add(write)
        return draft

    def _tell(self, file: SqliteFile, draft: Draft) -> None:
        if not draft.changes:
            return
        self.commits += 1
        with self._feed:
            for change in draft.changes:
                self._fanout.deliver(change)
        self._told = file.ledger
        self._highest = file.ledger.revision

    def _catch_up(self, file: SqliteFile) -> bool:
        """Hear what other processes wrote, tell it; return whether there was any."""
        with file.frozen():
            changes = file.catch_up()
            if file.ledger == self._told:
                return False
            self._require_epoch(file)
            if not changes or changes[0].revision <= self._highest:
                self._announce(file)
                return True
        with self._feed:
            for change in changes:
                self._fanout.deliver(change)
        self._told = file.ledger
        self._highest = file.ledger.revision
        return True

    def _ready(self) -> SqliteFile:
        if self._closed:
            raise StoreUnavailable(f"the store file {self._path} is closed")
        now = time.monotonic()
        if self._lost or now - self._looked > LOOK_SECONDS:
            self._file.require_same()
            self._looked = now
        if not self._file.settled:
            self._reopen()
        if self._lost:
            with self._file.frozen():
                self._file.catch_up()
                self._announce(self._file)
        return self._file

    def _open(self) -> SqliteFile:
        return SqliteFile(self._path, self._busy_seconds, self._ending)

    def _reopen(self) -> None:
        """Learn from the disk what the last commit came to."""
        self._file.close()
        file = self._open()
        try:
            self._require_epoch(file)
        except StoreError:
            file.close()
            raise
        log.warning("opened the store file %s again after an error", self._path)
        self._file = file
        if file.ledger != self._told:
            with file.frozen():
                file.catch_up()
                self._announce(file)

    def _require_epoch(self, file: SqliteFile) -> None:
        if file.ledger.epoch != self.epoch:
            file.settled = False
            raise StoreUnavailable(
                f"the store file {self._path} was replaced while the registry had it"
                " open; restart the registry"
            )

    def _announce(self, file: SqliteFile) -> None:
        # A revision that watchers have seen is never given out for a second time.
        self._highest = max(self._highest, file.ledger.revision)
        snapshot = Snapshot(tuple(file.records()), self._highest)
        with self._feed:
            self._fanout.deliver(snapshot)
        self._told = file.ledger
        self._lost = False

    def _look(self) -> bool:
        """Hear what others have written, in the lookout's thread; True if anything."""
        if not self._turn.acquire(blocking=False):
            return True  # whoever has it hears of it, too
        try:
            if self._closed:
                return False
            file = self._ready()
            return file.stirred() and self._catch_up(file)
        finally:
            self._turn.release()

    def _lose(self, error: StoreError) -> None:
        with self._turn:
            if not self._lost and not self._closed:
                self._lost = True
                with self._feed:
                    self._fanout.deliver(Lost(error.detail))

    def _unwatch(self, watch: LocalWatch) -> None:
        with self._feed:
            self._fanout.remove(watch)
