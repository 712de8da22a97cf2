"""The store's entries in Consul's key/value store: their names and formats.

``<prefix>/state/tip``: the epoch, the number of the newest batch, and its revision.
Every batch of writes changes it by compare-and-set, so it orders all writers.
``<prefix>/state/records/<key>$``: a record's value; its revision is the entry's flags.
``<prefix>/log/<epoch>/<batch>``: the changes of a batch; the flags are the index at
which Consul had the previous tip, so that the entries form a chain.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from modularity_registry.errors import StoreCorrupt

LOG_KEPT: Final = 1_000
"""Batches in the log. A watch that is further behind reads a new snapshot."""

# Ends every record's name, so that only that record begins with it: a transaction can
# read a tree that may be empty, but not a key that may be missing.
_END: Final = "$"


class Pair(msgspec.Struct, rename="pascal", frozen=True):
    """An entry as Consul returns it; ``modify_index`` is that of its last write."""

    key: str
    modify_index: int
    flags: int = 0
    value: bytes | None = None  # Consul sends null for an empty one


class Tip(msgspec.Struct, frozen=True):
    """The newest batch of the store."""

    epoch: str
    batch: int
    revision: int


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One change in the log."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class StoredTip:
    """The tip, and Consul's index of the write that made it."""

    tip: Tip
    index: int


class Layout:
    """The names of all entries under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.all = f"{prefix}/"
        self.state = f"{prefix}/state/"
        self.tip = f"{self.state}tip"
        self.records = f"{self.state}records/"
        self.logs = f"{prefix}/log/"

    def record(self, key: str) -> str:
        return f"{self.records}{key}{_END}"

    def key(self, name: str) -> str | None:
        """Return a record's key from its name; None for another name."""
        if name.startswith(self.records) and name.endswith(_END):
            return name[len(self.records) : -len(_END)]
        return None

    def log(self, epoch: str, batch: int) -> str:
        return f"{self.logs}{epoch}/{batch:016d}"


_tip_decoder: Final = msgspec.json.Decoder(Tip)
_entries_decoder: Final = msgspec.msgpack.Decoder(tuple[Entry, ...])


def pack_tip(tip: Tip) -> bytes:
    return msgspec.json.encode(tip)


def read_tip(pair: Pair) -> StoredTip:
    """Return the tip; raises `StoreCorrupt` when another program wrote it."""
    try:
        return StoredTip(_tip_decoder.decode(pair.value or b""), pair.modify_index)
    except msgspec.DecodeError as error:
        raise foreign(pair.key) from error


def pack_entries(entries: Iterable[Entry]) -> bytes:
    return msgspec.msgpack.encode(tuple(entries))


def read_entries(pair: Pair) -> tuple[Entry, ...]:
    """Return a batch; raises `StoreCorrupt` when another program wrote it."""
    try:
        return _entries_decoder.decode(pair.value or b"")
    except msgspec.DecodeError as error:
        raise foreign(pair.key) from error


def foreign(name: str) -> StoreCorrupt:
    """Return the error for an entry that another program wrote."""
    return StoreCorrupt(
        f"Consul's key {name} was not written by a registry; "
        "check who else uses this prefix, and delete the key or use another prefix"
    )
