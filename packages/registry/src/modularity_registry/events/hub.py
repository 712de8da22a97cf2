"""The bounded history of events, and everyone who waits for the next one."""

import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from modularity_registry import schema
from modularity_registry.catalog.catalog import Transition
from modularity_registry.catalog.entry import Entry
from modularity_registry.clock import Clock, rfc3339
from modularity_registry.errors import TooManyWatchers, TooManyWatchersOfClient
from modularity_registry.events.event import Event, Interest, Kind, frame
from modularity_registry.events.watcher import Watcher
from modularity_registry.model import status
from modularity_registry.model.rights import OPEN, Caller
from modularity_registry.schema import Invocation

HISTORY = 10_000
"""So many events can be resumed from; about 2 KB each while they are kept."""

HISTORY_BYTES = 128 * 1024 * 1024
"""And of so many bytes, for services whose metadata is as large as it may be."""

ABREAST = 8
"""So many watchers are woken before they get their turn.

All at once, they stood in each other's way: each thread that waits for the
interpreter lock is woken every 5 ms to ask for it. With 2,000 watchers it took 527 ms
until the last but 1% had a change, in eights 75 ms.
"""


class Hub:
    """All watchers of this process, and the events they may have missed."""

    def __init__(
        self,
        clock: Clock,
        epoch: Callable[[], str],
        places: int,
        places_each: int = 0,
    ) -> None:
        """Return it with so many ``places``; ``places_each`` is 0 for no such bound."""
        self.epoch = epoch()
        self._read_epoch = epoch
        self.places = places
        self._places_each = places_each
        self._taken: Counter[str] = Counter()
        self._revision = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._history: deque[Event] = deque()
        self._kept = 0
        self._forgotten: int | None = None
        self._number = 0
        self._watchers: set[Watcher] = set()
        self._index: dict[tuple[str, str], set[Watcher]] = {}
        self._stopped = False
        self._outbox: SimpleQueue[Event | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def revision(self) -> int:
        """The revision of the last change that was published."""
        return self._revision

    def start(self) -> None:
        """Begin to wake watchers."""
        self._thread.start()

    def stop(self) -> None:
        """Wake everyone for the last time and take nobody in any more. Idempotent."""
        with self._lock:
            self._stopped = True
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.stop()
        self._outbox.put(None)

    def changed(self, transition: Transition) -> None:
        """Publish a change of the catalog; for the feed's thread, returns at once."""
        event = self._event(transition)
        if event is not None:
            self._publish(event)

    def reloaded(self, changes: list[Transition], revision: int) -> None:
        """Forget all history: what came before ``revision`` may have gone by unseen."""
        with self._lock:
            self.epoch = self._read_epoch()
            self._history.clear()
            self._kept = 0
            self._forgotten = self._revision = revision
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.lose()

    def advanced(self, revision: int) -> None:
        """Note that nothing happened up to ``revision``."""
        with self._lock:
            self._revision = revision

    def invoked(self, call: Invocation) -> None:
        """Tell of a call that a service made to another."""
        kind: Kind = "capability.invoked"

        def render() -> bytes:
            return frame(kind, None, self._data(kind, None, schema.encode(call)))

        services = frozenset((call.consumer_id, call.provider_id))
        capabilities = frozenset((call.capability,))
        now = self._clock.monotonic()
        self._publish(Event(kind, None, services, capabilities, (), render, now))

    def watch(
        self,
        interest: Interest,
        after: int | None = None,
        peer: str = "",
        caller: Caller = OPEN,
        client: str = "",
    ) -> tuple[Watcher, list[Event] | None]:
        """Return a watcher, and the events of interest that came after a revision.

        None in place of these when they are not known: some are forgotten, or the
        revision is one that has not been reached. Raises `TooManyWatchers` or
        `TooManyWatchersOfClient`. To be given back with `leave`.
        """
        with self._lock:
            if 0 < self._places_each <= self._taken[client]:
                raise TooManyWatchersOfClient(
                    f"{client} has taken all {self._places_each} places for watchers"
                    " that one client may have; end one of them, or try again later"
                )
            if len(self._watchers) >= self.places:
                raise TooManyWatchers(
                    f"all {self.places} places for watchers are taken; try again later"
                )
            now = self._clock.monotonic()
            watcher = Watcher(
                interest, self._number, self._revision, peer, caller, client, now
            )
            self._watchers.add(watcher)
            self._taken[client] += 1
            for key in _keys(interest):
                self._index.setdefault(key, set()).add(watcher)
            if self._stopped:
                watcher.stop()
            missed = [] if after is None else self._since(after)
        if missed is None:
            return watcher, None
        return watcher, [event for event in missed if interest.concerns(event)]

    def leave(self, watcher: Watcher) -> None:
        """Give up a watcher's place. Idempotent."""
        with self._lock:
            if watcher not in self._watchers:
                return
            self._watchers.remove(watcher)
            self._taken[watcher.client] -= 1
            if not self._taken[watcher.client]:
                del self._taken[watcher.client]
            for key in _keys(watcher.interest):
                watchers = self._index.get(key)
                if watchers is not None:
                    watchers.discard(watcher)
                    if not watchers:
                        del self._index[key]

    def watching(self) -> list[Watcher]:
        """Return everyone who watches now."""
        with self._lock:
            return list(self._watchers)

    def position(self, revision: int) -> str:
        """Return what a client resumes from: the epoch and the revision."""
        return f"{self.epoch}-{revision}"

    def notice(self, kind: str, revision: int, data: dict[str, Any]) -> bytes:
        """Return an event of the stream's own, such as `connected` or `resync`."""
        body = self._data(kind, revision, schema.encode(data))
        return frame(kind, self.position(revision), body)

    def _since(self, revision: int) -> list[Event] | None:
        forgotten = self._forgotten
        if forgotten is None or not forgotten <= revision <= self._revision:
            return None
        newer = []
        for event in reversed(self._history):
            if event.revision is not None and event.revision <= revision:
                break
            newer.append(event)
        return newer[::-1]

    def _publish(self, event: Event) -> None:
        with self._lock:
            self._number += 1
            event.number = self._number
            if event.revision is not None:
                self._keep(event)
                self._revision = event.revision
            if any(key in self._index for key in _addressees(event)):
                # In here, so that events leave in the order of their numbers.
                self._outbox.put(event)

    def _keep(self, event: Event) -> None:
        self._history.append(event)
        self._kept += event.size
        while len(self._history) > HISTORY or self._kept > HISTORY_BYTES:
            oldest = self._history.popleft()
            self._kept -= oldest.size
            self._forgotten = oldest.revision

    def _run(self) -> None:
        while (event := self._outbox.get()) is not None:
            concerned: set[Watcher] = set()
            with self._lock:
                for key in _addressees(event):
                    concerned |= self._index.get(key, set())
            for count, watcher in enumerate(concerned, 1):
                watcher.offer(event)
                if count % ABREAST == 0:
                    os.sched_yield()  # gives up the interpreter lock as well

    def _event(self, change: Transition) -> Event | None:
        old, new = change.old, change.new
        entry = new or old
        if entry is None:
            return None
        entries = tuple(version for version in (old, new) if version is not None)
        kind, extra = _describe(old, new)
        revision = change.revision

        def render() -> bytes:
            body = entry.json[:-1] + extra + b"}"
            return frame(
                kind, self.position(revision), self._data(kind, revision, body)
            )

        return Event(
            kind,
            revision,
            frozenset((change.id,)),
            change.capabilities,
            entries,
            render,
            self._clock.monotonic(),
        )

    def _data(self, kind: str, revision: int | None, data: bytes) -> bytes:
        return b'{"event":"%b","timestamp":"%b","revision":%b,"data":%b}' % (
            kind.encode(),
            rfc3339(self._clock.now()).encode(),
            schema.encode(revision),
            data,
        )


def _describe(old: Entry | None, new: Entry | None) -> tuple[Kind, bytes]:
    """Return what a change is, and the fields that it adds to the service's."""
    if old is None:
        return "service.registered", b""
    if new is None:
        return "service.unregistered", b""
    if old.registered_at != new.registered_at or old.status == new.status:
        return "service.updated", b""
    extra = {
        "old_status": old.status,
        "new_status": new.status,
        "reason": status.reason(new.service) or f"over: {status.reason(old.service)}",
    }
    return "service.status_changed", b"," + schema.encode(extra)[1:-1]


EVERYTHING = ("", "")


def _keys(interest: Interest) -> list[tuple[str, str]]:
    if interest.everything:
        return [EVERYTHING]
    return [("capability", name) for name in interest.capabilities] + [
        ("service", name) for name in interest.services
    ]


def _addressees(event: Event) -> list[tuple[str, str]]:
    return [
        EVERYTHING,
        *(("capability", name) for name in event.capabilities),
        *(("service", name) for name in event.services),
    ]
