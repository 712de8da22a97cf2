"""How a snapshot file is laid out.

A line that says what it is; services in compressed blocks; the index, which leads to
every service and capability without reading all of them; and the end, with a checksum
of all that comes before. Everything in it is data.
"""

import struct
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

MAGIC: Final = b"modularity-registry snapshot\n"

FORMAT: Final = 1
"""Files of another format are ignored: the store has all that they hold."""

END: Final = struct.Struct("<QI")
"""Where the index begins, and the CRC-32 of everything before the checksum."""

CHECKSUM: Final = struct.Struct("<I")

BLOCK: Final = 16
"""Services in a block: a lookup unpacks the whole of it."""

Stored = tuple[int, bytes]
"""A service: the revision of its document, and that."""

Kept = tuple[str, bytes, int]
"""A record that is no service: key, value, revision."""


class Names(msgspec.Struct, frozen=True):
    """Names in order of their bytes; ``ends`` are where each one ends in ``text``."""

    text: memoryview
    ends: memoryview

    def __len__(self) -> int:
        return len(self.ends) // 4

    def find(self, name: str) -> int | None:
        """Return the number of a name, None if it is not there."""
        wanted, ends = name.encode(), self.ends.cast("I")
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) // 2
            found = self._at(ends, middle)
            if found == wanted:
                return middle
            if found < wanted:
                low = middle + 1
            else:
                high = middle
        return None

    def all(self) -> list[str]:
        """Return all of them, in order."""
        ends = self.ends.cast("I")
        return [self._at(ends, number).decode() for number in range(len(ends))]

    def _at(self, ends: Sequence[int], number: int) -> bytes:
        return bytes(self.text[ends[number - 1] if number else 0 : ends[number]])


class Numbers(msgspec.Struct, frozen=True):
    """What the statistics show of the services."""

    by_status_and_mode: list[tuple[str, str, int]]
    by_runtime: dict[str, int]
    by_owner: dict[str, int]
    bytes_by_owner: dict[str, int]
    document_bytes: int
    regions: dict[str, str]


class Section(msgspec.Struct, frozen=True):
    """The services of one namespace, as they were at ``revision`` or later.

    ``ids`` are in order, and so are the services in the blocks: number 20 is the
    fourth of block 1. ``blocks`` are the places in the file where each begins, and
    where the last ends. The providers of capability number 3 are the numbers in
    ``providers`` from ``ends[2]`` up to ``ends[3]``.
    """

    revision: int
    ids: Names
    blocks: memoryview
    capabilities: Names
    providers: memoryview
    ends: memoryview
    numbers: Numbers
    records: list[Kept]


class Index(msgspec.Struct, frozen=True):
    """What a snapshot is of, and where everything is.

    ``store`` is the `identity` of the store, ``epoch`` its history of revisions.
    """

    format: int
    byteorder: str
    store: str
    epoch: str
    written_at: datetime
    version: str
    namespaces: dict[str, Section]


class Kind(msgspec.Struct, frozen=True):
    """The part of an index that tells whether the rest can be read."""

    format: int
    byteorder: str


BYTEORDER: Final = sys.byteorder

encode = msgspec.msgpack.Encoder().encode
decode_block = msgspec.msgpack.Decoder(list[Stored]).decode
decode_index = msgspec.msgpack.Decoder(Index).decode
decode_kind = msgspec.msgpack.Decoder(Kind).decode
