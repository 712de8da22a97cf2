"""The store's nodes in ZooKeeper, and the format of their data.

    /<prefix>/epoch                        the epoch's id, the era of its log, and
                                           the first epoch with these records
    /<prefix>/<epoch>/record/<bucket>/<r>  a record; its mzxid is its revision
    /<prefix>/<epoch>/log/<era>/<n>        a batch; its czxid is its revision

A list of children must fit into a packet, so the records are spread over buckets. A
bucket's version counts its deletions: a node that is deleted and created again begins
with version 0, so a record's version alone does not identify it. ZooKeeper numbers the
log's nodes, without gaps, but its numbers run out. So a new log begins now and then:
an era.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from modularity_registry.errors import StoreCorrupt
from modularity_registry.stores.base import Write

BUCKETS: Final = 32
LARGEST_VALUE: Final = 500_000
"""A batch sends its values twice, and a packet to ZooKeeper has less than 1 MiB."""

_batch_decoder: Final = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]])

_NUMBER: Final = 10  # digits that ZooKeeper appends to the name of a sequential node


class Era(NamedTuple):
    """An epoch, and the number of its log; ``version`` is that of the epoch's node.

    ``folder`` is the epoch in which the records and the log were made, if not this one.
    """

    epoch: str
    number: int
    version: int
    folder: str = ""

    @property
    def content(self) -> bytes:
        words = (self.epoch, str(self.number), self.folder)
        return " ".join(filter(None, words)).encode()


class Layout:
    """The paths under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.root = f"/{prefix}"
        self.epoch = f"/{prefix}/epoch"

    def base(self, era: Era) -> str:
        return f"{self.root}/{era.folder or era.epoch}"

    def bucket(self, era: Era, number: int) -> str:
        return f"{self.base(era)}/record/{number:02x}"

    def record(self, era: Era, key: str) -> str:
        # The first character keeps "." and ".." from being names.
        name = quote(key, safe="")
        return f"{self.bucket(era, bucket_of(key))}/={name}"

    def log(self, era: Era) -> str:
        return f"{self.base(era)}/log/{era.number}"

    def new_entry(self, era: Era) -> str:
        """Return the path of a log node without its number."""
        return f"{self.log(era)}/n"

    def entry(self, era: Era, number: int) -> str:
        return f"{self.log(era)}/n{number:0{_NUMBER}}"

    def era(self, content: bytes, version: int) -> Era:
        """Return the era that the epoch's node names; raises `StoreCorrupt`."""
        match = re.fullmatch(rb"([0-9a-f]{12}) (\d{1,9})(?: ([0-9a-f]{12}))?", content)
        if match is None:
            raise self.corrupt(self.epoch)
        folder = (match[3] or b"").decode()
        return Era(match[1].decode(), int(match[2]), version, folder)

    def corrupt(self, path: str) -> StoreCorrupt:
        return StoreCorrupt(
            f"the ZooKeeper node {path} was not written by a registry; use another"
            " prefix or remove it"
        )


def bucket_of(key: str) -> int:
    return zlib.crc32(key.encode()) % BUCKETS


def key_of(name: str) -> str | None:
    """Return the key of a record's node; None for another name."""
    key = unquote(name[1:])
    return key if name == f"={quote(key, safe='')}" else None


def number_of(path: str) -> int:
    """Return the number of a log node."""
    return int(path[-_NUMBER:])


def encode(writes: Sequence[Write]) -> bytes:
    """Return the data of a log node."""
    return msgspec.msgpack.encode([(write.key, write.value) for write in writes])


def decode(content: bytes) -> list[tuple[str, bytes | None]] | None:
    """Return the keys and values in a log node's data, None if it holds none."""
    try:
        return _batch_decoder.decode(content) or None
    except msgspec.DecodeError:
        return None
