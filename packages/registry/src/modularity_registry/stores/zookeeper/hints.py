"""What a store remembers about records: the versions of their nodes.

A caller expects a revision, ZooKeeper compares versions, and a node that is deleted and
created again begins with version 0. So a record is known by two versions: its own, and
that of its bucket, which counts deletions. As long as both are the same, so is the
revision.
"""

import threading
from collections.abc import Mapping
from typing import Final, NamedTuple

from modularity_registry.stores.base import Write
from modularity_registry.stores.zookeeper.layout import bucket_of

MOST_HINTS: Final = 200_000


class Hint(NamedTuple):
    """The versions of a record's node and bucket when it was at ``revision``.

    The bucket's was read first. It is None where it is unknown.
    """

    revision: int
    version: int
    bucket: int | None


class Versions(NamedTuple):
    """The versions that a write compares: -1 and None for no comparison."""

    record: int = -1
    bucket: int | None = None


class _Bucket(NamedTuple):
    """The latest version; only this store has deleted records from ``since`` on."""

    version: int
    since: int


class Hints:
    """The hints of one epoch. Watches add theirs in threads of their own."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self._guard = threading.Lock()
        self._hints: dict[str, Hint] = {}
        self._buckets: dict[int, _Bucket] = {}

    def __contains__(self, key: str) -> bool:
        """Return whether the record is likely to exist."""
        return key in self._hints

    def versions(self, write: Write) -> Versions | None:
        """Return what ``write`` compares, None if its record must be read first."""
        if write.expected is None:
            return Versions()
        if write.expected == 0:
            return None if write.value is None else Versions()
        hint, bucket = (
            self._hints.get(write.key),
            self._buckets.get(bucket_of(write.key)),
        )
        if (
            hint is None
            or bucket is None
            or hint.revision != write.expected
            or hint.bucket is None
            or not bucket.since <= hint.bucket <= bucket.version
        ):
            return None
        return Versions(hint.version, bucket.version)

    def bucket(self, number: int) -> int | None:
        """Return the latest version of a bucket, None if it is unknown."""
        bucket = self._buckets.get(number)
        return bucket.version if bucket else None

    def add(self, key: str, hint: Hint) -> None:
        """Remember what was read about a record, unless it may be deleted since."""
        with self._guard:
            if hint.bucket == self.bucket(bucket_of(key)):
                self._set(key, hint)

    def add_bucket(self, number: int, version: int) -> None:
        """Remember what was read about a bucket."""
        with self._guard:
            bucket = self._buckets.get(number)
            if bucket is None or bucket.version < version:
                self._buckets[number] = _Bucket(version, version)

    def remove(self, key: str) -> None:
        """Forget a record."""
        self._hints.pop(key, None)

    def update(
        self, buckets: Mapping[int, int], written: Mapping[str, Hint | None]
    ) -> None:
        """Remember a write of this store: a bucket's version after a deletion, and a
        record's hint, None for a deleted one."""
        with self._guard:
            for number, version in buckets.items():
                bucket = self._buckets.get(number)
                is_next = bucket is not None and bucket.version + 1 == version
                since = bucket.since if bucket and is_next else version
                self._buckets[number] = _Bucket(version, since)
            for key, hint in written.items():
                if hint is None:
                    self.remove(key)
                else:
                    self._set(key, hint)

    def _set(self, key: str, hint: Hint) -> None:
        if len(self._hints) >= MOST_HINTS:
            self._hints.clear()
        self._hints[key] = hint
