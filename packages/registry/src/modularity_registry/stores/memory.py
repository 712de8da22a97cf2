"""``memory://``: records in this process, gone when it ends."""

import threading
import uuid
from typing import Final

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.base import Change, Record, Send, Snapshot
from modularity_registry.stores.local_watch import Fanout, LocalWatch


class MemoryStore:
    """Keeps records in a dict and sends changes in the writer's thread."""

    shared: Final = False

    def __init__(self) -> None:
        self.epoch = uuid.uuid4().hex[:12]
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._fanout = Fanout()
        self._revision = 0
        self._closed = False

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        with self._lock:
            self._check(key, expected)
            self._revision += 1
            self._records[key] = Record(key, value, self._revision)
            self._fanout.deliver(Change(key, value, self._revision))
            return self._revision

    def delete(self, key: str, expected: int | None = None) -> int | None:
        with self._lock:
            self._check(key, expected)
            if self._records.pop(key, None) is None:
                return None
            self._revision += 1
            self._fanout.deliver(Change(key, None, self._revision))
            return self._revision

    def watch(self, send: Send) -> LocalWatch:
        with self._lock:
            self._require_open()
            ordered = sorted(self._records.values(), key=lambda record: record.revision)
            send(Snapshot(tuple(ordered), self._revision))
            return self._fanout.add(send, self._unwatch)

    def ping(self) -> None:
        self._require_open()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._fanout.clear()
            self._records.clear()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the memory store is closed")

    def _check(self, key: str, expected: int | None) -> None:
        self._require_open()
        if expected is None:
            return
        record = self._records.get(key)
        actual = record.revision if record else 0
        if actual != expected:
            raise StoreConflict(key, actual)

    def _unwatch(self, watch: LocalWatch) -> None:
        with self._lock:
            self._fanout.remove(watch)
