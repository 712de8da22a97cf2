"""Times the operations of a store."""

import time
from collections.abc import Callable
from typing import TypeVar

from modularity_registry.errors import StoreConflict, StoreError
from modularity_registry.stores.base import Send, Store, Watch
from modularity_registry.telemetry.counters import Metrics

ResultT = TypeVar("ResultT")


class TimedStore:
    """Passes every call on to ``store``, times it and counts its errors."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    @property
    def shared(self) -> bool:
        return self._store.shared

    @property
    def epoch(self) -> str:
        return self._store.epoch

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        return self._timed("put", lambda: self._store.put(key, value, expected))

    def delete(self, key: str, expected: int | None = None) -> int | None:
        return self._timed("delete", lambda: self._store.delete(key, expected))

    def watch(self, send: Send) -> Watch:
        return self._timed("watch", lambda: self._store.watch(send))

    def ping(self) -> None:
        self._timed("ping", self._store.ping)

    def close(self) -> None:
        self._store.close()

    def _timed(self, name: str, call: Callable[[], ResultT]) -> ResultT:
        begun = time.perf_counter()
        try:
            return call()
        except StoreConflict:
            raise  # an answer, not a failure of the store
        except StoreError:
            self._metrics.store_errors[name] += 1
            raise
        finally:
            self._metrics.operation(name).observe(time.perf_counter() - begun)
