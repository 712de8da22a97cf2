"""Where everything is in ZooKeeper's tree, and how it is written down.

    /<prefix>/epoch                        the epoch's id and the era of its log
    /<prefix>/<epoch>/record/<bucket>/<r>  a record; its mzxid is its revision
    /<prefix>/<epoch>/log/<era>/<n>        a change; its czxid is its revision

A list of children has to fit into a packet, so the records are spread over buckets. A
bucket's version counts the deletes in it: a node that was deleted and created again
begins with version 0, so the version of a record alone does not tell which one it is.
The numbers of log nodes are ZooKeeper's own, without gaps, and too small for ever, so
the log begins anew now and then: that is an era.
"""

import re
import zlib
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from modularity_registry.errors import StoreCorrupt
from modularity_registry.stores.base import Change

BUCKETS: Final = 32
LARGEST_VALUE: Final = 500_000
"""A write carries its value twice, and a packet to ZooKeeper has less than 1 MiB."""

_NUMBER: Final = 10  # digits that ZooKeeper puts behind the name of a sequential node


class Place(NamedTuple):
    """Where writes go now; ``version`` is that of the node ``/<prefix>/epoch``."""

    epoch: str
    era: int
    version: int

    @property
    def content(self) -> bytes:
        return f"{self.epoch} {self.era}".encode()


class Layout:
    """The paths under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.root = f"/{prefix}"
        self.guard = f"/{prefix}/epoch"

    def base(self, place: Place) -> str:
        return f"{self.root}/{place.epoch}"

    def bucket(self, place: Place, number: int) -> str:
        return f"{self.root}/{place.epoch}/record/{number:02x}"

    def record(self, place: Place, key: str) -> str:
        # The first character keeps "." and ".." from being a name of their own.
        name = quote(key, safe="")
        return f"{self.bucket(place, bucket_of(key))}/={name}"

    def log(self, place: Place) -> str:
        return f"{self.root}/{place.epoch}/log/{place.era}"

    def new_entry(self, place: Place) -> str:
        """Return the path of a log node but for its number."""
        return f"{self.log(place)}/n"

    def entry(self, place: Place, number: int) -> str:
        return f"{self.log(place)}/n{number:0{_NUMBER}}"

    def place(self, content: bytes, version: int) -> Place:
        """Return what the node of the epoch says; raises `StoreCorrupt`."""
        found = re.fullmatch(rb"([0-9a-f]{12}) (\d{1,9})", content)
        if found is None:
            raise self.corrupt(self.guard)
        return Place(found[1].decode(), int(found[2]), version)

    def corrupt(self, path: str) -> StoreCorrupt:
        return StoreCorrupt(
            f"the ZooKeeper node {path} holds what no registry has written; use another"
            " prefix or remove it"
        )


def bucket_of(key: str) -> int:
    return zlib.crc32(key.encode()) % BUCKETS


def key_of(name: str) -> str | None:
    """Return the key of a record's node; None when no record is named like that."""
    key = unquote(name[1:])
    return key if name == f"={quote(key, safe='')}" else None


def number_of(path: str) -> int:
    """Return the number of a log node."""
    return int(path[-_NUMBER:])


def encode(key: str, value: bytes | None) -> bytes:
    """Return what a log node says: whether it was a put, the key, the value."""
    name = key.encode()
    head = b"%s%d %s" % (b"D" if value is None else b"P", len(name), name)
    return head if value is None else head + value


def decode(content: bytes, stat: Any) -> Change | None:
    """Return the change that a log node tells of, None when it tells of none."""
    found = re.match(rb"([DP])(\d{1,6}) ", content)
    if found is None:
        return None
    end = found.end() + int(found[2])
    if len(content) < end or (found[1] == b"D" and len(content) > end):
        return None
    try:
        key = content[found.end() : end].decode()
    except UnicodeDecodeError:
        return None
    return Change(key, content[end:] if found[1] == b"P" else None, stat.czxid)
