"""The part itself: sources of resources, and the two ways by which they are had."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from modularity_registry.events import CHANGES, Listener
from modularity_registry.events.interest import Interest
from modularity_registry.events.listener import Batch
from modularity_registry.integrations import Integration
from modularity_registry.integrations.envoy.delivery.grpc_server import XdsServer
from modularity_registry.integrations.envoy.delivery.rest import RestApplication
from modularity_registry.integrations.envoy.nodes import Nodes
from modularity_registry.integrations.envoy.resources.catalog_source import (
    CatalogSource,
)
from modularity_registry.integrations.envoy.resources.places import HostNames
from modularity_registry.integrations.envoy.resources.source import Source, Sources
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup
from modularity_registry.runtime import Registry

CLIENT = "the integration envoy"


class Envoy(Integration):
    """Tells Envoys and gRPC clients where services are, by xDS v3."""

    def __init__(self, registry: Registry) -> None:
        """Return it, not started."""
        self._registry = registry
        policy = AddressPolicy.parse(registry.settings.allowed_networks)
        self._catalog = CatalogSource(
            registry.catalog, partial(HostNames, policy, NameLookup())
        )
        self._sources = Sources([self._catalog])
        self._nodes = Nodes(registry.clock)
        self._listener = _Listener(self._catalog)
        self._server = None
        if registry.settings.xds_port:
            self._server = XdsServer(registry, self._sources, self._nodes)
        self.applications = [RestApplication(self._sources, self._nodes)]

    @property
    def catalog(self) -> CatalogSource:
        """The source of what the catalog holds, for those that add to it."""
        return self._catalog

    def add_source(self, source: Source) -> None:
        """Add resources of another part; of two with the same name, its own count."""
        self._sources.add_first(source)

    async def start(self) -> None:
        self._registry.hub.watch(self._listener, Interest(kinds=CHANGES))
        await self._catalog.start()
        if self._server is not None:
            await self._server.start()

    async def stop(self) -> None:
        self._registry.hub.leave(self._listener)
        await self._catalog.stop()
        if self._server is not None:
            await self._server.stop()

    def statistics(self) -> Mapping[str, Any]:
        return self._nodes.statistics()


class _Listener(Listener):
    """Hears of all changes, and hands them to the source."""

    __slots__ = ("_catalog",)

    def __init__(self, catalog: CatalogSource) -> None:
        super().__init__(client=CLIENT)
        self._catalog = catalog

    def hear(self, batch: Batch) -> None:
        if batch.lost:
            self._catalog.note(None)
        for event in batch.events:
            self._catalog.note(event.capabilities)

    def end(self) -> None:
        """Nothing more to do: it ends with the registry."""
