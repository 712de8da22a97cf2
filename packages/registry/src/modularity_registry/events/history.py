"""The latest changes, for those who come back."""

from bisect import bisect_right
from collections import deque
from itertools import islice

from modularity_registry.events.event import KeptEvent
from modularity_registry.events.position import Position

MAX_EVENTS = 10_000
"""So many changes can be resumed from; about 2 KB each while they are kept."""

MAX_BYTES = 128 * 1024 * 1024
"""And of so many bytes, for services whose metadata is as large as it may be."""


class History:
    """Changes in their order, all after ``start``; nothing is known without a start."""

    def __init__(self) -> None:
        self.start: Position | None = None
        self._events: deque[KeptEvent] = deque()
        self._size = 0

    def add(self, event: KeptEvent) -> None:
        """Keep an event, and forget the oldest ones if there are too many."""
        self._events.append(event)
        self._size += event.size
        while len(self._events) > MAX_EVENTS or self._size > MAX_BYTES:
            oldest = self._events.popleft()
            self._size -= oldest.size
            self.start = oldest.position

    def restart(self, start: Position) -> None:
        """Forget everything: what came before ``start`` is not known."""
        self._events.clear()
        self._size = 0
        self.start = start

    def after(self, position: Position, size: int) -> list[KeptEvent] | None:
        """Return the next events after a position, one at least, about ``size`` bytes.

        Empty when there are none; None when some of them are forgotten.
        """
        if self.start is None or position < self.start:
            return None
        first = bisect_right(self._events, position, key=lambda event: event.position)
        events: list[KeptEvent] = []
        for event in islice(self._events, first, None):
            events.append(event)
            size -= event.size
            if size <= 0:
                break
        return events
