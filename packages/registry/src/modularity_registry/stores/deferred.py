"""A store that is opened after others have been given it."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.base import Outcome, Send, Store, Watch, Write

UNOPENED: Final = "the store has not been read yet"


class DeferredStore:
    """Opens a store with its first watch; until then, it is away.

    ``epoch`` is that of what is known of the store by then. The store is one that
    processes can share.
    """

    shared: Final = True
    embedded: Final = False

    def __init__(self, open_store: Callable[[], Store], epoch: str) -> None:
        self._open_store = open_store
        self._epoch = epoch
        self._opening = threading.Lock()
        self._store: Store | None = None
        self._closed = False

    @property
    def epoch(self) -> str:
        return self._epoch if self._store is None else self._store.epoch

    def begin_epoch(self) -> str:
        return self._opened().begin_epoch()

    def commit(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return self._opened().commit(batch)

    def watch(self, send: Send) -> Watch:
        """As `Store.watch`; raises what `open_store` raises, and then tries again."""
        with self._opening:
            if self._store is None and not self._closed:
                self._store = self._open_store()
        if self._closed:
            self.close()  # it was told to while the store was being opened
        return self._opened().watch(send)

    def ping(self) -> None:
        self._opened().ping()

    def close(self) -> None:
        self._closed = True
        if self._store is not None:
            self._store.close()

    def _opened(self) -> Store:
        if self._store is None:
            raise StoreUnavailable(UNOPENED)
        return self._store
