"""Traefik: its dynamic configuration, made from the catalog, for its HTTP provider."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from modularity_registry.api.route_policy import Cost
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.config import DEFAULT_NAMESPACE, Settings
from modularity_registry.integrations import Integration
from modularity_registry.integrations.http import Application, Call, Reply, Route
from modularity_registry.integrations.http.application import Arguments
from modularity_registry.integrations.traefik.configuration import configuration
from modularity_registry.integrations.traefik.providers import ProviderCache
from modularity_registry.integrations.traefik.query import Query
from modularity_registry.runtime import Registry
from modularity_registry.serving.head import Environ

PREFIX: Final = "/api/traefik/"

MOST_KEPT: Final = 16
"""So many configurations of a namespace are kept, one for each query."""


def check(settings: Settings) -> None:
    """Raise nothing: it needs no library and no other setting."""


def create(registry: Registry) -> "Traefik":
    """Return the integration, not started."""
    return Traefik(registry)


class Traefik(Integration):
    """Answers ``GET /api/traefik/configuration``."""

    def __init__(self, registry: Registry) -> None:
        self._configurations = {
            name: Configurations(one.catalog) for name, one in registry.by_name.items()
        }
        route = Route("GET", f"{PREFIX}configuration", self._answer, cost=Cost.READ)
        self.applications = (TraefikApplication((PREFIX,), (route,)),)

    async def _answer(self, call: Call) -> Reply:
        query = Query.parse(call.arguments)
        namespace = call.registry.namespace or DEFAULT_NAMESPACE
        # Without an ETag: Traefik takes a 304 for an error.
        return Reply(200, await self._configurations[namespace].get(query))

    def statistics(self) -> Mapping[str, Any]:
        """Return how many configurations were made since the start."""
        made = sum(one.made for one in self._configurations.values())
        return {"configurations_made": made}


class TraefikApplication(Application):
    """Takes the namespace from the query."""

    def namespace(self, environ: Environ, arguments: Arguments) -> str:
        """Return the argument ``namespace``, by default the default one."""
        names = [value for name, value in arguments if name == "namespace"]
        return names[0] if names else DEFAULT_NAMESPACE


class Configurations:
    """The configurations of one namespace, each made again only after a change.

    One is made at a time: more callers than one never cost more than one.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.made = 0
        self._catalog = catalog
        self._providers = ProviderCache()
        self._kept: dict[Query, tuple[object, bytes]] = {}
        self._lock = asyncio.Lock()

    async def get(self, query: Query) -> bytes:
        """Return the configuration as JSON: the same bytes until it changes."""
        async with self._lock:
            stamp = self._stamp()
            kept = self._kept.pop(query, None)
            if kept is None or kept[0] != stamp:
                await self._providers.update(self._catalog)
                body = await configuration(self._catalog, self._providers, query)
                kept = stamp, body
                self.made += 1
            self._kept[query] = kept
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            return kept[1]

    def _stamp(self) -> object:
        """Return what changes with the catalog.

        While only some changes of a revision are there, that differs from later.
        """
        catalog = self._catalog
        whole = catalog.revision >= catalog.changed
        return catalog.changed, catalog.splits_changed, whole
