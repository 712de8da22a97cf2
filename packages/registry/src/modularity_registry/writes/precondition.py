"""What a write depends on, which registration it concerns, and what it returns."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import RevisionMismatch


@dataclass(frozen=True, slots=True)
class Precondition:
    """The condition of a conditional request (RFC 9110, section 13.1).

    ``revisions`` of None accepts any; ``exists`` requires a service, ``absent`` none.
    """

    revisions: frozenset[int] | None = None
    exists: bool = False
    absent: bool = False

    def check(self, entry: Entry | None) -> None:
        """Raise `RevisionMismatch` unless the condition holds for ``entry``."""
        if self is ANY:
            return
        state = f"is at revision {entry.revision}" if entry else "is not registered"
        if self.absent and entry is not None:
            raise RevisionMismatch(f"{entry.id} {state} already")
        if self.exists and entry is None:
            raise RevisionMismatch(f"the service {state}")
        if self.revisions is None:
            return
        if entry is None or entry.revision not in self.revisions:
            raise RevisionMismatch(f"the service {state}; read it again and retry")


ANY = Precondition()


class Subject(Protocol):
    """Names one registration: an id may have been registered again since."""

    @property
    def id(self) -> str: ...

    @property
    def registered_at(self) -> datetime: ...


class WriteResult(NamedTuple):
    """A write that is visible. ``created`` says that there was nothing before.

    ``others`` says that other instances keep the service, which one has left;
    ``displaced`` is the location of a live provider whose id a registration took.
    """

    service_id: str
    revision: int
    created: bool = False
    others: bool = False
    displaced: str = ""
