"""The store's nodes in ZooKeeper, and the format of their data.

    /<prefix>/epoch                        the epoch's id and the era of its log
    /<prefix>/<epoch>/record/<bucket>/<r>  a record; its mzxid is its revision
    /<prefix>/<epoch>/log/<era>/<n>        a change; its czxid is its revision

A list of children must fit into a packet, so the records are spread over buckets. A
bucket's version counts its deletions: a node that is deleted and created again begins
with version 0, so a record's version alone does not identify it. ZooKeeper numbers the
log's nodes, without gaps, but its numbers run out. So a new log begins now and then:
an era.
"""

import re
import zlib
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from modularity_registry.errors import StoreCorrupt
from modularity_registry.stores.base import Change

BUCKETS: Final = 32
LARGEST_VALUE: Final = 500_000
"""A write sends its value twice, and a packet to ZooKeeper has less than 1 MiB."""

_NUMBER: Final = 10  # digits that ZooKeeper appends to the name of a sequential node


class Era(NamedTuple):
    """An epoch, and the number of its log; ``version`` is that of the epoch's node."""

    epoch: str
    number: int
    version: int

    @property
    def content(self) -> bytes:
        return f"{self.epoch} {self.number}".encode()


class Layout:
    """The paths under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.root = f"/{prefix}"
        self.epoch = f"/{prefix}/epoch"

    def base(self, era: Era) -> str:
        return f"{self.root}/{era.epoch}"

    def bucket(self, era: Era, number: int) -> str:
        return f"{self.root}/{era.epoch}/record/{number:02x}"

    def record(self, era: Era, key: str) -> str:
        # The first character keeps "." and ".." from being names.
        name = quote(key, safe="")
        return f"{self.bucket(era, bucket_of(key))}/={name}"

    def log(self, era: Era) -> str:
        return f"{self.root}/{era.epoch}/log/{era.number}"

    def new_entry(self, era: Era) -> str:
        """Return the path of a log node without its number."""
        return f"{self.log(era)}/n"

    def entry(self, era: Era, number: int) -> str:
        return f"{self.log(era)}/n{number:0{_NUMBER}}"

    def era(self, content: bytes, version: int) -> Era:
        """Return the era that the epoch's node names; raises `StoreCorrupt`."""
        match = re.fullmatch(rb"([0-9a-f]{12}) (\d{1,9})", content)
        if match is None:
            raise self.corrupt(self.epoch)
        return Era(match[1].decode(), int(match[2]), version)

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


def encode(key: str, value: bytes | None) -> bytes:
    """Return the data of a log node: put or delete, the key, the value."""
    name = key.encode()
    head = b"%s%d %s" % (b"D" if value is None else b"P", len(name), name)
    return head if value is None else head + value


def decode(content: bytes, stat: Any) -> Change | None:
    """Return the change in a log node's data, None if it holds none."""
    match = re.match(rb"([DP])(\d{1,6}) ", content)
    if match is None:
        return None
    end = match.end() + int(match[2])
    if len(content) < end or (match[1] == b"D" and len(content) > end):
        return None
    try:
        key = content[match.end() : end].decode()
    except UnicodeDecodeError:
        return None
    return Change(key, content[end:] if match[1] == b"P" else None, stat.czxid)
