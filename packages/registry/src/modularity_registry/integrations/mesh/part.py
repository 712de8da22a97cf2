"""The part itself: the authority, the intentions, and sidecars' resources."""

from collections.abc import Mapping
from typing import Any

from modularity_registry.catalog.documents import INTENTIONS
from modularity_registry.integrations import Integration
from modularity_registry.integrations.envoy.part import Envoy
from modularity_registry.integrations.mesh.api import MeshApplication
from modularity_registry.integrations.mesh.authority.record import PREFIX
from modularity_registry.integrations.mesh.authority.view import AuthorityView
from modularity_registry.integrations.mesh.intentions import Intentions
from modularity_registry.integrations.mesh.resources.mesh_source import MeshSource
from modularity_registry.runtime import Registry


class Mesh(Integration):
    """Has sidecars call each other by mutual TLS, and only as the intentions allow."""

    def __init__(self, registry: Registry) -> None:
        """Return it, not started."""
        self._authority = AuthorityView(registry)
        self._intentions = Intentions(registry)
        registry.feed.listen_to_records(PREFIX, self._authority)
        registry.feed.listen_to_records(INTENTIONS, self._intentions)
        self.applications = [
            MeshApplication(registry, self._authority, self._intentions)
        ]

    def connect(self, parts: Mapping[str, Integration]) -> None:
        envoy = parts["envoy"]
        assert isinstance(envoy, Envoy)  # the settings are checked
        envoy.add_source(MeshSource(envoy.catalog, self._authority, self._intentions))

    @property
    def fault(self) -> str | None:
        return self._authority.fault

    def statistics(self) -> Mapping[str, Any]:
        return {
            "trust_domain": self._authority.trust_domain,
            "certificates_issued": self._authority.issued,
            "intentions": len(self._intentions),
        }
