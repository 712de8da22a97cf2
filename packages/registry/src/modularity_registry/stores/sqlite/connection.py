"""A connection to a store file: its waits, transactions and errors."""

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.sqlite.creation import connect, inode
from modularity_registry.stores.sqlite.errors import (
    NOTHING_WRITTEN,
    corrupt,
    explain,
    primary_code,
)

# Between two attempts on a locked file. SQLite's own waits grow to 100 ms: a process
# that tries so rarely gets no turn beside one that writes all the time.
PAUSE_SECONDS: Final = 0.001

CHECKPOINT_SECONDS: Final = 0.5


class Connection:
    """An open file; its owner calls one method at a time.

    Once ``is_settled`` is False it is unknown whether the last commit is on the disk:
    close, open it again. Waits for other programs end after ``busy_seconds``, or when
    ``ending`` is set.
    """

    def __init__(
        self, path: Path, busy_seconds: float, ending: threading.Event
    ) -> None:
        self.path = path
        self.is_settled = True
        self._busy_seconds = busy_seconds
        self._ending = ending
        self._version: object = None
        self.inode = inode(path)
        try:
            self.driver = connect(path)
        except sqlite3.Error as error:
            raise explain(error, path) from error

    @property
    def in_transaction(self) -> bool:
        return self.driver.in_transaction

    def execute(
        self, sql: str, parameters: Sequence[object] = (), patient: bool = True
    ) -> sqlite3.Cursor:
        """Return the cursor; with ``patient`` it waits while the file is locked."""
        deadline = time.monotonic() + self._busy_seconds if patient else 0.0
        while True:
            try:
                return self.driver.execute(sql, parameters)
            except sqlite3.OperationalError as error:
                if not is_locked(error) or not self._pause(deadline):
                    raise

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise the driver's errors as the store's, and end the transaction."""
        try:
            yield
        except sqlite3.Error as error:
            if primary_code(error) not in NOTHING_WRITTEN:
                self.is_settled = False
            self.roll_back()
            raise explain(error, self.path) from error
        except UnicodeDecodeError as error:  # in a message that quotes the schema
            self.is_settled = False
            raise corrupt(self.path, "its schema can't be read") from error

    def begin(self, meanwhile: Callable[[], object]) -> None:
        """Lock out other writers, up to a COMMIT or `roll_back`.

        Calls ``meanwhile`` repeatedly while another process writes.
        """
        deadline = time.monotonic() + self._busy_seconds
        with self.translate_errors():
            while True:
                try:
                    self.execute("BEGIN IMMEDIATE", patient=False)
                    return
                except sqlite3.OperationalError as error:
                    if not is_locked(error) or not self._pause(deadline):
                        raise
                meanwhile()

    def roll_back(self) -> None:
        """Roll back the transaction, if there is one."""
        try:
            if self.driver.in_transaction:
                self.driver.execute("ROLLBACK")
        except sqlite3.Error:
            self.is_settled = False

    def empty_log(self) -> bool:
        """Move the -wal into the file, and give its room back; return whether it did.

        Needs no transaction. Other processes that read are waited for, a moment.
        """
        deadline = time.monotonic() + CHECKPOINT_SECONDS
        with self.translate_errors():
            while True:
                [[busy, *_]] = self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                if not busy or not self._pause(deadline):
                    return not busy

    @contextmanager
    def read_transaction(self) -> Iterator[None]:
        """Make all reads in the block consistent: of one moment."""
        if self.driver.in_transaction:
            yield
            return
        with self.translate_errors():
            self.execute("BEGIN")
        try:
            yield
        finally:
            self.roll_back()

    def changed_elsewhere(self) -> bool:
        """Return whether another process has written since the last call."""
        with self.translate_errors():
            [[version]] = self.execute("PRAGMA data_version")
        previous, self._version = self._version, version
        return bool(version != previous)

    def require_same(self) -> None:
        """Raise if this file was removed or replaced."""
        try:
            is_same = os.stat(self.path).st_ino == self.inode
        except OSError:
            is_same = False
        if not is_same:
            raise StoreUnavailable(
                f"the store file {self.path} was removed or replaced while the"
                " registry had it open; put it back or restart the registry"
            )

    def close(self) -> None:
        """Close it, whatever its state."""
        try:
            self.driver.close()
        except sqlite3.Error:
            self.is_settled = False  # the WAL stays; the next opening reads it

    def _pause(self, deadline: float) -> bool:
        """Wait a moment; return False after the deadline."""
        if time.monotonic() > deadline:
            return False
        return not self._ending.wait(PAUSE_SECONDS * random.uniform(0.5, 1.5))


def is_locked(error: sqlite3.Error) -> bool:
    """Return whether the error is that the file was locked."""
    return primary_code(error) == sqlite3.SQLITE_BUSY
