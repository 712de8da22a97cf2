"""A connection to a store file: its waits, its transactions and its errors."""

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

# Between two tries to get at a locked file. SQLite's own waits grow to 100 ms, and
# a process that asks so rarely gets no turn beside one that writes all the time.
PAUSE_SECONDS: Final = 0.001


class Connection:
    """An open file; its owner calls one method at a time.

    Once ``settled`` is False it is unknown whether the last commit is on the disk:
    close, open anew. Waits for other programs end after ``busy_seconds``, or when
    ``ending`` is set.
    """

    def __init__(
        self, path: Path, busy_seconds: float, ending: threading.Event
    ) -> None:
        self.path = path
        self.settled = True
        self._busy_seconds = busy_seconds
        self._ending = ending
        self._version: object = None
        self._inode = inode(path)
        try:
            self.driver = connect(path, "rw")
        except sqlite3.Error as error:
            raise explain(error, path) from error

    @property
    def in_transaction(self) -> bool:
        return self.driver.in_transaction

    def execute(
        self, sql: str, parameters: Sequence[object] = (), patient: bool = True
    ) -> sqlite3.Cursor:
        """Return the cursor; a ``patient`` one waits while the file is locked."""
        deadline = time.monotonic() + self._busy_seconds if patient else 0.0
        while True:
            try:
                return self.driver.execute(sql, parameters)
            except sqlite3.OperationalError as error:
                if not busy(error) or not self._pause(deadline):
                    raise

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the driver's errors into the store's, and end the transaction."""
        try:
            yield
        except sqlite3.Error as error:
            if primary_code(error) not in NOTHING_WRITTEN:
                self.settled = False
            self.roll_back()
            raise explain(error, self.path) from error
        except UnicodeDecodeError as error:  # in a message that cites the schema
            self.settled = False
            raise corrupt(self.path, "its schema can't be read") from error

    def begin(self, meanwhile: Callable[[], object]) -> None:
        """Keep all others from writing, up to a COMMIT or `roll_back`.

        Calls ``meanwhile`` again and again while another one writes.
        """
        deadline = time.monotonic() + self._busy_seconds
        with self.explained():
            while True:
                try:
                    self.execute("BEGIN IMMEDIATE", patient=False)
                    return
                except sqlite3.OperationalError as error:
                    if not busy(error) or not self._pause(deadline):
                        raise
                meanwhile()

    def roll_back(self) -> None:
        """End the transaction with nothing written, if there is one."""
        try:
            if self.driver.in_transaction:
                self.driver.execute("ROLLBACK")
        except sqlite3.Error:
            self.settled = False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let all that is read in the block be of one moment."""
        if self.driver.in_transaction:
            yield
            return
        with self.explained():
            self.execute("BEGIN")
        try:
            yield
        finally:
            self.roll_back()

    def stirred(self) -> bool:
        """Return whether another process has written since this was last asked."""
        with self.explained():
            [[version]] = self.execute("PRAGMA data_version")
        before, self._version = self._version, version
        return bool(version != before)

    def require_same(self) -> None:
        """Raise when another file, or none, has taken the place of this one."""
        try:
            same = os.stat(self.path).st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise StoreUnavailable(
                f"the store file {self.path} was removed or replaced while the"
                " registry had it open; put it back or restart the registry"
            )

    def close(self) -> None:
        """Close it, whatever state it is in."""
        try:
            self.driver.close()
        except sqlite3.Error:
            self.settled = False  # the WAL stays and is read at the next opening

    def _pause(self, deadline: float) -> bool:
        """Wait for a moment; return False when the time is up."""
        if time.monotonic() > deadline:
            return False
        return not self._ending.wait(PAUSE_SECONDS * random.uniform(0.5, 1.5))


def busy(error: sqlite3.Error) -> bool:
    """Return whether the file was locked, and nothing else was wrong."""
    return primary_code(error) == sqlite3.SQLITE_BUSY
