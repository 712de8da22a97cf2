"""Reads all that is stored, and names the history of revisions that it belongs to."""

import re
import threading
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final

from modularity_registry.errors import StoreCorrupt, StoreUnavailable
from modularity_registry.stores.base import Record, Snapshot
from modularity_registry.stores.etcd.cluster import Lines
from modularity_registry.stores.etcd.errors import Compacted
from modularity_registry.stores.etcd.layout import Keys

_ATTEMPTS: Final = 5


class History:
    """What is stored, read as a whole; the epoch is made by whoever finds none.

    ``epoch`` is that of the latest look. Any thread may use it.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.epoch = ""
        self._highest = 0
        self._lock = threading.Lock()

    def saw(self, epoch: str, revision: int) -> None:
        """Remember how far an epoch has come."""
        with self._lock:
            if epoch == self.epoch:
                self._highest = max(self._highest, revision)

    def look(self, lines: Lines) -> str:
        """Return the epoch, begun if there is none; raises `StoreError`."""
        for _ in range(_ATTEMPTS):
            reply = lines.read(self.keys.now())
            if reply.kvs:
                return self._adopt(_epoch(reply.kvs[0].value), reply.header.revision)
            self._begin(lines, None)
        raise _restless(lines)

    def snapshot(self, lines: Lines) -> tuple[str, Snapshot]:
        """Return the epoch and all that it holds; raises `StoreError`."""
        for _ in range(_ATTEMPTS):
            try:
                found = self._read(lines)
            except Compacted:
                continue  # between two pages
            if found is not None:
                return found
        raise _restless(lines)

    def _read(self, lines: Lines) -> tuple[str, Snapshot] | None:
        """Read all pages at one revision; None when the epoch had to be begun."""
        with self._lock:
            known, highest = self.epoch, self._highest
        page = lines.read(self.keys.all())
        revision = page.header.revision
        epoch = self._epoch_in(page.kvs)
        # Below what was there before the question, etcd was restored from a backup
        # and counts again from there: it is another history under the same name.
        turned_back = epoch == known and revision < highest
        if epoch is None or turned_back:
            self._begin(lines, epoch)
            return None
        records = list(self._records(page.kvs))
        while page.more:
            page = lines.read(self.keys.all(page.kvs[-1].key, revision))
            records.extend(self._records(page.kvs))
        records.sort(key=lambda record: record.revision)
        self._adopt(epoch, revision)
        return epoch, Snapshot(tuple(records), revision)

    def _begin(self, lines: Lines, old: str | None) -> None:
        """Begin a new epoch, unless somebody has done so since ``old`` was read."""
        lines.repeat(self.keys.begin(uuid.uuid4().hex[:12], old))

    def _adopt(self, epoch: str, revision: int) -> str:
        with self._lock:
            if epoch != self.epoch:
                self.epoch, self._highest = epoch, 0
        self.saw(epoch, revision)
        return epoch

    def _epoch_in(self, pairs: Iterable[Any]) -> str | None:
        found = (pair.value for pair in pairs if pair.key == self.keys.epoch)
        return next(map(_epoch, found), None)

    def _records(self, pairs: Iterable[Any]) -> Iterator[Record]:
        for pair in pairs:
            key = self.keys.key(pair.key)
            if key is not None:
                yield Record(key, pair.value, pair.mod_revision)


def _epoch(value: bytes) -> str:
    text = value.decode(errors="replace")
    if not re.fullmatch("[0-9a-f]{12}", text):
        raise StoreCorrupt(
            "etcd holds something else where the store's epoch should be: the prefix"
            " is used by another program, choose another one"
        )
    return text


def _restless(lines: Lines) -> StoreUnavailable:
    return StoreUnavailable(
        f"etcd at {lines.cluster.server} forgets its history, or is wiped, faster than"
        " it can be read; see its --auto-compaction-retention"
    )
