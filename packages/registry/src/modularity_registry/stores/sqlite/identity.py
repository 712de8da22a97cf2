"""Tells whether a store file is the one that was open last.

A mark beside the file, ``<path>.identity``, says what the file held. A file that is
older, a copy, or without its -wal does not match, so its revisions may come to name
other writes than watchers have seen: the next opening begins a new epoch.

A mark lags behind a file that is in use by some milliseconds, so after a kill the file
may be newer than its mark, but never older.
"""

import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from modularity_registry.stores.sqlite.creation import PRIVATE, beside
from modularity_registry.stores.sqlite.layout import Ledger

log = logging.getLogger(__name__)

# Fields of a fixed width: one alone is overwritten in place, by several processes.
_FORM: Final = "{:<16} {:>20} {:>20} {:>20} {:<6}\n"
_REVISION_AT: Final = 16 + 3 * 1 + 2 * 20
_PATTERN: Final = re.compile(rb"(\w+) +(\d+) +(\d+) +(\d+) +(open|closed) *\n")


class Mark(NamedTuple):
    """What the file was when it was last written to, and whether it is in use."""

    epoch: str
    inode: int
    openings: int
    revision: int
    is_closed: bool

    def fits(self, ledger: Ledger, inode: int, has_log: bool) -> bool:
        """Return whether the file is still that one; ``has_log``: there is a -wal."""
        if (self.epoch, self.inode, self.openings) != (
            ledger.epoch,
            inode,
            ledger.openings,
        ):
            return False
        if self.is_closed:
            return self.revision == ledger.revision
        return has_log and self.revision <= ledger.revision


class IdentityFile:
    """The mark of one store file, open as long as that is."""

    def __init__(self, path: Path) -> None:
        self._path = beside(path, ".identity")
        self._revision = -1
        self._descriptor = -1
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            self._descriptor = os.open(self._path, flags, PRIVATE)
        except OSError as error:
            self._warn(error)

    def read(self) -> Mark | None:
        """Return the mark; None if there is none that can be read."""
        if self._descriptor < 0:
            return None
        with suppress(OSError):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            content = os.read(self._descriptor, 1_000)
            if match := _PATTERN.fullmatch(content):
                epoch, inode, openings, revision, state = match.groups()
                numbers = int(inode), int(openings), int(revision)
                return Mark(epoch.decode(), *numbers, state == b"closed")
        return None

    def write(self, ledger: Ledger, inode: int, is_closed: bool) -> None:
        """Write the mark; a crash of the machine does not undo it."""
        if self._descriptor < 0:
            return
        state = "closed" if is_closed else "open"
        numbers = inode, ledger.openings, ledger.revision
        content = _FORM.format(ledger.epoch, *numbers, state).encode()
        try:
            self._write_at(0, content)
            os.ftruncate(self._descriptor, len(content))
            os.fsync(self._descriptor)
            self._revision = ledger.revision
        except OSError as error:
            self._warn(error)

    def advance(self, revision: int) -> None:
        """Note the file's latest revision, in passing: it is not forced to the disk."""
        if revision > self._revision and self._descriptor >= 0:
            self._revision = revision
            with suppress(OSError):
                self._write_at(_REVISION_AT, b"%20d" % revision)

    def _write_at(self, position: int, content: bytes) -> None:
        if hasattr(os, "pwrite"):
            os.pwrite(self._descriptor, content, position)
        else:  # Windows
            os.lseek(self._descriptor, position, os.SEEK_SET)
            os.write(self._descriptor, content)

    def close(self) -> None:
        """Close it. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _warn(self, error: OSError) -> None:
        log.warning(
            "can't write %s (%s): the next start begins a new epoch, and watchers read"
            " everything again",
            self._path,
            error.strerror,
        )
