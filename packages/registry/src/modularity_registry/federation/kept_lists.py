"""The lists of an upstream's providers that are kept, until an event changes them."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from modularity_registry.catalog.catalog import Capability

MOST_CAPABILITIES: Final = 10_000
"""Lists of one upstream that are kept; the one asked for longest ago goes first."""

MOST_SERVICES: Final = 20_000
"""Services in all of these lists together."""


class KeptLists:
    """The lists by capability. One without providers is kept as well.

    An event drops the lists that it concerns, instead of changing them: the next caller
    reads the list again, and a list that nobody asks for costs nothing.
    """

    def __init__(
        self,
        most_capabilities: int = MOST_CAPABILITIES,
        most_services: int = MOST_SERVICES,
    ) -> None:
        self._most_capabilities = most_capabilities
        self._most_services = most_services
        self._lists: OrderedDict[str, Capability] = OrderedDict()
        self._services = 0
        self._names_by_id: dict[str, set[str]] = {}
        self._revision = 0
        self._events = 0

    def __len__(self) -> int:
        return len(self._lists)

    def get(self, name: str) -> Capability | None:
        """Return who provides ``name``; None if that is not known."""
        capability = self._lists.get(name)
        if capability is not None:
            self._lists.move_to_end(name)
        return capability

    @property
    def events(self) -> int:
        """The argument for `keep`: read it before you ask for the list."""
        return self._events

    def keep(self, capability: Capability, revision: int, events: int) -> None:
        """Keep a list as of ``revision``, unless it may lack a change already heard.

        It may if another replica made it, which is behind the one that sends events.
        """
        unchanged = self._revision == revision and self._events == events
        if self._revision < revision or unchanged:
            self.drop(capability.name)
            self._lists[capability.name] = capability
            for entry in capability.providers().entries:
                self._names_by_id.setdefault(entry.id, set()).add(capability.name)
                self._services += 1
            while self._is_full():
                self.drop(next(iter(self._lists)))

    def changed(
        self, service_id: str, capabilities: Iterable[str], revision: int
    ) -> None:
        """Drop the lists that have this service, or should have it now."""
        self._revision = max(self._revision, revision)
        self._events += 1
        for name in (*self._names_by_id.get(service_id, ()), *capabilities):
            self.drop(name)

    def drop(self, name: str) -> None:
        """Drop the list of one capability, if there is one."""
        capability = self._lists.pop(name, None)
        if capability is None:
            return
        for entry in capability.providers().entries:
            self._services -= 1
            names = self._names_by_id[entry.id]
            names.discard(name)
            if not names:
                del self._names_by_id[entry.id]

    def clear(self) -> None:
        """Drop all lists: events are missing, or it may be another store by now."""
        self._lists.clear()
        self._names_by_id.clear()
        self._services = self._revision = 0
        self._events += 1

    def _is_full(self) -> bool:
        return (
            len(self._lists) > self._most_capabilities
            or self._services > self._most_services
        )
