"""Which events a listener wants, and how to find those who want one."""

from dataclasses import dataclass

from modularity_registry.events.event import INVOKED, KINDS, SPLIT, Event, Kind

Name = tuple[str, str]
ANYTHING: Name = ("", "")

CHANGES = frozenset(KINDS) - {INVOKED}
"""The kinds of events that are changes of services and splits."""

SERVICE_CHANGES = CHANGES - {SPLIT}


@dataclass(frozen=True, slots=True)
class Interest:
    """The events of one of the ``kinds`` about one of the capabilities or services.

    Without kinds those of every kind, without capabilities and services those about
    everybody.
    """

    capabilities: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    kinds: frozenset[Kind] = frozenset()

    @property
    def names(self) -> list[Name]:
        """What the listener is found by."""
        if not self.capabilities and not self.services:
            return [ANYTHING]
        return [("capability", name) for name in self.capabilities] + [
            ("service", name) for name in self.services
        ]

    @property
    def wants_changes(self) -> bool:
        """Whether it hears of changes."""
        return self.kinds != {INVOKED}

    @property
    def wants_calls(self) -> bool:
        """Whether it hears of calls between services."""
        return not self.kinds or INVOKED in self.kinds

    def concerns(self, event: Event) -> bool:
        """Say whether the event is of interest."""
        return (not self.kinds or event.kind in self.kinds) and (
            not (self.capabilities or self.services)
            or not self.capabilities.isdisjoint(event.capabilities)
            or not self.services.isdisjoint(event.services)
        )


def names_of(event: Event) -> list[Name]:
    """Return what those whom the event concerns are found by."""
    return [
        ANYTHING,
        *(("capability", name) for name in event.capabilities),
        *(("service", name) for name in event.services),
    ]
