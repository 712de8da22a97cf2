"""From the store to the catalog: the only way a change becomes visible."""

import asyncio
import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from itertools import count
from time import perf_counter
from typing import Protocol

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog, StoredService, Transition
from modularity_registry.errors import (
    OutcomeUnknown,
    StoreCorrupt,
    StoreUnavailable,
)
from modularity_registry.model.service import Service
from modularity_registry.stores.base import (
    Advanced,
    Change,
    Event,
    Lost,
    Record,
    Snapshot,
    Store,
    Watch,
)
from modularity_registry.tasks import SLICE

log = logging.getLogger(__name__)

VISIBLE_WITHIN = 5.0
"""Seconds that a write may take from the store to this process's view."""

UNREAD = "the store has not been read yet"

KEPT = (documents.TOKENS, documents.SPLITS, documents.INTENTIONS)
"""The records beside services that a snapshot needs as they are stored."""

LOOK = 0.02
"""Seconds between two looks whether the store has been read."""


class Listener(Protocol):
    """Who is told of changes, in the order of revisions.

    Called on the event loop: it must neither block nor write to the store.
    """

    def changed(self, change: Transition) -> None:
        """One change was made to the catalog."""

    def reloaded(self, changes: Collection[Transition], revision: int) -> None:
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

    All of it runs on the event loop that called `start`; the store may send from any
    thread. ``loop`` is that one, None before the start. ``interruption`` is why the
    store's changes do not arrive, None while they do. ``unread`` says that
    they never did. ``records_changed`` counts the changes of what is `kept`.
    """

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog
        self._listeners: list[Listener] = []
        self._record_listeners: dict[str, RecordListener] = {}
        self._on_connection_change: list[Callable[[], None]] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        # What other threads sent, whether the loop knows of it, and a load under way.
        self._inbox: deque[Event] = deque()
        self._handed_over = False
        self._loading: Iterator[None] | None = None
        # By revision: only those whose revision has come are woken.
        self._waiting: list[tuple[int, int, asyncio.Future[bool]]] = []
        self._order = count()
        self._written: dict[str, tuple[bytes, Service]] = {}
        self._watch: Watch | None = None
        self.interruption: str | None = UNREAD
        self.unread = True
        self._failed = False
        self._unreadable: dict[str, str] = {}
        self._kept: dict[str, Record] = {}
        self.records_changed = 0

    @property
    def revision(self) -> int:
        """How far the view has come."""
        return self._catalog.revision

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

    def require_read(self) -> None:
        """Raise `StoreUnavailable` before the store was read for the first time."""
        if self.unread:
            self.require()

    async def start(self) -> None:
        """Load the catalog and follow the store; raises what the store raises.

        `StoreCorrupt` when it holds something that is not a service: better no start
        than a wrong answer.
        """
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        if self._store.embedded:
            self._watch = self._store.watch(self._receive)
        else:
            self._watch = await asyncio.to_thread(self._store.watch, self._receive)
        # The snapshot has been sent by now, and nobody else needs the loop yet.
        self._take_all()
        if self._unreadable:
            await self.stop()
            raise StoreCorrupt("; ".join(self._unreadable.values()))

    async def follow(self) -> None:
        """Do the same while others use the loop; raises what the store raises.

        What can't be read is left out, and `unreadable` says so. Does nothing if it
        follows the store already.
        """
        if self._watch is not None:
            return
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._watch = await asyncio.to_thread(self._store.watch, self._receive)
        while self._inbox or self._loading is not None:
            await asyncio.sleep(LOOK)

    def preview(self, records: list[Record], reason: str) -> None:
        """Tell the listeners of the ``records`` of a snapshot. Before `follow` only.

        ``reason`` is why the store is not read yet.
        """
        self.interruption = reason
        for prefix in KEPT:
            listener = self._record_listeners.get(prefix)
            if listener is not None:
                listener.loaded([one for one in records if _prefix(one.key) == prefix])

    def kept(self) -> list[Record]:
        """Return the records that a snapshot needs, beside those of services."""
        return list(self._kept.values())

    async def stop(self) -> None:
        """Stop following; the catalog keeps what it has. Idempotent."""
        watch, self._watch = self._watch, None
        if watch is not None:
            # It may wait for a delivery under way.
            await asyncio.to_thread(watch.close)
        self.interruption = "the registry is stopping"

    async def wait(self, revision: int, timeout: float = VISIBLE_WITHIN) -> None:
        """Return when the catalog holds ``revision``, without suspending if it does.

        Raises `OutcomeUnknown` when that takes longer than ``timeout`` seconds; the
        write itself stands.
        """
        if self._catalog.revision >= revision:
            return
        if not await self.reaches(revision, timeout):
            raise OutcomeUnknown(
                f"stored as revision {revision}, but the store has not confirmed it"
                " to this replica yet; read again before you retry"
            )

    async def reaches(self, revision: int, timeout: float = VISIBLE_WITHIN) -> bool:
        """Say whether the catalog holds ``revision`` within ``timeout`` seconds.

        Without suspending if it does already.
        """
        if self._catalog.revision >= revision:
            return True
        loop = asyncio.get_running_loop()
        reached: asyncio.Future[bool] = loop.create_future()
        heapq.heappush(self._waiting, (revision, next(self._order), reached))
        timer = loop.call_later(timeout, _settle, reached, False)
        try:
            return await reached
        finally:
            timer.cancel()

    def expect(self, key: str, document: bytes, service: Service) -> None:
        """Take ``service`` for ``document`` when it comes: it need not be decoded.

        For the writer that has just encoded it. It holds until `forget`.
        """
        self._written[key] = document, service

    def forget(self, key: str) -> None:
        """Decode what comes under ``key`` again."""
        self._written.pop(key, None)

    def _receive(self, event: Event) -> None:
        if self._failed:
            return
        self._inbox.append(event)
        if threading.get_ident() == self._thread:
            self._take_all()
        elif not self._handed_over and self.loop is not None:
            self._handed_over = True
            self.loop.call_soon_threadsafe(self._take_some)

    def _take_all(self) -> None:
        """Take in all that was sent."""
        while self._inbox or self._loading is not None:
            self._step()

    def _take_some(self) -> None:
        """Do the same for `SLICE` seconds, and go on after others had their turn."""
        self._handed_over = False
        end = perf_counter() + SLICE
        while self._inbox or self._loading is not None:
            self._step()
            if perf_counter() >= end:
                self._handed_over = True
                asyncio.get_running_loop().call_soon(self._take_some)
                return

    def _step(self) -> None:
        try:
            if self._loading is None:
                self._take(self._inbox.popleft())
            elif next(self._loading, self) is self:
                self._loading = None
                self._wake()
        except Exception as error:
            # From here on changes are missing: nobody may take this view for true.
            self._failed = True
            self._loading = None
            self._inbox.clear()
            self.interruption = (
                f"the registry failed to follow the store ({type(error).__name__});"
                " restart it, and see its log"
            )
            raise

    def _take(self, event: Event) -> None:
        match event:
            case Change():
                self._apply(event)
            case Advanced():
                self._advance(event.revision)
                self._wake()
            case Snapshot():
                self._loading = self._load(event)
            case Lost():
                self._lose(event)

    def _wake(self) -> None:
        revision = self._catalog.revision
        while self._waiting and self._waiting[0][0] <= revision:
            _settle(heapq.heappop(self._waiting)[2], True)

    def _apply(self, change: Change) -> None:
        if self._unreadable:
            self._unreadable.pop(change.key, None)
        service_id = documents.id_of(change.key)
        stored = None
        if change.value is not None and service_id is not None:
            stored = self._read(change.key, change.value, change.revision)
        if service_id is None or (stored is None and change.value is not None):
            self._pass_by(change)
        else:
            transition = self._catalog.apply(
                service_id, stored, change.revision, change.last
            )
            for listener in self._listeners:
                listener.changed(transition)
        if change.last and self._waiting:
            self._wake()

    def _pass_by(self, change: Change) -> None:
        """Take a change that is not one of a service."""
        # First: what it changes must be in place when the view has its revision.
        prefix = _prefix(change.key)
        if prefix in KEPT:
            self._keep(change)
        record_listener = self._record_listeners.get(prefix)
        if record_listener is not None:
            record_listener.changed(change.key, change.value, change.revision)
        if change.last:
            self._advance(change.revision)

    def _keep(self, change: Change) -> None:
        self.records_changed += 1
        self._kept.pop(change.key, None)
        if change.value is not None:
            kept = Record(change.key, change.value, change.revision)
            self._kept[change.key] = kept

    def _advance(self, revision: int) -> None:
        self._catalog.advance(revision)
        for listener in self._listeners:
            listener.advanced(revision)

    def _load(self, snapshot: Snapshot) -> Iterator[None]:
        self._unreadable.clear()
        revision = snapshot.revision
        services: deque[Record] = deque()
        others: list[Record] = []
        for record in snapshot.records:
            is_service = record.key.startswith(documents.PREFIX)
            (services if is_service else others).append(record)
        # Nobody else holds it: each record goes as soon as its service is in the view.
        del snapshot
        changes = yield from self._catalog.load(
            services,
            lambda record: self._read(record.key, record.value, record.revision),
            revision,
        )
        if self.interruption is not None and not self.unread:
            log.info("reconnected to the store, at revision %d", revision)
        self.interruption, self.unread = None, False
        self._kept = {one.key: one for one in others if _prefix(one.key) in KEPT}
        self.records_changed += 1
        for listener in self._listeners:
            listener.reloaded(changes, revision)
        for prefix, record_listener in self._record_listeners.items():
            record_listener.loaded(
                [record for record in others if _prefix(record.key) == prefix]
            )
        self._report_connection()

    def _lose(self, lost: Lost) -> None:
        self.interruption = lost.reason
        log.warning("lost the connection to the store: %s", lost.reason)
        self._report_connection()

    def _report_connection(self) -> None:
        for tell in self._on_connection_change:
            tell()

    def _read(self, key: str, value: bytes, revision: int) -> StoredService | None:
        written = self._written.get(key)
        if written is not None and written[0] == value:
            return StoredService(written[1], value, revision)
        try:
            return StoredService(documents.decode(key, value), value, revision)
        except StoreCorrupt as error:
            # One bad record must not hide all others; `unreadable` reports it.
            self._unreadable[key] = error.detail
            log.error("unreadable record: %s", error.detail)
            return None


def _settle(future: asyncio.Future[bool], outcome: bool) -> None:
    if not future.done():
        future.set_result(outcome)


def _prefix(key: str) -> str:
    return key[: key.find("/") + 1]
