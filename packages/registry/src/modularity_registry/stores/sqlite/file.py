"""The file behind `SqliteStore`, shared by several processes.

Every process keeps the ledger and each key's revision in memory. It writes on the
condition that the file still has that ledger, and reads the change log if it hasn't.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from modularity_registry.errors import OutcomeUnknown, StoreError, StoreUnavailable
from modularity_registry.stores.base import Change, Record
from modularity_registry.stores.sqlite import change_log
from modularity_registry.stores.sqlite import layout as rows
from modularity_registry.stores.sqlite.connection import Connection, is_locked
from modularity_registry.stores.sqlite.creation import PRAGMAS, beside, new_epoch
from modularity_registry.stores.sqlite.errors import corrupt, foreign
from modularity_registry.stores.sqlite.identity import IdentityFile
from modularity_registry.stores.sqlite.layout import Ledger

log = logging.getLogger(__name__)


class SqliteFile(Connection):
    """An open store file; its owner calls one method at a time.

    ``ledger`` and ``revisions`` (by key) are what the file held when it was last
    written or read by `catch_up`. A process that is alone with it writes no
    log, which would cost a quarter of the writes.
    """

    def __init__(
        self,
        path: Path,
        busy_seconds: float,
        ending: threading.Event,
        is_first: bool = True,
    ) -> None:
        """Open it, for the first time in this process or again.

        The first time, a file that is not as a registry left it gets a new epoch.
        """
        # The last process to close the file removes the -wal. It is also there after a
        # kill: then this process writes a log that no other reads.
        self._found_open = beside(path, "-wal").exists()
        super().__init__(path, busy_seconds, ending)
        self._identity = IdentityFile(path)
        self.ledger = Ledger("")
        self.revisions: dict[str, int] = {}
        # What `_load` has read, for the first who asks, while it is current.
        self._loaded: list[Record] | None = None
        self._opening = 0
        self._log = change_log.ChangeLog()
        try:
            with self.translate_errors():
                self._prepare()
                with self.read_transaction():
                    self._load()
                self._count_opening(is_first)
            if not is_first:
                self._loaded = None  # nobody may ask
        except BaseException:
            self.close()
            raise

    @property
    def is_shared(self) -> bool:
        """Whether another process may have it open."""
        return self._found_open or self.ledger.openings != self._opening

    def records(self) -> list[Record]:
        """Return all records by revision; in `read_transaction`, after `catch_up`."""
        records, self._loaded = self._loaded, None
        if records is None:
            with self.translate_errors():
                records = list(self._records(self.ledger))
        records.sort(key=lambda record: record.revision)
        return records

    def catch_up(self) -> list[Change] | None:
        """Update ``ledger`` and ``revisions``, in `read_transaction` or after `begin`.

        Returns the changes of other processes, in order, or None when the log no
        longer has them all.
        """
        try:
            with self.translate_errors():
                return self._read_changes()
        except StoreError:
            self.is_settled = False  # the memory may have half of the changes
            raise

    def commit(self, changes: Sequence[Change]) -> bool:
        """Write all or nothing; after the return it is on the disk.

        Without `begin` before it, returns False with nothing written when another
        process is writing, or has written since ``ledger``. Raises `OutcomeUnknown`
        when only opening the file again tells whether it was written.
        """
        logged = [change_log.encode_row(changes)] if self.is_shared else []
        ledger = self.ledger.after(changes, self.revisions)
        try:
            with self.translate_errors():
                if not self._write(ledger, changes, logged):
                    return False
        except StoreUnavailable as error:
            if self.is_settled:
                raise
            raise OutcomeUnknown.because(error.detail) from error
        self._remember(ledger, changes)
        for row in logged:
            self._log.add(row, len(changes))
        return True

    def begin_epoch(self) -> None:
        """Begin a new epoch with the same records; after `begin` and `catch_up`."""
        with self.translate_errors():
            self._write_ledger(replace(self.ledger, epoch=new_epoch()))

    def advance_identity(self) -> None:
        """Note which revision the file has reached."""
        self._identity.advance(self.ledger.revision)

    def close(self) -> None:
        super().close()
        self._identity.close()

    def close_marked(self) -> None:
        """Close it, and mark it as closed if no other process has it open.

        The caller holds the `opening_lock`.
        """
        super().close()
        # A file that was replaced stays as it is marked: as another one.
        with suppress(StoreError):
            self.require_same()
            if self.is_settled and not beside(self.path, "-wal").exists():
                self._identity.write(self.ledger, self.inode, is_closed=True)
        self._identity.close()

    def check(self) -> None:
        """Return if the file answers and is still the one that was opened."""
        self.require_same()
        with self.translate_errors():
            self.execute(rows.SELECT_LEDGER).fetchall()

    def _write(
        self, ledger: Ledger, changes: Sequence[Change], logged: list[rows.Row]
    ) -> bool:
        in_transaction = self.in_transaction
        trim_key = self._log.trim_key()
        deletions = [change.key for change in changes if change.value is None]
        try:
            if (deletions or trim_key) and not in_transaction:
                self.execute("BEGIN IMMEDIATE", patient=False)
            if not self._upsert([ledger.row(), *logged, *_records_of(changes)]):
                self.roll_back()
                return False
        except sqlite3.OperationalError as error:
            if in_transaction or not is_locked(error):
                raise
            return False
        if deletions:
            self.execute(rows.delete(len(deletions)), deletions)
        if trim_key:
            self.execute(rows.TRIM, (trim_key,))
        if self.in_transaction:
            self.execute("COMMIT")
        return True

    def _upsert(self, records: Sequence[rows.Row]) -> bool:
        parameters: list[object] = [field for row in records for field in row]
        _, revision, _, crc = self.ledger.row()
        parameters += (revision, crc)
        cursor = self.execute(rows.upsert(len(records)), parameters, patient=False)
        return cursor.rowcount > 0

    def _remember(self, ledger: Ledger, changes: Sequence[Change]) -> None:
        self.ledger, self._loaded = ledger, None
        for change in changes:
            if change.value is None:
                self.revisions.pop(change.key, None)
            else:
                self.revisions[change.key] = change.revision

    def _read_changes(self) -> list[Change] | None:
        since = change_log.log_key(self.ledger.revision)
        first, *log_rows = self.execute(rows.SELECT_CHANGES, (since,)).fetchall() or [
            ()
        ]
        ledger = self._ledger_of(first)
        if ledger == self.ledger:
            self.ledger = ledger  # another process may have opened the file
            return []
        changes: list[Change] = []
        for row in log_rows:
            row_changes = change_log.decode_row(row, self.path)
            self._log.add(row, len(row_changes))
            changes += row_changes
        if self._leads_to(ledger, changes):
            self._remember(ledger, changes)
            return changes
        self._load()
        return None

    def _leads_to(self, ledger: Ledger, changes: Sequence[Change]) -> bool:
        expected = range(self.ledger.revision + 1, ledger.revision + 1)
        if [change.revision for change in changes] != list(expected):
            return False
        return bool(changes) and self.ledger.after(changes, self.revisions) == ledger

    def _load(self) -> None:
        """Read everything, and check it."""
        ledger = self._ledger_of(*self.execute(rows.SELECT_LEDGER).fetchall())
        records = list(self._records(ledger))
        self._log = change_log.ChangeLog()
        for row in self.execute(rows.SELECT_LOG):
            self._log.add(row, len(change_log.decode_row(row, self.path)))
        self.ledger, self._loaded = ledger, records
        self.revisions = {record.key: record.revision for record in records}

    def _ledger_of(self, *ledger_rows: Sequence[object]) -> Ledger:
        if len(ledger_rows) == 1 and ledger_rows[0] and ledger_rows[0][0] == b"":
            return Ledger.of(rows.record(ledger_rows[0], self.path))
        raise corrupt(self.path, "its ledger is missing")

    def _records(self, ledger: Ledger) -> Iterator[Record]:
        """Yield all records, then check them against the ledger."""
        count = total = newest = 0
        for row in self.execute(rows.SELECT_RECORDS):
            record = rows.record(row, self.path)
            count += 1
            total += record.revision
            newest = max(newest, record.revision)
            yield record
        if (count, total) != (ledger.count, ledger.total) or newest > ledger.revision:
            raise corrupt(self.path, "rows are missing or outdated")

    def _prepare(self) -> None:
        [[application]] = self.execute("PRAGMA application_id")
        if application != rows.APPLICATION_ID:
            raise foreign(self.path, "it is another program's database")
        if (version := self._format()) not in rows.FORMATS:
            supported = " and ".join(map(str, rows.FORMATS))
            raise foreign(
                self.path, f"it has format {version}, this version supports {supported}"
            )
        for pragma in PRAGMAS:
            self.execute(pragma)
        [[mode]] = self.execute("PRAGMA journal_mode = WAL")
        if mode != b"wal":
            raise StoreUnavailable(
                f"the folder of {self.path} can't hold a write-ahead log;"
                " choose one on a local disk"
            )
        problems = self.execute("PRAGMA integrity_check(1)").fetchall()
        if problems != [(b"ok",)]:
            raise corrupt(self.path, problems[0][0].decode(errors="replace"))

    def _format(self) -> object:
        [[version]] = self.execute("PRAGMA user_version")
        return version

    def _count_opening(self, is_first: bool) -> None:
        """Count this opening in the ledger, and upgrade the file's format."""
        self.begin(lambda: None)
        self._read_changes()
        is_same = not is_first or self._was_open()
        self._opening = self.ledger.openings + 1
        counted = replace(self.ledger, openings=self._opening)
        # The former format is the same table, without a log.
        if self._format() != rows.FORMAT:
            self.execute(f"PRAGMA user_version = {rows.FORMAT}")
        self._write_ledger(counted if is_same else replace(counted, epoch=new_epoch()))

    def _was_open(self) -> bool:
        """Return whether this is the file that was open last, in the same state."""
        mark = self._identity.read()
        if mark is not None and mark.fits(self.ledger, self.inode, self._found_open):
            return True
        if self.ledger.openings:
            log.warning(
                "the store file %s is not as a registry left it: it was restored or"
                " copied, or its -wal is gone; it gets a new epoch, so watchers read"
                " everything again",
                self.path,
            )
        return False

    def _write_ledger(self, ledger: Ledger) -> None:
        """Write a ledger of the same revision, and end the transaction."""
        _, _, value, crc = ledger.row()
        self.execute(rows.UPDATE_LEDGER, (value, crc))
        self.execute("COMMIT")
        self.ledger = ledger
        self._identity.write(ledger, self.inode, is_closed=False)


def _records_of(changes: Sequence[Change]) -> Iterator[rows.Row]:
    for change in changes:
        if change.value is not None:
            yield rows.with_checksum(change.key, change.revision, change.value)
