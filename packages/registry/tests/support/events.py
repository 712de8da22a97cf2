"""A hub over a catalog that tests change by hand, and what listens to it."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from modularity_registry import schema
from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog, StoredService
from modularity_registry.catalog.entry import Renderer
from modularity_registry.config import Settings
from modularity_registry.events import Batch, Event, Hub, Listener, WatcherPlaces
from modularity_registry.model.rights import OPEN, Caller
from modularity_registry.model.service import Fault, Service
from support.registry import ManualClock, registration

EPOCH = "epoch"


class Changes:
    """Changes a catalog, and tells ``hub`` as the feed would."""

    def __init__(
        self,
        places: int = 50,
        each: int = 0,
        holds: Callable[[Caller], bool] = lambda caller: True,
        keep_alive: float = 15.0,
    ) -> None:
        self.clock = ManualClock()
        self.epoch = EPOCH
        self.hub = Hub(
            self.clock,
            lambda: self.epoch,
            WatcherPlaces("watchers", places, each, clock=self.clock.monotonic),
            holds,
            keep_alive,
        )
        self.catalog = Catalog(Renderer(Settings().check_defaults), self.clock)
        self.hub.reloaded([], 0)
        self.revision = 0

    def register(
        self, service_id: str, *capabilities: str, last: bool = True, **changes: Any
    ) -> int:
        """Register a service, or replace it; ``last`` in its revision, or not."""
        changes["capabilities"] = list(capabilities) or ["greet"]
        body = registration(service_id, **{"mode": "standalone", **changes})
        parsed = schema.parse_registration(schema.encode(body))
        now = self.clock.now()
        return self._put(Service(parsed, now, now), last)

    def fail(self, service_id: str, *reasons: str) -> int:
        """Give a service these faults, in place of those that it has."""
        faults = tuple(Fault("check", each, self.clock.now()) for each in reasons)
        service = self.catalog.require(service_id).service
        return self._put(msgspec.structs.replace(service, faults=faults))

    def unregister(self, service_id: str) -> int:
        self.revision += 1
        self.hub.changed(self.catalog.apply(service_id, None, self.revision))
        return self.revision

    def _put(self, service: Service, last: bool = True) -> int:
        revision = self.revision + 1
        self.revision = revision if last else self.revision
        stored = StoredService(service, documents.encode(service), revision)
        change = self.catalog.apply(service.registration.id, stored, revision)
        self.hub.changed(msgspec.structs.replace(change, last=last))
        return revision


class Recorder(Listener):
    """Keeps what it hears; ``full`` while it takes nothing of what it missed."""

    def __init__(self, caller: Caller = OPEN, client: str = "") -> None:
        super().__init__(caller, client)
        self.batches: list[Batch] = []
        self.full = False
        self.ended = False

    @property
    def is_full(self) -> bool:
        return self.full

    def hear(self, batch: Batch) -> None:
        self.batches.append(batch)

    def end(self) -> None:
        self.ended = True

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch.events]

    @property
    def revisions(self) -> list[int | None]:
        return [event.revision for event in self.events]

    @property
    def lost(self) -> bool:
        return any(batch.lost for batch in self.batches)


def frames(text: bytes) -> list[dict[str, Any]]:
    """Return the Server-Sent Events in a text: their data, with ``id``.

    One without data has an ``id`` alone, or nothing.
    """
    found = []
    for block in text.decode().split("\n\n")[:-1]:
        lines = [line for line in block.splitlines() if not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        data = json.loads(fields.get("data", "{}"))
        assert data.get("event") == fields.get("event")
        found.append({**data, **({"id": fields["id"]} if "id" in fields else {})})
    return found
