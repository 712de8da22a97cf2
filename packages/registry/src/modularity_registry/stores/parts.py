"""Divides a store into parts, each a store of its own under a prefix of the keys.

All parts share one watch of the store, and its writer.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import Final

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.base import (
    Advanced,
    Change,
    Event,
    Lost,
    Outcome,
    Record,
    Send,
    Snapshot,
    Store,
    Watch,
    Write,
)
from modularity_registry.stores.group_commit import Writer
from modularity_registry.stores.local_watch import Fanout, LocalWatch

PREFIX: Final = "ns/"
"""What the keys of all parts begin with; the part's name and a slash follow."""


def split_key(key: str) -> tuple[str, str]:
    """Return the part that a store's key is in, empty for none, and the key in it."""
    if not key.startswith(PREFIX):
        return "", key
    part, _, own_key = key[len(PREFIX) :].partition("/")
    return part, own_key


def whole_key(part: str, key: str) -> str:
    """Return the store's key for a key in a part; the opposite of `split_key`."""
    return f"{PREFIX}{part}/{key}" if part else key


class Part:
    """One part, as a `Store`. Its keys are those behind its ``prefix``.

    It holds what is in it, so that a watch can begin at any time. But for the first one
    of all parts, a watch begins with what has come from the store by then, which may be
    behind a write that has just been made. `close` ends its watches, and leaves the
    store and the other parts open.
    """

    def __init__(self, division: "Division", store: Store, name: str) -> None:
        self.prefix = whole_key(name, "")
        self._division = division
        self._store = store
        self._fanout = Fanout()
        # In order of revision: what is written goes to the end.
        self._records: dict[str, Record] = {}
        self._closed = False

    @property
    def shared(self) -> bool:
        return self._store.shared

    @property
    def embedded(self) -> bool:
        return self._store.embedded

    @property
    def epoch(self) -> str:
        return self._store.epoch

    def begin_epoch(self) -> str:
        """Begin a new epoch of the whole store."""
        self._require_open()
        return self._store.begin_epoch()

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        self._require_open()
        outcomes = self._store.commit([self.whole(write) for write in batch])
        return [
            self.own(outcome) if isinstance(outcome, StoreConflict) else outcome
            for outcome in outcomes
        ]

    def watch(self, send: Send) -> LocalWatch:
        self._require_open()
        return self._division.watch(self, send)

    def ping(self) -> None:
        self._require_open()
        self._store.ping()

    def close(self) -> None:
        self._closed = True
        self._division.end(self)

    def whole(self, write: Write) -> Write:
        """Return a write of this part as one of the store."""
        return write._replace(key=self.prefix + write.key)

    def own(self, conflict: StoreConflict) -> StoreConflict:
        """Return a conflict of the store as one of this part."""
        return StoreConflict(conflict.key[len(self.prefix) :], conflict.actual)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")


class Division:
    """The parts of ``store``, by name.

    What is outside of a part only advances its revision. The one watch begins with the
    first of a part, and ends when the store is closed.
    """

    def __init__(self, store: Store, names: Iterable[str]) -> None:
        self.parts = {name: Part(self, store, name) for name in names}
        self._store = store
        self._opening = threading.Lock()
        # Held while an event is delivered. A store may hold its own lock by then, so
        # nothing of it may be called under this one.
        self._lock = threading.Lock()
        self._watch: Watch | None = None
        self._revision = 0
        self._lost: str | None = None

    def watch(self, part: Part, send: Send) -> LocalWatch:
        """Watch a part: see `Store.watch`."""
        with self._opening:
            if self._watch is None:
                self._watch = self._store.watch(self._receive)
        with self._lock:
            if self._lost is not None:
                raise StoreUnavailable(self._lost)
            send(Snapshot(tuple(part._records.values()), self._revision))
            return part._fanout.add(send, lambda watch: self._end(part, watch))

    def end(self, part: Part) -> None:
        """End all watches of a part."""
        with self._lock:
            part._fanout.clear()

    def _end(self, part: Part, watch: LocalWatch) -> None:
        with self._lock:
            part._fanout.remove(watch)

    def _receive(self, event: Event) -> None:
        with self._lock:
            match event:
                case Change():
                    self._change(event)
                case Snapshot():
                    self._load(event)
                case Lost():
                    self._lost = event.reason
                    self._tell(event)

    def _change(self, change: Change) -> None:
        owner, key = self._find(change.key)
        if owner is not None:
            owner._records.pop(key, None)
            if change.value is not None:
                owner._records[key] = Record(key, change.value, change.revision)
            owner._fanout.deliver(
                Change(key, change.value, change.revision, change.last)
            )
        if change.last:
            self._revision = change.revision
            self._tell(Advanced(change.revision), owner)

    def _load(self, snapshot: Snapshot) -> None:
        for part in self.parts.values():
            part._records = {}
        for record in snapshot.records:
            owner, key = self._find(record.key)
            if owner is not None:
                owner._records[key] = Record(key, record.value, record.revision)
        self._revision, self._lost = snapshot.revision, None
        for part in self.parts.values():
            records = tuple(part._records.values())
            part._fanout.deliver(Snapshot(records, snapshot.revision))

    def _tell(self, event: Event, but: Part | None = None) -> None:
        for part in self.parts.values():
            if part is not but:
                part._fanout.deliver(event)

    def _find(self, key: str) -> tuple[Part | None, str]:
        """Return the part with a key, None for none, and the key in it."""
        name, own_key = split_key(key)
        return self.parts.get(name), own_key


class PartWriter:
    """Writes the keys of one part by the writer of the whole store."""

    def __init__(self, whole: Writer, part: Part) -> None:
        self._whole = whole
        self._part = part

    async def write(self, write: Write) -> int | None:
        """Return and raise what the writer of the whole store does."""
        try:
            return await self._whole.write(self._part.whole(write))
        except StoreConflict as conflict:
            raise self._part.own(conflict) from None

    def stop(self) -> None:
        """Nothing of its own: the writer of the whole store refuses them."""
