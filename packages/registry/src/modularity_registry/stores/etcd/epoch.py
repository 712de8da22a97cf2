"""Tracks the epoch, and reads all records of it."""

import re
import threading
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final

from modularity_registry.errors import StoreCorrupt, StoreUnavailable
from modularity_registry.stores.base import Record, Snapshot
from modularity_registry.stores.etcd.cluster import ConnectionPool
from modularity_registry.stores.etcd.errors import Compacted
from modularity_registry.stores.etcd.layout import Layout

_ATTEMPTS: Final = 5


class EpochTracker:
    """Reads the epoch and all records; begins an epoch where there is none.

    ``epoch`` is the one read last. Any thread may use it.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.epoch = ""
        self._highest = 0
        self._lock = threading.Lock()

    def note_revision(self, epoch: str, revision: int) -> None:
        """Remember a revision, if it is of the current epoch."""
        with self._lock:
            if epoch == self.epoch:
                self._highest = max(self._highest, revision)

    def read_epoch(self, pool: ConnectionPool) -> str:
        """Return the epoch, a new one if there is none; raises `StoreError`."""
        for _ in range(_ATTEMPTS):
            reply = pool.read(self.layout.read_epoch())
            if reply.kvs:
                return self._adopt(_epoch(reply.kvs[0].value), reply.header.revision)
            self._begin(pool, None)
        raise _unstable(pool)

    def begin_epoch(self, pool: ConnectionPool) -> str:
        """Begin a new epoch and return it, or that of another process just then."""
        self._begin(pool, self.read_epoch(pool))
        return self.read_epoch(pool)

    def snapshot(self, pool: ConnectionPool) -> tuple[str, Snapshot]:
        """Return the epoch and all its records; raises `StoreError`."""
        for _ in range(_ATTEMPTS):
            try:
                contents = self._read(pool)
            except Compacted:
                continue  # between two pages
            if contents is not None:
                return contents
        raise _unstable(pool)

    def _read(self, pool: ConnectionPool) -> tuple[str, Snapshot] | None:
        """Read all pages at one revision; None when a new epoch was begun."""
        with self._lock:
            current, highest = self.epoch, self._highest
        page = pool.read(self.layout.read_first())
        revision = page.header.revision
        epoch = self._epoch_in(page.kvs)
        # A revision below one seen before the read: etcd was restored from a backup and
        # counts from there, so the same epoch now names other writes.
        restored = epoch == current and revision < highest
        if epoch is None or restored:
            self._begin(pool, epoch)
            return None
        records = list(self._records(page.kvs))
        while page.more:
            page = pool.read(self.layout.read_next(page, revision))
            records.extend(self._records(page.kvs))
        records.sort(key=lambda record: record.revision)
        self._adopt(epoch, revision)
        return epoch, Snapshot(tuple(records), revision)

    def _begin(self, pool: ConnectionPool, old: str | None) -> None:
        """Begin a new epoch, unless another process has since ``old`` was read."""
        pool.repeat(self.layout.begin_epoch(uuid.uuid4().hex[:12], old))

    def _adopt(self, epoch: str, revision: int) -> str:
        with self._lock:
            if epoch != self.epoch:
                self.epoch, self._highest = epoch, 0
        self.note_revision(epoch, revision)
        return epoch

    def _epoch_in(self, pairs: Iterable[Any]) -> str | None:
        values = (pair.value for pair in pairs if pair.key == self.layout.epoch)
        return next(map(_epoch, values), None)

    def _records(self, pairs: Iterable[Any]) -> Iterator[Record]:
        for pair in pairs:
            key = self.layout.key(pair.key)
            if key is not None:
                yield Record(key, pair.value, pair.mod_revision)


def _epoch(value: bytes) -> str:
    text = value.decode(errors="replace")
    if not re.fullmatch("[0-9a-f]{12}", text):
        raise StoreCorrupt(
            "etcd holds a foreign value at the store's key of the epoch: another"
            " program uses the prefix, choose another one"
        )
    return text


def _unstable(pool: ConnectionPool) -> StoreUnavailable:
    return StoreUnavailable(
        f"etcd at {pool.cluster.server} is compacted or wiped faster than the registry"
        " can read it; raise its --auto-compaction-retention"
    )
