"""What happened: a change of a service or a split, or a call between two services."""

from abc import ABC, abstractmethod
from typing import Literal, get_args

from modularity_registry import schema
from modularity_registry.catalog.catalog import Transition
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.splits import SplitChange
from modularity_registry.events.position import WHOLE, Position
from modularity_registry.model import status
from modularity_registry.schema import Invocation

Kind = Literal[
    "service.registered",
    "service.updated",
    "service.unregistered",
    "service.status_changed",
    "capability.split_changed",
    "capability.invoked",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
SPLIT: Kind = "capability.split_changed"
INVOKED: Kind = "capability.invoked"


class Event(ABC):
    """Something that happened ``at`` a time, in seconds (monotonic).

    ``number`` orders all events of this process. ``frame`` is the event as it goes
    over the line, once somebody has needed it.
    """

    __slots__ = ("at", "frame", "number")

    def __init__(self, number: int, at: float) -> None:
        self.number = number
        self.at = at
        self.frame: bytes | None = None

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """What happened."""

    @property
    @abstractmethod
    def services(self) -> tuple[str, ...]:
        """The ids of those whom it concerns."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[str]:
        """The capabilities that it concerns."""

    @property
    @abstractmethod
    def body(self) -> bytes:
        """The event's data as JSON."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The service before and after the change, if it is one."""
        return ()

    @property
    def position(self) -> Position | None:
        """Where a reader stands who has heard of it; None if it is not kept."""
        return None

    @property
    def revision(self) -> int | None:
        """The revision of the change, if it is one."""
        return None


class KeptEvent(Event):
    """A change of what is stored, the ``place``-th of its ``revision``.

    ``size`` is about how many bytes it takes to keep it.
    """

    __slots__ = ("_revision", "place", "size")

    def __init__(
        self, number: int, at: float, revision: int, place: int, size: int
    ) -> None:
        super().__init__(number, at)
        self._revision = revision
        self.place = place
        self.size = size

    @property
    def position(self) -> Position:
        """Where a reader stands who has heard of it."""
        return Position(self._revision, self.place)

    @property
    def revision(self) -> int:
        """The change's revision."""
        return self._revision


class ChangeEvent(KeptEvent):
    """A change of a service."""

    __slots__ = ("change",)

    def __init__(self, number: int, at: float, change: Transition, place: int) -> None:
        self.change = change
        # As stored, as shown, and as sent.
        size = sum(3 * len(entry.json) for entry in self.entries)
        place = WHOLE if change.last else place
        super().__init__(number, at, change.revision, place, size)

    @property
    def kind(self) -> Kind:
        """What the change is."""
        old, new = self.change.old, self.change.new
        if old is None:
            return "service.registered"
        if new is None:
            return "service.unregistered"
        if old.registered_at != new.registered_at or old.status == new.status:
            return "service.updated"
        return "service.status_changed"

    @property
    def services(self) -> tuple[str, ...]:
        """The service's id."""
        return (self.change.id,)

    @property
    def capabilities(self) -> frozenset[str]:
        """What the service provided before or provides now."""
        return self.change.capabilities

    @property
    def body(self) -> bytes:
        """The service; with both statuses if that is what has changed."""
        entry = self.entries[-1]
        if self.kind != "service.status_changed":
            return entry.json
        old, new = self.entries
        reason = status.reason(new.service) or f"over: {status.reason(old.service)}"
        extra = schema.encode(
            {"old_status": old.status, "new_status": new.status, "reason": reason}
        )
        return b"%b,%b" % (entry.json[:-1], extra[1:])

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The service before and after the change."""
        old, new = self.change.old, self.change.new
        if old is None:
            return () if new is None else (new,)
        return (old,) if new is None else (old, new)


class SplitEvent(KeptEvent):
    """A change of how the calls of a capability are split."""

    __slots__ = ("_body", "_name")

    def __init__(self, number: int, at: float, change: SplitChange, place: int) -> None:
        new = change.new
        self._name = change.capability
        self._body = schema.encode(
            {"capability": change.capability, "split": new.groups if new else None}
        )
        super().__init__(number, at, change.revision, place, 3 * len(self._body))

    @property
    def kind(self) -> Kind:
        """That a split has changed."""
        return SPLIT

    @property
    def services(self) -> tuple[str, ...]:
        """None: it concerns all providers of the capability."""
        return ()

    @property
    def capabilities(self) -> frozenset[str]:
        """The one whose calls are split."""
        return frozenset((self._name,))

    @property
    def body(self) -> bytes:
        """The capability and the weights of the groups; null if there is no split."""
        return self._body


class CallEvent(Event):
    """A call that a service made to another. It is told and not kept."""

    __slots__ = ("call",)

    def __init__(self, number: int, at: float, call: Invocation) -> None:
        super().__init__(number, at)
        self.call = call

    @property
    def kind(self) -> Kind:
        """That a capability was invoked."""
        return INVOKED

    @property
    def services(self) -> tuple[str, ...]:
        """The ids of both."""
        return (self.call.consumer_id, self.call.provider_id)

    @property
    def capabilities(self) -> frozenset[str]:
        """What was called."""
        return frozenset((self.call.capability,))

    @property
    def body(self) -> bytes:
        """The report of the call."""
        return schema.encode(self.call)
