"""Consul's HTTP API: programs written for Consul find services here.

Its agent, catalog, health and status, as Consul 1.8 answers them. No key/value store,
no sessions and no service mesh.
"""

from collections.abc import Mapping
from typing import Any

from modularity_registry.config import Settings
from modularity_registry.integrations import Integration
from modularity_registry.integrations.consul.application import ConsulApplication
from modularity_registry.integrations.consul.departures import Departures
from modularity_registry.integrations.consul.node import Node
from modularity_registry.integrations.consul.tracker import Tracker
from modularity_registry.runtime import Registry


def check(settings: Settings) -> None:
    """Return: there is nothing that it could lack."""


def create(registry: Registry) -> Integration:
    """Return the API, not started."""
    return Consul(registry)


class Consul(Integration):
    """The API, and what follows the catalogs for it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._trackers: dict[str | None, Tracker] = {}
        self._departures: list[Departures] = []
        node = Node.of(registry.settings)
        self._application = ConsulApplication(node, self._trackers)
        self.applications = (self._application,)

    async def start(self) -> None:
        """Follow the catalogs of all namespaces."""
        for registry in self._registry.all_namespaces:
            tracker = Tracker(registry.catalog)
            registry.feed.listen(tracker)
            self._trackers[registry.namespace] = tracker
            departures = Departures(registry, tracker)
            departures.start()
            self._departures.append(departures)

    async def stop(self) -> None:
        """Stop unregistering services. Idempotent."""
        for departures in self._departures:
            await departures.stop()

    def statistics(self) -> Mapping[str, Any]:
        """Return how much is kept, and how many services were unregistered."""
        return {
            "kept_bytes": self._application.reads.lists.bytes,
            "unregistered": sum(each.unregistered for each in self._departures),
        }
