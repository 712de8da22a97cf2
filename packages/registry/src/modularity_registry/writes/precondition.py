"""What a write depends on, which registration it concerns, and what it returns."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import RevisionMismatch


@dataclass(frozen=True, slots=True)
class Precondition:
    """The condition of a conditional request (RFC 9110, section 13.1).

    ``revisions`` of None accepts any; ``exists`` requires that there is something,
    ``absent`` that there is nothing.
    """

    revisions: frozenset[int] | None = None
    exists: bool = False
    absent: bool = False

    def check(self, entry: Entry | None) -> None:
        """Raise `RevisionMismatch` unless the condition holds for ``entry``."""
        if self is ANY:
            return
        if entry is None:
            self.check_revision(None, "the service is not registered")
        else:
            at = f"is at revision {entry.revision}"
            already = f"{entry.id} {at} already"
            self.check_revision(entry.revision, f"the service {at}", already)

    def check_revision(
        self, revision: int | None, state: str, already: str = ""
    ) -> None:
        """Raise `RevisionMismatch` unless it holds for what is at ``revision``.

        None is for nothing. ``state`` says so in words, ``already`` that it is there.
        """
        if self.absent and revision is not None:
            raise RevisionMismatch(already or state)
        if self.exists and revision is None:
            raise RevisionMismatch(state)
        if self.revisions is not None and revision not in self.revisions:
            raise RevisionMismatch(f"{state}; read it again and retry")


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
