"""The file behind `SqliteStore`, shared by several processes.

Every process keeps the ledger and each key's revision in memory, writes on the
condition that the ledger is still that one, and reads the change log when it isn't.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from modularity_registry.errors import StoreError, StoreUnavailable
from modularity_registry.stores.base import Change, Record
from modularity_registry.stores.sqlite import change_log as log
from modularity_registry.stores.sqlite import layout as rows
from modularity_registry.stores.sqlite.batch import Outcome
from modularity_registry.stores.sqlite.connection import Connection, busy
from modularity_registry.stores.sqlite.creation import PRAGMAS, beside
from modularity_registry.stores.sqlite.errors import corrupt, foreign
from modularity_registry.stores.sqlite.layout import Ledger


class SqliteFile(Connection):
    """An open store file; its owner calls one method at a time.

    ``ledger`` and ``revisions`` (by key) are what the file held when it was last
    written or read by `catch_up`. A process that is alone with it keeps no log, which
    costs a quarter of the writes.
    """

    def __init__(
        self, path: Path, busy_seconds: float, ending: threading.Event
    ) -> None:
        # Whoever closes it last removes the -wal. After a kill it is there, too: then
        # this process keeps a log for nobody.
        self._joins = beside(path, "-wal").exists()
        super().__init__(path, busy_seconds, ending)
        self.ledger = Ledger("")
        self.revisions: dict[str, int] = {}
        self._opening = 0
        self._log = log.ChangeLog()
        try:
            with self.explained():
                self._prepare()
                with self.frozen():
                    self._load()
                self._sign_in()
        except BaseException:
            self.close()
            raise

    @property
    def joint(self) -> bool:
        """Whether another process may have it open, too."""
        return self._joins or self.ledger.openings != self._opening

    def records(self) -> list[Record]:
        """Return every record, ordered by revision. In `frozen`, after `catch_up`."""
        with self.explained():
            records = list(self._records(self.ledger))
        records.sort(key=lambda record: record.revision)
        return records

    def catch_up(self) -> list[Change] | None:
        """Bring ``ledger`` and ``revisions`` up to date; in `frozen` or after `begin`.

        Returns what others have changed since, in order, or None when the log no
        longer has all of it.
        """
        try:
            with self.explained():
                return self._read_news()
        except StoreError:
            self.settled = False  # what is in memory may be half of the news
            raise

    def commit(self, outcome: Outcome) -> bool:
        """Write all or nothing; on return it is on the disk.

        Without `begin` before it, returns False with nothing written when somebody
        else is writing or has written what ``ledger`` doesn't know.
        """
        logged = list(log.written(outcome.changes)) if self.joint else []
        with self.explained():
            if not self._write(outcome, [row for row, _ in logged]):
                return False
        self.ledger = outcome.ledger
        for change in outcome.changes:
            if change.value is None:
                self.revisions.pop(change.key, None)
            else:
                self.revisions[change.key] = change.revision
        for row, changes in logged:
            self._log.note(row, changes)
        return True

    def check(self) -> None:
        """Return when the file answers and is still the one that was opened."""
        self.require_same()
        with self.explained():
            self.execute(rows.SELECT_LEDGER).fetchall()

    def _write(self, outcome: Outcome, logged: list[rows.Row]) -> bool:
        begun = self.in_transaction
        floor = self._log.outgrown()
        try:
            if (outcome.gone or floor) and not begun:
                self.execute("BEGIN IMMEDIATE", patient=False)
            if not self._upsert(outcome, logged):
                self.roll_back()
                return False
        except sqlite3.OperationalError as error:
            if begun or not busy(error):
                raise
            return False
        if outcome.gone:
            self.execute(rows.delete(len(outcome.gone)), outcome.gone)
        if floor:
            self.execute(rows.TRIM, (floor,))
        if self.in_transaction:
            self.execute("COMMIT")
        return True

    def _upsert(self, outcome: Outcome, logged: list[rows.Row]) -> bool:
        written = [outcome.ledger.row(), *logged]
        for put in outcome.puts:
            written.append(rows.sealed(put.key, put.revision, put.value))
        parameters: list[object] = [field for row in written for field in row]
        _, revision, _, crc = self.ledger.row()
        parameters += (revision, crc)
        done = self.execute(rows.upsert(len(written)), parameters, patient=False)
        return done.rowcount > 0

    def _read_news(self) -> list[Change] | None:
        since = log.log_key(self.ledger.revision)
        first, *news = self.execute(rows.SELECT_NEWS, (since,)).fetchall() or [()]
        ledger = self._ledger_of(first)
        if ledger == self.ledger:
            self.ledger = ledger  # somebody may have opened the file
            return []
        changes: list[Change] = []
        for row in news:
            of_row = log.read(row, self.path)
            self._log.note(row, len(of_row))
            changes += of_row
        if self._leads_to(ledger, changes):
            self.ledger = ledger
            return changes
        self._load()
        return None

    def _leads_to(self, ledger: Ledger, changes: Sequence[Change]) -> bool:
        """Apply ``changes``; return whether they are all up to ``ledger``."""
        before = self.ledger
        told = [change.revision for change in changes]
        if told != list(range(before.revision + 1, ledger.revision + 1)):
            return False
        count, total = before.count, before.total
        for change in changes:
            old = self.revisions.pop(change.key, 0)
            count, total = count - (old > 0), total - old
            if change.value is not None:
                self.revisions[change.key] = change.revision
                count, total = count + 1, total + change.revision
        return Ledger(before.epoch, ledger.revision, count, total) == ledger

    def _load(self) -> None:
        """Read everything, and check it."""
        ledger = self._ledger_of(*self.execute(rows.SELECT_LEDGER).fetchall())
        revisions = {row.key: row.revision for row in self._records(ledger)}
        self._log = log.ChangeLog()
        for row in self.execute(rows.SELECT_LOG):
            self._log.note(row, len(log.read(row, self.path)))
        self.ledger, self.revisions = ledger, revisions

    def _ledger_of(self, *found: Sequence[object]) -> Ledger:
        if len(found) == 1 and found[0] and found[0][0] == b"":
            return Ledger.of(rows.record(found[0], self.path))
        raise corrupt(self.path, "its ledger is missing")

    def _records(self, ledger: Ledger) -> Iterator[Record]:
        """Yield every record, then check them all against the ledger."""
        count = total = newest = 0
        for row in self.execute(rows.SELECT_RECORDS):
            record = rows.record(row, self.path)
            count += 1
            total += record.revision
            newest = max(newest, record.revision)
            yield record
        if (count, total) != (ledger.count, ledger.total) or newest > ledger.revision:
            raise corrupt(self.path, "rows are missing or from another time")

    def _prepare(self) -> None:
        [[application]] = self.execute("PRAGMA application_id")
        if application != rows.APPLICATION_ID:
            raise foreign(self.path, "it is another program's database")
        if (version := self._format()) not in rows.FORMATS:
            known = " and ".join(map(str, rows.FORMATS))
            raise foreign(
                self.path, f"it has format {version}, and this version knows {known}"
            )
        for pragma in PRAGMAS:
            self.execute(pragma)
        [[mode]] = self.execute("PRAGMA journal_mode = WAL")
        if mode != b"wal":
            raise StoreUnavailable(
                f"the folder of {self.path} can't hold a write-ahead log;"
                " choose one on a local disk"
            )
        found = self.execute("PRAGMA integrity_check(1)").fetchall()
        if found != [(b"ok",)]:
            raise corrupt(self.path, found[0][0].decode(errors="replace"))

    def _format(self) -> object:
        [[version]] = self.execute("PRAGMA user_version")
        return version

    def _sign_in(self) -> None:
        """Let the others know, and bring the file to this format."""
        self.begin(lambda: None)
        self._read_news()
        self._opening = self.ledger.openings + 1
        signed = replace(self.ledger, openings=self._opening)
        _, _, value, crc = signed.row()
        self.execute(rows.SIGN, (value, crc))
        # The former format is the same table, without rows of a log in it.
        if self._format() != rows.FORMAT:
            self.execute(f"PRAGMA user_version = {rows.FORMAT}")
        self.execute("COMMIT")
        self.ledger = signed
