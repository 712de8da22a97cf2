"""What the store keeps in Consul's key/value store, and under which names.

``<prefix>/state/tip``: the epoch, the number of the newest batch, and its revision.
Every batch of writes moves it by compare-and-set, so it orders all writers.
``<prefix>/state/records/<key>$``: a record's value; its revision is the entry's flags.
``<prefix>/log/<epoch>/<batch>``: the changes of a batch; the flags are the index at
which Consul had the tip before, so that the entries form a chain.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from modularity_registry.errors import StoreCorrupt

LOG_KEPT: Final = 1_000
"""Batches in the log. A watcher that is further behind reads everything anew."""

# Ends every record's name, so that all that begins with the name is that record:
# a transaction can read a tree that may be empty, but no key that may be missing.
_END: Final = "$"


class Pair(msgspec.Struct, rename="pascal", frozen=True):
    """An entry as Consul returns it; ``modify_index`` is that of its last write."""

    key: str
    modify_index: int
    flags: int = 0
    value: bytes | None = None  # Consul has null for an empty one


class Tip(msgspec.Struct, frozen=True):
    """Where the store has got to."""

    epoch: str
    batch: int
    revision: int


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One change in the log."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """The tip, and Consul's index of the write that made it."""

    tip: Tip
    index: int


class Names:
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
        """Return the key of a record from its name; None when it is not one's."""
        if name.startswith(self.records) and name.endswith(_END):
            return name[len(self.records) : -len(_END)]
        return None

    def log(self, epoch: str, batch: int) -> str:
        return f"{self.logs}{epoch}/{batch:016d}"


_D = TypeVar("_D")
_tips: Final = msgspec.json.Decoder(Tip)
_entries: Final = msgspec.msgpack.Decoder(tuple[Entry, ...])


def pack_tip(tip: Tip) -> bytes:
    return msgspec.json.encode(tip)


def read_tip(pair: Pair) -> Sighting:
    """Return the tip; raises `StoreCorrupt` when it was written by somebody else."""
    try:
        return Sighting(_tips.decode(pair.value or b""), pair.modify_index)
    except msgspec.DecodeError as error:
        raise foreign(pair.key) from error


def pack_entries(entries: Iterable[Entry]) -> bytes:
    return msgspec.msgpack.encode(tuple(entries))


def read_entries(pair: Pair) -> tuple[Entry, ...]:
    """Return a batch; raises `StoreCorrupt` when it was written by somebody else."""
    try:
        return _entries.decode(pair.value or b"")
    except msgspec.DecodeError as error:
        raise foreign(pair.key) from error


def foreign(name: str) -> StoreCorrupt:
    """Return the error about an entry that no store has written."""
    return StoreCorrupt(
        f"Consul's key {name} was not written by the registry; "
        "look who else uses this prefix, and remove the key or take another prefix"
    )
