"""The content of the live view: services, latest events, state of the connection.

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
"""How many of the latest events are kept."""

CONNECTING: Final = "connecting"
"""The fault until the first connection."""

RANKS: Final = {"unhealthy": 0, "warning": 1, "draining": 2}
"""The order of the services: those that need attention come first."""


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event as a line of text, and the status that it leads to."""

    text: str
    status: str


@dataclass(frozen=True, slots=True)
class ViewContent:
    """What to draw at one moment.

    ``fault`` is why there is no connection, ``silent`` for how many seconds; both are
    empty while the view is live.
    """

    services: tuple["Service", ...]
    events: tuple[EventLine, ...]
    counts: Counter[str]
    calls: int
    revision: int | None
    fault: str
    silent: float


class WatchView:
    """The state of the view; ``matches`` says which services it shows."""

    def __init__(
        self,
        matches: Callable[["Service"], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._matches = matches
        self._clock = clock
        self._lock = threading.Lock()
        self._services: dict[str, Service] = {}
        self._events: deque[EventLine] = deque(maxlen=KEPT)
        self._calls = 0
        self._revision: int | None = None
        self._fault = CONNECTING
        self._since = clock()

    def load(self, services: Iterable["Service"], revision: int) -> None:
        """Replace all services by those of a list; the view is live from here on."""
        with self._lock:
            self._services = {
                service.id: service for service in services if self._matches(service)
            }
            self._revision = revision
            self._fault = ""

    def set_fault(self, reason: str) -> None:
        """Note that there is no connection; the services stay."""
        with self._lock:
            if not self._fault:
                self._since = self._clock()
            self._fault = reason

    def add_event(self, event: Event) -> None:
        """Add an event; one older than the list changes no service."""
        with self._lock:
            if event.type == "capability.invoked":
                self._calls += 1
                return
            status = event.data.get("new_status", "")
            self._events.append(EventLine(event_lines.line(event), str(status)))
            service, revision = event.service, event.revision or 0
            if service is None or revision <= (self._revision or 0):
                return
            self._revision = revision
            if event.type == "service.unregistered" or not self._matches(service):
                self._services.pop(service.id, None)
            else:
                self._services[service.id] = service

    def content(self) -> ViewContent:
        """Return what to draw: services by status and id, the latest event first."""
        with self._lock:
            services = sorted(
                self._services.values(),
                key=lambda service: (RANKS.get(service.status, 3), service.id),
            )
            return ViewContent(
                tuple(services),
                tuple(reversed(self._events)),
                Counter(service.status for service in services),
                self._calls,
                self._revision,
                self._fault,
                self._clock() - self._since if self._fault else 0.0,
            )
