"""Delivery of changes inside one process, for stores that live in it."""

import logging
from collections.abc import Callable

from modularity_registry.stores.base import Change, Event, Send

log = logging.getLogger(__name__)


class Fanout:
    """All watches of an embedded store.

    Its owner calls every method under one lock and delivers in the order of its
    writes, so that all watchers see the changes in the order of revisions.
    """

    def __init__(self) -> None:
        self._watches: tuple[LocalWatch, ...] = ()

    def add(self, send: Send, drop: Callable[["LocalWatch"], None]) -> "LocalWatch":
        watch = LocalWatch(send, drop)
        self._watches += (watch,)
        return watch

    def remove(self, watch: "LocalWatch") -> None:
        self._watches = tuple(other for other in self._watches if other is not watch)

    def clear(self) -> None:
        self._watches = ()

    def deliver(self, event: Event) -> None:
        for watch in self._watches:
            try:
                watch.send(event)
            except Exception:
                # The write is done: a watcher that fails must not turn it into an
                # error.
                log.exception("a watch failed on %s and was stopped", _name(event))
                self.remove(watch)


class LocalWatch:
    """One watch; ``close`` waits for a running delivery."""

    def __init__(self, send: Send, drop: Callable[["LocalWatch"], None]) -> None:
        self.send = send
        self._drop = drop

    def close(self) -> None:
        self._drop(self)


def _name(event: Event) -> str:
    return event.key if isinstance(event, Change) else type(event).__name__.lower()
