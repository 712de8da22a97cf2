"""The providers as Traefik's configuration needs them, read once each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from modularity_registry import tasks
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.integrations.traefik.labels import ENABLE, Labels, labels_of
from modularity_registry.model.location import InvalidLocation, Location
from modularity_registry.model.service import CHECKED_MODES

Protocol = Literal["http", "tcp"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Provider(NamedTuple):
    """A service as a server of Traefik.

    ``protocol`` is None for one that is none: it has no host and port, or its label
    ``traefik.enable`` is false.
    """

    entry: Entry
    protocol: Protocol | None = None
    server: Mapping[str, Any] = _NOTHING
    weight: int = 0
    labels: Labels = _NOTHING


def provider_of(entry: Entry) -> Provider:
    """Return what a service is to Traefik."""
    service = entry.service
    labels = labels_of(service)
    if entry.mode not in CHECKED_MODES or labels.get(ENABLE, "").lower() == "false":
        return Provider(entry)
    registration = service.registration
    try:
        location = registration.parsed_location
    except InvalidLocation:  # stored by another version
        return Provider(entry)
    protocol: Protocol = "tcp" if entry.mode == "tcp" else "http"
    server, weight = _server(location), registration.weight
    return Provider(entry, protocol, server, weight, labels)


def _server(location: Location) -> dict[str, Any]:
    if location.mode == "tcp":
        return {"address": location.authority}
    scheme = "h2c" if location.mode == "grpc" else location.scheme
    server: dict[str, Any] = {"url": f"{scheme}://{location.authority}{location.path}"}
    if location.path:
        # Else Traefik leaves it out of what it calls.
        server["preservePath"] = True
    return server


class ProviderCache:
    """The providers by id, each read again only once it has changed."""

    def __init__(self) -> None:
        self._by_id: dict[str, Provider] = {}

    async def update(self, catalog: Catalog) -> None:
        """Read those that have changed, and forget those that are gone."""
        by_id = {}
        async for entry in tasks.in_slices(catalog.services()):
            by_id[entry.id] = self.of(entry)
        self._by_id = by_id

    def of(self, entry: Entry) -> Provider:
        """Return one of them; reads one that came after the update."""
        known = self._by_id.get(entry.id)
        return known if known and known.entry is entry else provider_of(entry)
