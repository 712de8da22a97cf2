"""A store that several registries of one process share."""

from collections.abc import Sequence
from typing import Final

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Outcome, Send, Watch, Write
from modularity_registry.stores.memory import MemoryStore


class Handle:
    """One of several ways into a store, closed on its own; it checks the contract."""

    shared: Final = True
    embedded: Final = True

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._watches: list[Watch] = []
        self._closed = False

    @property
    def epoch(self) -> str:
        return self._store.epoch

    def commit(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        self.ping()
        return self._store.commit(batch)

    def watch(self, send: Send) -> Watch:
        self.ping()
        watch = self._store.watch(send)
        self._watches.append(watch)
        return watch

    def begin_epoch(self) -> str:
        return self._store.begin_epoch()

    def ping(self) -> None:
        if self._closed:
            raise StoreUnavailable("closed")

    def close(self) -> None:
        self._closed = True
        for watch in self._watches:
            watch.close()
