"""What a live view shows: the services, the latest events, how the line stands.

The thread that follows the registry writes it, the one that draws reads it.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from modularity_client import Event, Service
from modularity_registry.cli.watch import event_lines

KEPT: Final = 200
"""So many of the latest events are kept for a tall window."""

CONNECTING: Final = "connecting"
"""The fault of a line that has not been there yet, and of which nothing is known."""

RANKS: Final = {"unhealthy": 0, "draining": 1}
"""Where there is no room for all: those that want to be looked at come first."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event as a line, and the status that it leads to."""

    line: str
    status: str


@dataclass(frozen=True, slots=True)
class ViewContent:
    """All that there is to draw, of one moment.

    ``fault`` is why there is no connection, ``silent`` for how many seconds there has
    been none; both empty while the view is live.
    """

    services: tuple["Service", ...]
    events: tuple[Told, ...]
    counts: Counter[str]
    calls: int
    revision: int | None
    fault: str
    silent: float


class WatchView:
    """The state of a view; ``wanted`` says which services belong to it."""

    def __init__(
        self,
        wanted: Callable[["Service"], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted = wanted
        self._clock = clock
        self._lock = threading.Lock()
        self._services: dict[str, Service] = {}
        self._events: deque[Told] = deque(maxlen=KEPT)
        self._calls = 0
        self._revision: int | None = None
        self._fault = CONNECTING
        self._since = clock()

    def load(self, services: Iterable["Service"], revision: int) -> None:
        """Take a list in place of what was known; from here on the view is live."""
        with self._lock:
            self._services = {each.id: each for each in services if self._wanted(each)}
            self._revision = revision
            self._fault = ""

    def lost(self, reason: str) -> None:
        """Note that there is no connection; what was known stays to be seen."""
        with self._lock:
            if not self._fault:
                self._since = self._clock()
            self._fault = reason

    def take(self, event: Event) -> None:
        """Take one event; one that the list already held changes no service."""
        with self._lock:
            if event.type == "capability.invoked":
                self._calls += 1
                return
            status = event.data.get("new_status", "")
            self._events.append(Told(event_lines.line(event), str(status)))
            service, revision = event.service, event.revision or 0
            if service is None or revision <= (self._revision or 0):
                return
            self._revision = revision
            if event.type == "service.unregistered" or not self._wanted(service):
                self._services.pop(service.id, None)
            else:
                self._services[service.id] = service

    def view(self) -> ViewContent:
        """Return what to draw: services by need and id, the latest event first."""
        with self._lock:
            services = sorted(
                self._services.values(),
                key=lambda each: (RANKS.get(each.status, 2), each.id),
            )
            return ViewContent(
                tuple(services),
                tuple(reversed(self._events)),
                Counter(each.status for each in services),
                self._calls,
                self._revision,
                self._fault,
                self._clock() - self._since if self._fault else 0.0,
            )
