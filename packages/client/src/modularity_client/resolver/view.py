"""What is known of one capability: a list, kept current by events. Does no I/O."""

from collections.abc import Iterable

from modularity_client.events.session import Event
from modularity_client.types.services import Service


class View:
    """The providers of one capability. Not thread-safe.

    It is ``known`` once a list was installed, and ``current`` while no event is missing
    since. In doubt it keeps what it shows, and sets events aside until the next list:
    that list may be older than they are.
    """

    def __init__(self, capability: str) -> None:
        self.capability = capability
        self.known = False
        self.current = False
        self.generation = 0
        self.healthy: tuple[Service, ...] = ()
        self._members: dict[str, Service] = {}
        self._floor = 0
        self._aside: dict[str, Event] = {}

    def doubt(self) -> None:
        """Ask for a new list; one that was requested before this does not count."""
        self.current = False
        self.generation += 1
        self._aside.clear()

    def install(
        self, services: Iterable[Service], revision: int, generation: int
    ) -> bool:
        """Take a list as of ``revision``, then what came since it was requested.

        Returns whether it was taken: not when the view was doubted in the meantime.
        """
        if generation != self.generation:
            return False
        self._members = {each.id: each for each in services}
        self._floor = revision
        self.known = self.current = True
        aside, self._aside = self._aside, {}
        for event in aside.values():
            self._apply(event)
        self._show()
        return True

    def take(self, event: Event) -> bool:
        """Apply an event about a service; return whether ``healthy`` has changed."""
        if event.service is None:
            return False
        if not self.current:
            # Of each service the last one says it all.
            self._aside[event.service.id] = event
            return False
        before = self.healthy
        if self._apply(event):
            self._show()
        return self.healthy != before

    def has(self, service_id: str) -> bool:
        """Say whether the service is one of the providers, healthy or not."""
        return service_id in self._members

    def _apply(self, event: Event) -> bool:
        service, revision = event.service, event.revision
        if service is None or revision is None or revision <= self._floor:
            return False
        known = self._members.get(service.id)
        # A list may show what was written after the revision that it names.
        if known is not None and known.revision >= revision:
            return False
        gone = event.type == "service.unregistered"
        if not gone and self.capability in service.capabilities:
            self._members[service.id] = service
            return True
        return self._members.pop(service.id, None) is not None

    def _show(self) -> None:
        shown = (each for each in self._members.values() if each.status == "healthy")
        self.healthy = tuple(sorted(shown, key=lambda service: service.id))
