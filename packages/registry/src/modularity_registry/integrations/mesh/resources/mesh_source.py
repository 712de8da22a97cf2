"""The resources of nodes that are sidecars with mutual TLS."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.node import Node
from modularity_registry.integrations.envoy.resources.catalog_source import (
    CatalogSource,
)
from modularity_registry.integrations.envoy.resources.source import (
    Resource,
    Tell,
    resource,
)
from modularity_registry.integrations.mesh.authority.view import AuthorityView
from modularity_registry.integrations.mesh.intentions import Intentions
from modularity_registry.integrations.mesh.resources import inbound, tls
from modularity_registry.integrations.mesh.resources.permissions import policy
from modularity_registry.integrations.mesh.resources.sidecar import Sidecar, sidecar_of
from modularity_registry.model.sidecar import INBOUND

MOST_ROUTES = 1024
"""So many sets of capabilities have their routes remembered."""


class MeshSource:
    """What sidecars get beside the catalog's resources, and in place of some."""

    def __init__(
        self, catalog: CatalogSource, authority: AuthorityView, intentions: Intentions
    ) -> None:
        self._catalog = catalog
        self._authority = authority
        self._intentions = intentions
        self._routes: dict[tuple[str, ...], Resource] = {}
        self._tell: Tell = lambda names: None
        authority.on_change = intentions.on_change = self._changed

    def listen(self, tell: Tell) -> None:
        self._tell = tell

    def names(self, kind: Kind, node: Node) -> Sequence[str]:
        is_one = kind is Kind.LISTENERS and sidecar_of(node.metadata) is not None
        return (INBOUND,) if is_one else ()

    def covers(self, kind: Kind, name: str, node: Node) -> bool:
        return kind is Kind.LISTENERS and name == INBOUND

    def find(self, kind: Kind, name: str, node: Node) -> Resource | None:
        sidecar = sidecar_of(node.metadata)
        if sidecar is None:
            return None
        if name == INBOUND and kind is Kind.LISTENERS:
            domain, lasts = self._authority.trust_domain, self._authority.lifetime
            return _listener(sidecar, domain, node.way, lasts)
        if name == INBOUND and kind is Kind.ROUTES:
            return self._find_routes(sidecar.capabilities)
        if kind is not Kind.CLUSTERS:
            return None
        found = self._catalog.find(kind, name, node)
        return found and _with_tls(found)

    def _find_routes(self, capabilities: tuple[str, ...]) -> Resource:
        found = self._routes.get(capabilities)
        if found is None:
            domain = self._authority.trust_domain
            policies: dict[str, Any] = {}
            for name in capabilities:
                allowed = policy(name, self._intentions.rules(name), domain)
                if allowed is not None:
                    policies[name] = allowed
            found = resource(INBOUND, inbound.routes(policies))
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            self._routes[capabilities] = found
        return found

    def _changed(self) -> None:
        self._routes.clear()
        names = frozenset((INBOUND,))
        # The listener is another one only if the trust domain is.
        self._tell({Kind.LISTENERS: names, Kind.ROUTES: names})


@lru_cache(1024)
def _listener(sidecar: Sidecar, domain: str, way: Any, lasts: float) -> Resource:
    return resource(INBOUND, inbound.listener(sidecar, domain, way, lasts))


@lru_cache(16_384)
def _with_tls(found: Resource) -> Resource:
    """Return a cluster that has mutual TLS for those endpoints that want it."""
    cluster = Cluster.FromString(found.body)
    cluster.MergeFrom(tls.upstream())
    return resource(found.name, cluster)
