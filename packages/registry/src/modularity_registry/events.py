"""What has changed, as events: a bounded history, and whoever waits for the next one.

A change is published in the writer's thread, which only notes it. Watchers whom it
concerns are woken by a thread of its own, each event rendered once for all of them.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Literal

from modularity_registry import rules, wire
from modularity_registry.catalog import Transition
from modularity_registry.clock import Clock, rfc3339
from modularity_registry.entry import Entry
from modularity_registry.errors import TooManyWatchers
from modularity_registry.wire import Invocation

Kind = Literal[
    "service.registered",
    "service.updated",
    "service.unregistered",
    "service.status_changed",
    "capability.invoked",
]

HISTORY = 10_000
"""So many events can be resumed from; about 2 KB each while they are kept."""

ABREAST = 8
"""So many watchers are woken before they get their turn.

All at once, they stood in each other's way: each thread that waits for the
interpreter lock is woken every 5 ms to ask for it. With 2,000 watchers it took 527 ms
until the last but 1% had a change, in eights 75 ms.
"""

QUEUE = 1_000
"""A watcher that is this many events behind is dropped: it must read anew."""


class Event:
    """One change. ``number`` orders all events of this process.

    ``at`` (seconds, monotonic) is when it was accepted. Events of ``revision`` None
    are told to who is there and not kept.
    """

    __slots__ = (
        "_frame",
        "_render",
        "at",
        "capabilities",
        "entries",
        "kind",
        "number",
        "revision",
        "services",
    )

    def __init__(
        self,
        kind: Kind,
        revision: int | None,
        services: frozenset[str],
        capabilities: frozenset[str],
        entries: tuple[Entry, ...],
        render: Callable[[], bytes],
        at: float,
    ) -> None:
        self.number = 0
        self.kind = kind
        self.revision = revision
        self.services = services
        self.capabilities = capabilities
        self.entries = entries
        self.at = at
        self._render = render
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The event as it goes over the line, rendered once for all watchers."""
        if self._frame is None:
            self._frame = self._render()
        return self._frame


def frame(kind: str, position: str | None, data: bytes) -> bytes:
    """Return a Server-Sent Event; ``data`` is one line of JSON."""
    head = b"id: %b\n" % position.encode() if position else b""
    return b"%bevent: %b\ndata: %b\n\n" % (head, kind.encode(), data)


@dataclass(frozen=True, slots=True)
class Interest:
    """Whom a watcher wants to hear of: any of these; everybody where both are empty."""

    capabilities: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.capabilities and not self.services

    def concerns(self, event: Event) -> bool:
        """Say whether the event is of interest."""
        return (
            self.everything
            or not self.capabilities.isdisjoint(event.capabilities)
            or not self.services.isdisjoint(event.services)
        )


class Watcher:
    """One who waits. ``take`` is for its own thread, the rest for the hub's.

    It hears of everything after ``revision``. ``peer`` is its address, ``started``
    (seconds, monotonic) when it came; ``waits`` tells one who waits for a single
    answer from one who reads a stream.
    """

    __slots__ = (
        "_after",
        "_queue",
        "interest",
        "lost",
        "peer",
        "revision",
        "started",
        "stopped",
        "waits",
    )

    def __init__(
        self, interest: Interest, after: int, revision: int, peer: str, now: float
    ) -> None:
        self.interest = interest
        self.revision = revision
        self.peer = peer
        self.started = now
        self.waits = False
        self.lost = False
        self.stopped = False
        self._after = after
        self._queue: SimpleQueue[Event | None] = SimpleQueue()

    def take(self, timeout: float) -> list[Event]:
        """Return the events that have come, at least one unless the time was up.

        Look at ``lost`` (it was too slow, events are missing from here on) and
        ``stopped`` (nothing will come any more) after an answer.
        """
        queue = self._queue
        try:
            found = [queue.get(timeout=max(0.0, timeout))]
        except Empty:
            return []
        found += [queue.get() for _ in range(queue.qsize())]
        return [event for event in found if event is not None]

    def offer(self, event: Event) -> None:
        """Queue an event that concerns this watcher, unless it has it already."""
        if event.number <= self._after or self.lost:
            return
        self._after = event.number
        if self._queue.qsize() >= QUEUE:
            self.lose()
        else:
            self._queue.put(event)

    def lose(self) -> None:
        """Have the watcher told that events are missing."""
        self.lost = True
        self._queue.put(None)

    def stop(self) -> None:
        """Wake the watcher for the last time."""
        self.stopped = True
        self._queue.put(None)


class Hub:
    """All watchers of this process, and the events they may have missed."""

    def __init__(self, clock: Clock, epoch: Callable[[], str], places: int) -> None:
        self.epoch = epoch()
        self._read_epoch = epoch
        self.places = places
        self._revision = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._history: deque[Event] = deque(maxlen=HISTORY)
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
            return frame(kind, None, self._data(kind, None, wire.encode(call)))

        services = frozenset((call.consumer_id, call.provider_id))
        capabilities = frozenset((call.capability,))
        now = self._clock.monotonic()
        self._publish(Event(kind, None, services, capabilities, (), render, now))

    def watch(
        self, interest: Interest, after: int | None = None, peer: str = ""
    ) -> tuple[Watcher, list[Event] | None]:
        """Return a watcher, and the events of interest that came after a revision.

        None in place of these when they are not known: some are forgotten, or the
        revision is one that has not been reached. Raises `TooManyWatchers`. To be
        given back with `leave`.
        """
        with self._lock:
            if len(self._watchers) >= self.places:
                raise TooManyWatchers(
                    f"all {self.places} places for watchers are taken; try again later"
                )
            now = self._clock.monotonic()
            watcher = Watcher(interest, self._number, self._revision, peer, now)
            self._watchers.add(watcher)
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
            self._watchers.discard(watcher)
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
        body = self._data(kind, revision, wire.encode(data))
        return frame(kind, self.position(revision), body)

    def _since(self, revision: int) -> list[Event] | None:
        forgotten = self._forgotten
        if forgotten is None or not forgotten <= revision <= self._revision:
            return None
        found = []
        for event in reversed(self._history):
            if event.revision is not None and event.revision <= revision:
                break
            found.append(event)
        return found[::-1]

    def _publish(self, event: Event) -> None:
        with self._lock:
            self._number += 1
            event.number = self._number
            if event.revision is not None:
                if len(self._history) == HISTORY:
                    self._forgotten = self._history[0].revision
                self._history.append(event)
                self._revision = event.revision
            if any(key in self._index for key in _addressees(event)):
                # In here, so that events leave in the order of their numbers.
                self._outbox.put(event)

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
        shown = new or old
        if shown is None:
            return None
        entries = tuple(each for each in (old, new) if each is not None)
        kind, extra = _describe(old, new)
        revision = change.revision

        def render() -> bytes:
            body = shown.json[:-1] + extra + b"}"
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
            wire.encode(revision),
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
        "reason": rules.reason(new.service) or f"over: {rules.reason(old.service)}",
    }
    return "service.status_changed", b"," + wire.encode(extra)[1:-1]


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
