"""What the registry holds: a list, and the events that came after it."""

from collections.abc import Iterable, Mapping
from typing import Any

from modularity_client import Event, Service
from modularity_client.events.session import SPLIT_CHANGED


class Snapshot:
    """All services and splits, or those of some capabilities.

    ``revision`` is that of the last change.
    """

    def __init__(
        self,
        services: Iterable[Service] = (),
        splits: Mapping[str, Mapping[str, int]] | None = None,
        revision: int = 0,
    ) -> None:
        self.revision = revision
        self._listed = revision
        self._services = {service.id: service for service in services}
        self._splits = dict(splits or {})

    def copy(self) -> "Snapshot":
        """Return one that stays as this one is now, for another thread."""
        return Snapshot(self._services.values(), self._splits, self.revision)

    @property
    def services(self) -> list[Service]:
        """The services in order of id."""
        return [self._services[key] for key in sorted(self._services)]

    def providers(self, capability: str) -> list[Service]:
        """Return who provides a capability, healthy or not, in order of id."""
        return [each for each in self.services if capability in each.capabilities]

    def split(self, capability: str) -> Mapping[str, int] | None:
        """Return the weight of each group that calls are split among; None for none."""
        return self._splits.get(capability)

    def apply(self, event: Event) -> bool:
        """Apply an event; return whether it was news."""
        revision = event.revision or 0
        if revision <= self._listed:
            return False
        if event.type == SPLIT_CHANGED:
            self._apply_split(event.data)
        elif event.service is None or not self._apply_service(event.service, event):
            return False
        self.revision = max(self.revision, revision)
        return True

    def _apply_split(self, data: Mapping[str, Any]) -> None:
        self._splits.pop(data["capability"], None)
        if data.get("split"):
            self._splits[data["capability"]] = data["split"]

    def _apply_service(self, service: Service, event: Event) -> bool:
        present = self._services.get(service.id)
        if present is not None and present.revision >= (event.revision or 0):
            return False  # the list was newer than its revision says
        if event.type == "service.unregistered":
            return self._services.pop(service.id, None) is not None
        self._services[service.id] = service
        return True
