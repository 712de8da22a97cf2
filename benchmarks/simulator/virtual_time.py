"""Time that passes from event to event, and the core that each replica has."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualTime:
    """A clock, and what happens when. What is due at the same time keeps its order."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return self._now

    def now(self) -> datetime:
        """Return the same as a moment."""
        return START + timedelta(seconds=self._now)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call at ``when`` (seconds), or now if that has passed."""
        heapq.heappush(self._events, (max(when, self._now), next(self._order), call))

    def run(self, until: float) -> None:
        """Let time pass to ``until``."""
        while self._events and self._events[0][0] <= until:
            self._now, _, call = heapq.heappop(self._events)
            call()
        self._now = until


class Core:
    """A processor core: one job after the other. ``used`` is in seconds."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self.free_at = 0.0
        self.used = 0.0

    def take(self, seconds: float) -> float:
        """Return when a job of so many seconds, given now, is done."""
        self.used += seconds
        self.free_at = max(self.free_at, self._time.monotonic()) + seconds
        return self.free_at
