"""``memory://``: records in this process, gone when it ends."""

import threading
import uuid
from collections.abc import Sequence
from typing import Final

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.base import (
    Change,
    Outcome,
    Record,
    Send,
    Snapshot,
    Write,
    require_valid,
)
from modularity_registry.stores.local_watch import Fanout, LocalWatch


class MemoryStore:
    """Keeps records in a dict and sends changes in the writer's thread."""

    shared: Final = False
    embedded: Final = True

    def __init__(self) -> None:
        self.epoch = uuid.uuid4().hex[:12]
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._fanout = Fanout()
        self._revision = 0
        self._closed = False

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        require_valid(batch)
        with self._lock:
            self._require_open()
            return [self._write(*write) for write in batch]

    def watch(self, send: Send) -> LocalWatch:
        with self._lock:
            self._require_open()
            send(self._snapshot())
            return self._fanout.add(send, self._unwatch)

    def begin_epoch(self) -> str:
        with self._lock:
            self._require_open()
            self.epoch = uuid.uuid4().hex[:12]
            self._fanout.deliver(self._snapshot())
            return self.epoch

    def ping(self) -> None:
        self._require_open()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._fanout.clear()
            self._records.clear()

    def _snapshot(self) -> Snapshot:
        ordered = sorted(self._records.values(), key=lambda record: record.revision)
        return Snapshot(tuple(ordered), self._revision)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the memory store is closed")

    def _write(self, key: str, value: bytes | None, expected: int | None) -> Outcome:
        record = self._records.get(key)
        actual = record.revision if record else 0
        if expected is not None and actual != expected:
            return StoreConflict(key, actual)
        if value is None and record is None:
            return None
        self._revision += 1
        if value is None:
            del self._records[key]
        else:
            self._records[key] = Record(key, value, self._revision)
        self._fanout.deliver(Change(key, value, self._revision))
        return self._revision

    def _unwatch(self, watch: LocalWatch) -> None:
        with self._lock:
            self._fanout.remove(watch)
