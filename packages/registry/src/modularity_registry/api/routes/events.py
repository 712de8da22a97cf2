"""Streams of events, and reads that wait for a change."""

import random
import threading
from collections.abc import Iterator

from flask import Blueprint, Response, request

from modularity_registry.api import authorization, rate_limits, replies
from modularity_registry.api.query import Wait
from modularity_registry.catalog.selection import Filter
from modularity_registry.clock import Clock
from modularity_registry.events import Event, Hub, Interest, Watcher
from modularity_registry.runtime import Registry
from modularity_registry.serving import sockets
from modularity_registry.serving.forwarded import CONNECTED
from modularity_registry.telemetry.counters import Metrics

KEEP_ALIVE = 15.0
"""Seconds within which a silent stream sends a comment."""

COMMENT = b": still here\n\n"
RETRY = b"retry: 1000\n"

TOO_SLOW = "this reader was too slow; read the list again"
NOT_KNOWN = "events after that id are no longer kept; read the list again"


def routes(registry: Registry, keep_alive: float = KEEP_ALIVE) -> Blueprint:
    """Return ``/api/events``."""
    blueprint = Blueprint("watching", __name__, url_prefix="/api")
    hub = registry.hub

    @blueprint.get("/events")
    def events() -> Response:
        query = replies.query("capability", "service")
        interest = query.interest()
        query.finish()
        seen = request.headers.get("Last-Event-ID")
        after = _position(seen, hub.epoch) if seen else None
        watcher, missed = _watch(registry, interest, after)
        stream = Stream(registry, watcher, keep_alive)
        if seen is None:
            first = stream.connected(watcher.revision, [])
        elif after is None or missed is None:
            first = stream.connected(watcher.revision, [])
            first += stream.resync(watcher.revision, NOT_KNOWN)
        else:
            first = stream.connected(after, missed)
        response = Response(stream.chunks(first), content_type="text/event-stream")
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"  # or nginx would hold it back
        response.call_on_close(lambda: hub.leave(watcher))
        return response

    return blueprint


def _position(event_id: str, epoch: str) -> int | None:
    """Return the revision that an event's id names; None if it is not of this epoch."""
    event_epoch, _, revision = event_id.rpartition("-")
    if event_epoch != epoch or not revision.isascii() or not revision.isdecimal():
        return None
    return int(revision) if len(revision) < 19 else None


class Stream:
    """One caller's stream of events."""

    def __init__(self, registry: Registry, watcher: Watcher, keep_alive: float) -> None:
        self._hub: Hub = registry.hub
        self._clock: Clock = registry.clock
        self._metrics: Metrics = registry.metrics
        self._watcher = watcher
        self._keep_alive = keep_alive

    def connected(self, revision: int, missed: list[Event]) -> bytes:
        """Return the first frames: the revision, then the events that were missed."""
        data = {"epoch": self._hub.epoch}
        frames = [RETRY, self._hub.notice("connected", revision, data)]
        return b"".join((*frames, *(event.frame for event in missed)))

    def resync(self, revision: int, reason: str) -> bytes:
        """Return the event that tells the caller to read the list again.

        Events after ``revision`` follow, and a list read from now on is not older.
        """
        return self._hub.notice("resync", revision, {"reason": reason})

    def chunks(self, first: bytes) -> Iterator[bytes]:
        """Yield ``first``, then events as they happen, until either side ends it."""
        yield first
        watcher = self._watcher
        while not watcher.stopped:
            # Random, or streams opened together would send their comments together.
            patience = self._keep_alive * random.uniform(0.7, 1.0)
            events = watcher.take(patience)
            if watcher.lost:
                yield self.resync(self._hub.revision, TOO_SLOW)
                return
            if events:
                yield b"".join([event.frame for event in events])
                self._metrics.propagation.observe(
                    self._clock.monotonic() - events[0].at
                )
            elif not watcher.stopped:
                yield COMMENT


def wait_for_change(
    registry: Registry, wait: Wait | None, interest: Interest, selection: Filter
) -> None:
    """Return when a service that matches has changed, or the wait is over.

    Returns at once without ``wait``, or if the events since then are no longer kept.
    Raises `TooManyWatchers`, `TooManyWatchersOfClient`.
    """
    if wait is None or wait.seconds == 0:
        return
    clock, hub = registry.clock, registry.hub

    def relevant(events: list[Event]) -> bool:
        entries = (entry for event in events for entry in event.entries)
        return any(selection.matches(entry) for entry in entries)

    deadline = clock.monotonic() + wait.seconds
    watcher, missed = _watch(registry, interest, wait.revision)
    watcher.waits = True
    try:
        if missed is None or relevant(missed):
            return
        while not (watcher.lost or watcher.stopped):
            remaining = deadline - clock.monotonic()
            if remaining <= 0 or relevant(watcher.take(remaining)):
                return
    finally:
        hub.leave(watcher)


def _watch(
    registry: Registry, interest: Interest, after: int | None
) -> tuple[Watcher, list[Event] | None]:
    """As `Hub.watch`, for the caller of the current request."""
    caller = authorization.caller_of(request)
    # The address of the connection, which `AbandonedWaits` looks for.
    peer = request.environ.get(CONNECTED) or request.remote_addr or ""
    client = rate_limits.client_of(request.environ, caller)
    watcher, missed = registry.hub.watch(interest, after, peer, caller, client)
    if not registry.still_good(caller):
        watcher.stop()  # revoked in the moment between
    return watcher, missed


def dismiss(registry: Registry) -> None:
    """End the streams and waits of callers whose token is no longer valid."""
    for watcher in registry.hub.watching():
        if not registry.still_good(watcher.caller):
            watcher.stop()


class AbandonedWaits:
    """Ends the waits of readers that have closed their connection.

    A stream notices when it writes; a wait writes only at its end. The server does not
    say which connection a call came by, so this compares numbers: an address can't
    have more waiting readers than unanswered calls.
    """

    def __init__(self, registry: Registry, period: float = KEEP_ALIVE) -> None:
        self._registry = registry
        self._hub = registry.hub
        self._port = registry.settings.port
        self._period = period
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="abandoned-waits", daemon=True
        )

    def start(self) -> None:
        """Begin to check, once a period."""
        self._thread.start()

    def stop(self) -> None:
        """Stop checking. Idempotent."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            dismiss(self._registry)  # a token may have expired
            self.check()

    def check(self) -> None:
        """End the surplus waits of each address, the longest waiting first."""
        waiting: dict[str, list[Watcher]] = {}
        for watcher in self._hub.watching():
            if watcher.waits:
                waiting.setdefault(watcher.peer, []).append(watcher)
        if not waiting or not sockets.can_tell():
            return
        connections = sockets.connections(self._port)
        for peer, watchers in waiting.items():
            unanswered = sum(
                _unanswered(connection, peer) for connection in connections
            )
            surplus = len(watchers) - unanswered
            watchers.sort(key=lambda watcher: watcher.started)
            for watcher in watchers[: max(0, surplus)]:
                watcher.stop()


def _unanswered(connection: sockets.Connection, peer: str) -> bool:
    silent = connection.last_sent <= connection.last_received
    return connection.peer == peer and silent and not connection.ended
