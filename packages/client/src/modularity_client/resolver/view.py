"""The providers of one capability: a list, kept current by events. Does no I/O."""

from collections.abc import Iterable
from itertools import groupby

from modularity_client.events.session import SPLIT_CHANGED, Event
from modularity_client.types.services import Service

STATUSES = ("healthy", "warning")
"""The statuses of providers to call, the better one first."""

_SPLIT = ""
"""In place of a service's id, which is never empty."""


class CapabilityView:
    """The providers of one capability. Not thread-safe.

    It is ``loaded`` once a list was installed, and ``current`` while no event is
    missing since. A stale view keeps its providers, and defers events until the next
    list is installed: that list may be older than they are.

    ``tiers`` are the providers to call, each tier by id: the healthy ones of each
    priority, then those with a warning, for when there is no healthy one. None is
    empty.
    """

    def __init__(self, capability: str) -> None:
        self.capability = capability
        self.loaded = False
        self.current = False
        self.generation = 0
        self.tiers: tuple[tuple[Service, ...], ...] = ()
        self.split: dict[str, int] | None = None
        self._providers: dict[str, Service] = {}
        self._list_revision = 0
        self._deferred: dict[str, Event] = {}

    def mark_stale(self) -> None:
        """Require a new list; one that was requested before does not count."""
        self.current = False
        self.generation += 1
        self._deferred.clear()

    def install(
        self,
        services: Iterable[Service],
        revision: int,
        generation: int,
        split: dict[str, int] | None = None,
    ) -> bool:
        """Install a list as of ``revision``, then apply the deferred events.

        Returns False, and does nothing, if the view became stale in the meantime.
        """
        if generation != self.generation:
            return False
        self._providers = {service.id: service for service in services}
        self._list_revision = revision
        self.split = split
        self.loaded = self.current = True
        deferred, self._deferred = self._deferred, {}
        for event in deferred.values():
            self._apply(event)
        self._update_tiers()
        return True

    def apply(self, event: Event) -> bool:
        """Apply an event about a service; return whether ``tiers`` has changed."""
        if event.service is None:
            return False
        if not self.current:
            # The last event of a service replaces the ones before.
            self._deferred[event.service.id] = event
            return False
        before = self.tiers
        if self._apply(event):
            self._update_tiers()
        return self.tiers != before

    def apply_split(self, event: Event) -> bool:
        """Apply an event about the split; return whether ``split`` has changed."""
        if not self.current:
            self._deferred[_SPLIT] = event
            return False
        before = self.split
        self._apply(event)
        return self.split != before

    @property
    def providers(self) -> tuple[Service, ...]:
        """All providers, healthy or not."""
        return tuple(self._providers.values())

    def has(self, service_id: str) -> bool:
        """Return whether the service is one of the providers, healthy or not."""
        return service_id in self._providers

    def _apply(self, event: Event) -> bool:
        service, revision = event.service, event.revision
        if revision is None or revision <= self._list_revision:
            return False
        if event.type == SPLIT_CHANGED:
            self.split = event.data.get("split")
        if service is None:
            return False
        current = self._providers.get(service.id)
        # A list may contain writes that are newer than its revision.
        if current is not None and current.revision >= revision:
            return False
        unregistered = event.type == "service.unregistered"
        if not unregistered and self.capability in service.capabilities:
            self._providers[service.id] = service
            return True
        return self._providers.pop(service.id, None) is not None

    def _update_tiers(self) -> None:
        providers = sorted(self._providers.values(), key=lambda service: service.id)
        usable = [each for each in providers if each.status in STATUSES]
        self.tiers = tuple(
            tuple(tier) for _, tier in groupby(sorted(usable, key=_rank), _rank)
        )


def _rank(service: Service) -> tuple[int, int]:
    return STATUSES.index(service.status), service.priority
