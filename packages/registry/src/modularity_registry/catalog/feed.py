"""From the store to the catalog: the only way a change becomes visible."""

import heapq
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Protocol

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog, StoredService, Transition
from modularity_registry.errors import StoreCorrupt, StoreUnavailable
from modularity_registry.stores.base import (
    Change,
    Event,
    Lost,
    Record,
    Snapshot,
    Store,
    Watch,
)

log = logging.getLogger(__name__)

VISIBLE_WITHIN = 5.0
"""Seconds that a write may take from the store to this process's view."""

UNREAD = "the store has not been read yet"


class Listener(Protocol):
    """Who is told of changes, in the order of revisions.

    Called in the thread that delivers them: it must neither block nor write to the
    store.
    """

    def changed(self, change: Transition) -> None:
        """One change was made to the catalog."""

    def reloaded(self, changes: list[Transition], revision: int) -> None:
        """The catalog was reloaded as of ``revision``, which made these changes."""

    def advanced(self, revision: int) -> None:
        """The store went on to ``revision`` without a change of the catalog."""


class RecordListener(Protocol):
    """Who is told of the records under another prefix. As `Listener`."""

    def changed(self, key: str, value: bytes | None, revision: int) -> None:
        """One of them was written, or deleted if ``value`` is None."""

    def loaded(self, records: list[Record]) -> None:
        """All of them were reloaded."""


class Feed:
    """Watches the store, writes the catalog, tells the listeners, in this order.

    ``interruption`` is why the store's changes do not arrive, None while they do.
    """

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog
        self._listeners: list[Listener] = []
        self._record_listeners: dict[str, RecordListener] = {}
        self._on_connection_change: list[Callable[[], None]] = []
        self._gate = threading.Lock()
        # By revision: only those whose revision has come are woken. One condition for
        # all would wake 32 writers 32 times each.
        self._waiting: list[tuple[int, int, threading.Lock]] = []
        self._order = count()
        self._watch: Watch | None = None
        self.interruption: str | None = UNREAD
        self._unreadable: dict[str, str] = {}

    @property
    def unreadable(self) -> str | None:
        """Why the view is not complete: a record can't be read. None if all can."""
        return next(iter(self._unreadable.values()), None)

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every change from now on. Before `start` only."""
        self._listeners.append(listener)

    def listen_to_records(self, prefix: str, listener: RecordListener) -> None:
        """Tell ``listener`` of records with this prefix. Before `start` only."""
        self._record_listeners[prefix] = listener

    def on_connection_change(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when the store goes away or is back. Before `start` only."""
        self._on_connection_change.append(tell)

    def require(self) -> None:
        """Raise `StoreUnavailable` while the store is away, so that nothing waits."""
        if self.interruption is not None:
            raise StoreUnavailable(f"the store is away: {self.interruption}")

    def start(self) -> None:
        """Load the catalog and follow the store; raises what the store raises.

        `StoreCorrupt` when it holds something that is not a service: better no start
        than a wrong answer.
        """
        self._watch = self._store.watch(self._receive)
        if self._unreadable:
            self.stop()
            raise StoreCorrupt("; ".join(self._unreadable.values()))

    def stop(self) -> None:
        """Stop following; the catalog keeps what it has. Idempotent."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self.interruption = "the registry is stopping"

    def wait(self, revision: int, timeout: float = VISIBLE_WITHIN) -> None:
        """Return when the catalog holds ``revision``.

        Raises `StoreUnavailable` when that takes longer than ``timeout`` seconds; the
        write itself stands.
        """
        if self._catalog.revision >= revision:
            return
        latch = threading.Lock()
        latch.acquire()
        with self._gate:
            heapq.heappush(self._waiting, (revision, next(self._order), latch))
        # The change may have come before this one was in the queue.
        if self._catalog.revision >= revision or latch.acquire(timeout=timeout):
            return
        if self._catalog.revision < revision:
            raise StoreUnavailable(
                f"stored as revision {revision}, but the store has not confirmed it"
                " to this replica yet; read again before you retry"
            )

    def wait_for_news(self, revision: int, timeout: float) -> None:
        """Return when the catalog is past ``revision``, or after ``timeout``."""
        with suppress(StoreUnavailable):
            self.wait(revision + 1, timeout)

    def _receive(self, event: Event) -> None:
        try:
            self._take(event)
        except Exception as error:
            # The store drops a watcher that fails: nobody may take this view for true.
            self.interruption = (
                f"the registry failed to follow the store ({type(error).__name__});"
                " restart it, and see its log"
            )
            raise
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        with self._gate:
            while self._waiting and self._waiting[0][0] <= self._catalog.revision:
                heapq.heappop(self._waiting)[2].release()

    def _take(self, event: Event) -> None:
        match event:
            case Change():
                self._apply(event)
            case Snapshot():
                self._load(event)
            case Lost():
                self.interruption = event.reason
                log.warning("lost the connection to the store: %s", event.reason)
                self._report_connection()

    def _apply(self, change: Change) -> None:
        self._unreadable.pop(change.key, None)
        service_id = documents.id_of(change.key)
        stored = None
        if change.value is not None and service_id is not None:
            stored = self._read(change.key, change.value, change.revision)
        if service_id is None or (stored is None and change.value is not None):
            self._catalog.advance(change.revision)
            for listener in self._listeners:
                listener.advanced(change.revision)
            record_listener = self._record_listeners.get(_prefix(change.key))
            if record_listener is not None:
                record_listener.changed(change.key, change.value, change.revision)
            return
        transition = self._catalog.apply(service_id, stored, change.revision)
        for listener in self._listeners:
            listener.changed(transition)

    def _load(self, snapshot: Snapshot) -> None:
        self._unreadable.clear()
        read = [
            self._read(record.key, record.value, record.revision)
            for record in snapshot.records
            if documents.id_of(record.key) is not None
        ]
        stored = [service for service in read if service is not None]
        changes = self._catalog.load(stored, snapshot.revision)
        if self.interruption not in (None, UNREAD):
            log.info("reconnected to the store, at revision %d", snapshot.revision)
        self.interruption = None
        for listener in self._listeners:
            listener.reloaded(changes, snapshot.revision)
        for prefix, record_listener in self._record_listeners.items():
            record_listener.loaded(
                [record for record in snapshot.records if _prefix(record.key) == prefix]
            )
        self._report_connection()

    def _report_connection(self) -> None:
        for tell in self._on_connection_change:
            tell()

    def _read(self, key: str, value: bytes, revision: int) -> StoredService | None:
        try:
            return StoredService(documents.decode(key, value), value, revision)
        except StoreCorrupt as error:
            # One bad record must not hide all others; `unreadable` reports it.
            self._unreadable[key] = error.detail
            log.error("unreadable record: %s", error.detail)
            return None


def _prefix(key: str) -> str:
    return key[: key.find("/") + 1]
