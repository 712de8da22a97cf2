"""A store that several registries of one process share."""

from typing import Final

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Send, Watch
from modularity_registry.stores.memory import MemoryStore


class Handle:
    """One of several ways into a store, closed on its own; it checks the contract."""

    shared: Final = True

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._watches: list[Watch] = []
        self._closed = False

    @property
    def epoch(self) -> str:
        return self._store.epoch

    def put(self, key: str, value: bytes, expected: int | None = None) -> int:
        self.ping()
        return self._store.put(key, value, expected)

    def delete(self, key: str, expected: int | None = None) -> int | None:
        self.ping()
        return self._store.delete(key, expected)

    def watch(self, send: Send) -> Watch:
        self.ping()
        watch = self._store.watch(send)
        self._watches.append(watch)
        return watch

    def ping(self) -> None:
        if self._closed:
            raise StoreUnavailable("closed")

    def close(self) -> None:
        self._closed = True
        for watch in self._watches:
            watch.close()
