"""The change log of a store file: it tells a process what the others have written.

A row holds the changes of one commit, under the revision of the last one as eight
bytes: one row per change would double what a commit writes. It also has values that
were overwritten since, so that no process misses a change. It keeps the newest changes;
a process that is further behind reads the records.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from modularity_registry.stores.base import Change
from modularity_registry.stores.sqlite.errors import corrupt
from modularity_registry.stores.sqlite.layout import Row, verify_checksum, with_checksum

MOST_CHANGES: Final = 10_000
MOST_BYTES: Final = 8 * 1024 * 1024
"""Beyond these the log is trimmed to seven eighths: rarely, a little at a time."""

_DECODER: Final = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]])
_ENCODER: Final = msgspec.msgpack.Encoder()


class _Extent(NamedTuple):
    """A row of the log: its last revision, its changes and its bytes."""

    last: int
    changes: int
    bytes: int


class ChangeLog:
    """Knows the rows of the log, and which to trim."""

    def __init__(self) -> None:
        self._rows: deque[_Extent] = deque()
        self._changes = 0
        self._bytes = 0

    def add(self, row: Row | Sequence[object], changes: int) -> None:
        """Remember a row that was written."""
        _, last, value, _ = row
        assert isinstance(last, int)
        assert isinstance(value, bytes)
        self._rows.append(_Extent(last, changes, len(value)))
        self._changes += changes
        self._bytes += len(value)

    def trim_key(self) -> bytes | None:
        """Return the key up to which to delete rows, None for none.

        It forgets those rows at once. Other processes may have deleted them already.
        """
        if self._changes <= MOST_CHANGES and self._bytes <= MOST_BYTES:
            return None
        trimmed = None
        while len(self._rows) > 1 and (
            self._changes > MOST_CHANGES * 7 // 8 or self._bytes > MOST_BYTES * 7 // 8
        ):
            trimmed = self._rows.popleft()
            self._changes -= trimmed.changes
            self._bytes -= trimmed.bytes
        return None if trimmed is None else log_key(trimmed.last)


def log_key(revision: int) -> bytes:
    """Return the key of the row that ends with ``revision``; both sort alike."""
    return revision.to_bytes(8, "big")


def encode_row(changes: Sequence[Change]) -> Row:
    """Return the row for changes of successive revisions."""
    revision = changes[-1].revision
    blob = _ENCODER.encode([(change.key, change.value) for change in changes])
    return with_checksum(log_key(revision), revision, blob)


def decode_row(row: Sequence[object], path: Path) -> list[Change]:
    """Return the changes of a row, in order; raises `StoreCorrupt`."""
    _, last, blob = verify_checksum(row, path)
    try:
        pairs = _DECODER.decode(blob)
    except msgspec.MsgspecError as error:
        raise corrupt(path, "a row of its change log can't be read") from error
    first = last - len(pairs) + 1
    return [Change(key, value, first + n) for n, (key, value) in enumerate(pairs)]
