"""The change log of a store file: what one process reads of the others' writes.

A row holds the changes of one commit, under the last one's revision as eight bytes:
a row each would double what a commit writes. Values that were overwritten meanwhile
are in it, too, so that nobody misses a change. It keeps the newest ones, and who is
further behind reads the records instead.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from modularity_registry.stores.base import Change
from modularity_registry.stores.sqlite.errors import corrupt
from modularity_registry.stores.sqlite.layout import Row, sealed, unsealed

MOST_CHANGES: Final = 10_000
MOST_BYTES: Final = 8 * 1024 * 1024
"""Where the log is trimmed, to seven eighths: rarely, and little at a time."""

# The file's limit is 1 GB a row; a batch of the largest values is more than that.
_ROW_BYTES: Final = 1024 * 1024

_DECODER: Final = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]])
_ENCODER: Final = msgspec.msgpack.Encoder()


class _Extent(NamedTuple):
    """A row of the log: its last revision, its changes and its bytes."""

    last: int
    changes: int
    bytes: int


class ChangeLog:
    """Knows how much the log holds, of which revisions, and what is too much."""

    def __init__(self) -> None:
        self._rows: deque[_Extent] = deque()
        self._changes = 0
        self._bytes = 0

    def note(self, row: Row | Sequence[object], changes: int) -> None:
        """Remember a row that is on the disk now."""
        _, last, value, _ = row
        assert isinstance(last, int)
        assert isinstance(value, bytes)
        self._rows.append(_Extent(last, changes, len(value)))
        self._changes += changes
        self._bytes += len(value)

    def outgrown(self) -> bytes | None:
        """Return the key up to which rows are to be deleted, None if none are.

        They are forgotten here at once. Other processes may have deleted them
        before: what one of them keeps, none deletes.
        """
        if self._changes <= MOST_CHANGES and self._bytes <= MOST_BYTES:
            return None
        gone = None
        while len(self._rows) > 1 and (
            self._changes > MOST_CHANGES * 7 // 8 or self._bytes > MOST_BYTES * 7 // 8
        ):
            gone = self._rows.popleft()
            self._changes -= gone.changes
            self._bytes -= gone.bytes
        return None if gone is None else log_key(gone.last)


def log_key(revision: int) -> bytes:
    """Return the key of the row that ends with ``revision``; keys sort as these do."""
    return revision.to_bytes(8, "big")


def written(changes: Sequence[Change]) -> Iterator[tuple[Row, int]]:
    """Yield the rows for changes of successive revisions, each with their number."""
    pairs: list[tuple[str, bytes | None]] = []
    size = 0
    for change in changes:
        pairs.append((change.key, change.value))
        size += len(change.value or b"")
        if size > _ROW_BYTES or change is changes[-1]:
            blob = _ENCODER.encode(pairs)
            revision = change.revision
            yield sealed(log_key(revision), revision, blob), len(pairs)
            pairs, size = [], 0


def read(row: Sequence[object], path: Path) -> list[Change]:
    """Return the changes of a row, in order; raises `StoreCorrupt`."""
    _, last, blob = unsealed(row, path)
    try:
        pairs = _DECODER.decode(blob)
    except msgspec.MsgspecError as error:
        raise corrupt(path, "a row of its change log can't be read") from error
    first = last - len(pairs) + 1
    return [Change(key, value, first + n) for n, (key, value) in enumerate(pairs)]
