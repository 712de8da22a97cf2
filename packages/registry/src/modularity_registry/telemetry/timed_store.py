"""Times the operations of a store."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from modularity_registry.errors import StoreConflict, StoreError
from modularity_registry.stores.base import Outcome, Send, Store, Watch, Write
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

    @property
    def embedded(self) -> bool:
        return self._store.embedded

    def commit(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        begun = time.perf_counter()
        names = ["delete" if write.value is None else "put" for write in batch]
        try:
            outcomes = self._store.commit(batch)
        except StoreError:
            self._metrics.store_errors.update(names)
            raise
        finally:
            # Each write took as long as its batch did.
            seconds = time.perf_counter() - begun
            for name in names:
                self._metrics.operation(name).observe(seconds)
        for name, outcome in zip(names, outcomes, strict=True):
            # A conflict is an answer, not a failure of the store.
            if isinstance(outcome, StoreError) and not isinstance(
                outcome, StoreConflict
            ):
                self._metrics.store_errors[name] += 1
        return outcomes

    def watch(self, send: Send) -> Watch:
        return self._timed("watch", lambda: self._store.watch(send))

    def begin_epoch(self) -> str:
        return self._store.begin_epoch()

    def ping(self) -> None:
        self._timed("ping", self._store.ping)

    def close(self) -> None:
        self._store.close()

    def _timed(self, name: str, call: Callable[[], ResultT]) -> ResultT:
        begun = time.perf_counter()
        try:
            return call()
        except StoreError:
            self._metrics.store_errors[name] += 1
            raise
        finally:
            self._metrics.operation(name).observe(time.perf_counter() - begun)
