"""An event, and who wants to hear of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from modularity_registry.catalog.entry import Entry

Kind = Literal[
    "service.registered",
    "service.updated",
    "service.unregistered",
    "service.status_changed",
    "capability.invoked",
]


class Event:
    """One change. ``number`` orders all events of this process.

    ``at`` (seconds, monotonic) is when it was accepted, ``size`` about how many bytes
    it keeps. Events of ``revision`` None
    are told to who is there and not kept.
    """

    __slots__ = (
        "_frame",
        "_render",
        "at",
        "capabilities",
        "entries",
        "kind",
        "number",
        "revision",
        "services",
        "size",
    )

    def __init__(
        self,
        kind: Kind,
        revision: int | None,
        services: frozenset[str],
        capabilities: frozenset[str],
        entries: tuple[Entry, ...],
        render: Callable[[], bytes],
        at: float,
    ) -> None:
        self.number = 0
        self.kind = kind
        self.revision = revision
        self.services = services
        self.capabilities = capabilities
        self.entries = entries
        self.at = at
        # As stored, as shown, and as sent.
        self.size = sum(3 * len(each.json) for each in entries)
        self._render = render
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The event as it goes over the line, rendered once for all watchers."""
        if self._frame is None:
            self._frame = self._render()
        return self._frame


def frame(kind: str, position: str | None, data: bytes) -> bytes:
    """Return a Server-Sent Event; ``data`` is one line of JSON."""
    head = b"id: %b\n" % position.encode() if position else b""
    return b"%bevent: %b\ndata: %b\n\n" % (head, kind.encode(), data)


@dataclass(frozen=True, slots=True)
class Interest:
    """Whom a watcher wants to hear of: any of these; everybody where both are empty."""

    capabilities: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.capabilities and not self.services

    def concerns(self, event: Event) -> bool:
        """Say whether the event is of interest."""
        return (
            self.everything
            or not self.capabilities.isdisjoint(event.capabilities)
            or not self.services.isdisjoint(event.services)
        )
