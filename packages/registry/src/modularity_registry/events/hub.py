"""Tells everyone who listens what has happened.

All of it runs on the event loop's thread, but for `Hub.invoked`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from modularity_registry import schema
from modularity_registry.catalog.catalog import Transition
from modularity_registry.catalog.splits import SplitChange
from modularity_registry.clock import Clock, rfc3339
from modularity_registry.events.event import (
    CallEvent,
    ChangeEvent,
    Event,
    KeptEvent,
    SplitEvent,
)
from modularity_registry.events.groups import Groups
from modularity_registry.events.history import History
from modularity_registry.events.interest import Interest
from modularity_registry.events.listener import Batch, Group, Listener
from modularity_registry.events.places import WatcherPlaces
from modularity_registry.events.position import Position
from modularity_registry.events.slices import Slices
from modularity_registry.model.rights import Caller
from modularity_registry.schema import Invocation

log = logging.getLogger(__name__)

KEEP_ALIVE = 15.0
"""Seconds between two signs of life to a listener."""

TURNS = 60
"""Keep-alives are spread over so many moments of that time."""

CATCH_UP_BYTES = 256 * 1024
"""About so much of what it missed is told to a listener at once."""

CATCH_UP_PAUSE = 0.02
"""Seconds until those who could not take more are tried again."""

COMMENT = b": still here\n"
FORGOTTEN = "events from here on are no longer kept; read the list again"
RELOADED = "the registry has read its store again; read the list again"


class Hub:
    """The listeners of this process, and the events they may have missed.

    ``revision`` is the last one whose changes were all published. An event is handed
    to the groups of listeners whom it concerns. Those hear of it in slices of time,
    each of them of everything in order.
    """

    def __init__(
        self,
        clock: Clock,
        epoch: Callable[[], str],
        places: WatcherPlaces,
        holds: Callable[[Caller], bool] = lambda caller: True,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        """Return it; ``holds`` says whether a caller may still listen."""
        self.epoch = epoch()
        self.revision = 0
        self.places = places
        self.stopped = False
        self._read_epoch = epoch
        self._clock = clock
        self._holds = holds
        self._keep_alive = keep_alive
        self._loop: asyncio.AbstractEventLoop | None = None
        self._position = Position(0)
        self._place = 0
        self._number = 0
        self._history = History()
        self._groups = Groups()
        self._turns: list[set[Listener]] = [set() for _ in range(TURNS)]
        self._joined = 0
        self._count = 0
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._behind: dict[Listener, Position] = {}
        self._catching_up = False
        self._new: deque[Event] = deque()
        self._jobs: deque[Iterator[None]] = deque()
        self._slices = Slices(self._work, clock.monotonic)

    def __len__(self) -> int:
        return self._count

    # What happens

    def changed(self, change: Transition) -> None:
        """Publish a change of the catalog."""
        revision = change.revision
        if change.old is None and change.new is None:
            self.advanced(revision)
            return
        self._begin(revision)
        now = self._clock.monotonic()
        self._keep(ChangeEvent(self._number, now, change, self._place))
        if change.last:
            self.revision = revision

    def split_changed(self, change: SplitChange) -> None:
        """Publish a change of a split; `advanced` completes its revision."""
        self._begin(change.revision)
        now = self._clock.monotonic()
        self._keep(SplitEvent(self._number, now, change, self._place))

    def _begin(self, revision: int) -> None:
        """Number the next change, which is one of ``revision``."""
        self._place = self._place + 1 if revision == self._position.revision else 1
        self._number += 1

    def _keep(self, event: KeptEvent) -> None:
        self._history.add(event)
        self._position = event.position
        if self._groups.changes:
            self._publish(event)

    def advanced(self, revision: int) -> None:
        """Note that nothing more happened up to ``revision``."""
        self._position = Position(revision)
        self.revision = revision

    def reloaded(self, changes: Collection[Transition], revision: int) -> None:
        """Forget all history: what came before ``revision`` may have gone by unseen."""
        self.epoch = self._read_epoch()
        self.advanced(revision)
        self._history.restart(self._position)
        self._slices.abandon()
        self._new.clear()
        self._jobs.clear()
        self._groups.drop_pending()
        while self._behind:
            self._join(self._behind.popitem()[0])
        self._catching_up = False
        if self._count:
            self._run(self._tell(self._resync(RELOADED), self._listeners()))

    def invoked(self, *calls: Invocation) -> None:
        """Tell of calls that services made to others. From any thread."""
        if calls and self._groups.calls and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and with it all streams
                self._loop.call_soon_threadsafe(self._called, calls)

    def _called(self, calls: Sequence[Invocation]) -> None:
        if self._groups.calls:
            now = self._clock.monotonic()
            for call in calls:
                self._number += 1
                self._publish(CallEvent(self._number, now, call))

    def _publish(self, event: Event) -> None:
        self._new.append(event)
        self._slices.wake()

    # Who listens

    def watch(
        self, listener: Listener, interest: Interest, after: Position | None = None
    ) -> None:
        """Tell a listener of what comes, or of all that came ``after`` a position.

        That position must be one that the hub `knows`. To be ended with `leave`. Raises
        `TooManyWatchers` or `TooManyWatchersOfClient`.
        """
        self.places.require(listener.client)
        self.places.take(listener.client)
        self._loop = asyncio.get_running_loop()
        listener.interest = interest
        listener.turn = self._joined % TURNS
        self._joined += 1
        self._turns[listener.turn].add(listener)
        self._count += 1
        if self._timer is None:
            self._timer = self._loop.call_later(self._keep_alive / TURNS, self._tick)
        if self.stopped or not self._holds(listener.caller):
            self._loop.call_soon(listener.end)
        elif after is None or after == self._position:
            self._join(listener)
        else:
            self._behind[listener] = after
            self._catch_up_soon()

    def leave(self, listener: Listener) -> None:
        """Give up a listener's place. Idempotent."""
        turn = self._turns[listener.turn]
        if listener in turn:
            turn.remove(listener)
            self._count -= 1
            self._behind.pop(listener, None)
            self._groups.leave(listener)
            self.places.free(listener.client)

    def knows(self, position: Position) -> bool:
        """Say whether it can tell what came after a position."""
        start = self._history.start
        return start is not None and start <= position <= self._position

    def dismiss(self) -> None:
        """End all who may not listen any more: some token has changed."""
        if self._count:
            self._run(self._end_dismissed(self._listeners()))

    def stop(self) -> None:
        """End all listeners, and those that are still to come. Idempotent."""
        self.stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for listener in self._listeners():
            listener.end()

    @property
    def position(self) -> Position:
        """After what a listener hears who comes now."""
        return self._position

    def age(self, event: Event) -> float:
        """Return how long ago an event was published, in seconds."""
        return self._clock.monotonic() - event.at

    def notice(self, kind: str, position: Position, data: dict[str, Any]) -> bytes:
        """Return an event of the stream's own, such as `connected` or `resync`."""
        now = self._clock.monotonic()
        return self._frame(kind, position, self.revision, now, schema.encode(data))

    # How they are told

    def _listeners(self) -> list[Listener]:
        return [listener for turn in self._turns for listener in turn]

    def _join(self, listener: Listener) -> None:
        self._groups.join(listener, self._number, quiet=not self._new)

    def _run(self, job: Iterator[None]) -> None:
        self._jobs.append(job)
        self._slices.wake()

    def _work(self) -> Iterator[None]:
        while self._new or self._jobs:
            yield from self._deliver()
            for _ in range(len(self._jobs)):
                yield from self._jobs.popleft()

    def _deliver(self) -> Iterator[None]:
        """Hand all events to the groups, then tell each group all that it got."""
        groups: dict[Group, None] = {}
        while self._new:
            event = self._new.popleft()
            for group in self._groups.find(event):
                group.pending.append(event)
                groups[group] = None
            yield
        for group in groups:
            events, group.pending = group.pending, []
            yield from self._tell(self._batch(events), list(group.members))

    def _tell(self, batch: Batch, listeners: Iterable[Listener]) -> Iterator[None]:
        for listener in listeners:
            try:
                listener.hear(batch)
            except Exception:
                log.exception("a listener failed")
                with suppress(Exception):
                    listener.end()
                self.leave(listener)
            yield

    def _batch(self, events: Sequence[Event]) -> Batch:
        return Batch(lambda: b"".join(map(self._frame_of, events)), events)

    def _resync(self, reason: str) -> Batch:
        text = self.notice("resync", self._position, {"reason": reason})
        return Batch(lambda: text, lost=True)

    def _catch_up_soon(self) -> None:
        if not self._catching_up:
            self._catching_up = True
            self._run(self._catch_up())

    def _catch_up(self) -> Iterator[None]:
        """Tell each who is behind some of what it missed, if it can take that."""
        self._catching_up = False
        stalled = True
        for listener in list(self._behind):
            if listener in self._behind and not listener.is_full:
                stalled = False
                yield from self._tell_missed(listener)
        if self._behind and stalled and self._loop is not None:
            self._loop.call_later(CATCH_UP_PAUSE, self._catch_up_soon)
        elif self._behind:
            self._catch_up_soon()

    def _tell_missed(self, listener: Listener) -> Iterator[None]:
        events = self._history.after(self._behind[listener], CATCH_UP_BYTES)
        if events:
            self._behind[listener] = events[-1].position
            concerned = [e for e in events if listener.interest.concerns(e)]
            batch = self._batch(concerned) if concerned else None
        else:
            del self._behind[listener]
            self._join(listener)
            batch = self._resync(FORGOTTEN) if events is None else None
        if batch is not None:
            yield from self._tell(batch, [listener])

    def _tick(self) -> None:
        """Have the next of the turns kept alive."""
        self._timer = None
        if self._count and not self.stopped and self._loop is not None:
            self._timer = self._loop.call_later(self._keep_alive / TURNS, self._tick)
            self._turn = (self._turn + 1) % TURNS
            listeners = list(self._turns[self._turn])
            self._run(self._keep_turn_alive(listeners))

    def _keep_turn_alive(self, listeners: list[Listener]) -> Iterator[None]:
        text = COMMENT + b"\n"
        if not self._new:
            # All that came up to here has been told.
            text = b"%bid: %b\n\n" % (COMMENT, self._position.id(self.epoch).encode())
        yield from self._end_dismissed(listeners)
        there = [each for each in listeners if each not in self._behind]
        yield from self._tell(Batch(lambda: text), there)

    def _end_dismissed(self, listeners: list[Listener]) -> Iterator[None]:
        for listener in listeners:
            if not self._holds(listener.caller):
                listener.end()
            yield

    def _frame_of(self, event: Event) -> bytes:
        """Return the event as it goes over the line, rendered once for all."""
        if event.frame is None:
            event.frame = self._frame(
                event.kind, event.position, event.revision, event.at, event.body
            )
        return event.frame

    def _frame(
        self,
        kind: str,
        position: Position | None,
        revision: int | None,
        at: float,
        data: bytes,
    ) -> bytes:
        since = timedelta(seconds=self._clock.monotonic() - at)
        timestamp = rfc3339(self._clock.now() - since)
        head = b"id: %b\n" % position.id(self.epoch).encode() if position else b""
        return (
            b"%bevent: %b\n"
            b'data: {"event":"%b","timestamp":"%b","revision":%b,"data":%b}\n\n'
        ) % (
            head,
            kind.encode(),
            kind.encode(),
            timestamp.encode(),
            schema.encode(revision),
            data,
        )
