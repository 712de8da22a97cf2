"""How much may be registered: services and bytes, by one token and in total."""

from collections.abc import Iterator
from heapq import nlargest
from typing import Final, NamedTuple

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.config import Settings
from modularity_registry.errors import QuotaExceeded, RegistryFull
from modularity_registry.model.rights import token_of
from modularity_registry.model.service import Service

MIB = 1024 * 1024

MOST_OWNERS: Final = 20
"""Tokens that the statistics name."""


class Quota(NamedTuple):
    """What is held of what is allowed; a ``limit`` of 0 is none."""

    held: int
    limit: int

    @property
    def is_full(self) -> bool:
        """Whether nothing may be added."""
        return 0 < self.limit <= self.held

    def allows(self, more: int) -> bool:
        """Say whether ``more`` may be added; less is always allowed."""
        return more <= 0 or not self.limit or self.held + more <= self.limit


class Quotas:
    """Judges registrations by what the view holds. Bytes are those of the documents.

    A token's quotas are for the services that it owns. Over a store that others share,
    registrations that are on their way are not counted yet, so that a few more may get
    in.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._catalog = catalog
        self._services = settings.max_services
        self._bytes = settings.max_megabytes * MIB
        self.token_services = settings.max_services_per_token
        self.token_bytes = settings.max_megabytes_per_token * MIB

    @property
    def services(self) -> Quota:
        """All services."""
        return Quota(len(self._catalog), self._services)

    @property
    def bytes(self) -> Quota:
        """All bytes."""
        return Quota(self._catalog.document_bytes, self._bytes)

    def owners(self) -> list[tuple[str, int, int]]:
        """Return the tokens that own most, each with its services and bytes.

        At most `MOST_OWNERS`, the one with most services first.
        """
        services = self._catalog.by_owner.copy()
        tokens = filter(token_of, services)
        most = nlargest(MOST_OWNERS, tokens, key=lambda owner: services[owner])
        size = self._catalog.bytes_by_owner
        return [(owner, services[owner], size[owner]) for owner in most]

    @property
    def fault(self) -> str | None:
        """A reason to be degraded: nothing may be added; None when that is not so."""
        return next(self._faults(), None)

    def _faults(self) -> Iterator[str]:
        if self.services.is_full:
            yield (
                f"the registry holds {self.services.held:,} services, as many as"
                " --max-services allows; remove some, or raise it"
            )
        if self.bytes.is_full:
            yield (
                f"the registry holds {self.bytes.held:,} bytes of registrations, as"
                " much as --max-megabytes allows; remove some, or raise it"
            )

    def check(self, old: Entry | None, service: Service) -> None:
        """Return if a registration may take the place of ``old``, or a new one.

        Raises `QuotaExceeded` for its owner, `RegistryFull` for everybody.
        """
        size = old_size = 0
        if self._bytes or self.token_bytes:
            size = len(documents.encode(service))
            old_size = len(old.document) if old else 0
        self._check_total(0 if old else 1, size - old_size)
        if token := token_of(service.owner):
            is_own = old is not None and old.owner == token
            more = size - old_size if is_own else size
            self._check_token(token, 0 if is_own else 1, more)

    def _check_total(self, services: int, size: int) -> None:
        if not self.services.allows(services):
            raise RegistryFull(
                f"the registry holds {self._services:,} services, which is all that it"
                " may; unregister some, or have --max-services raised"
            )
        if not self.bytes.allows(size):
            raise RegistryFull(
                "the registry holds as many bytes of registrations as it may;"
                " unregister some, or have --max-megabytes raised"
            )

    def _check_token(self, token: str, services: int, size: int) -> None:
        held = self._catalog.by_owner[token]
        if not Quota(held, self.token_services).allows(services):
            raise QuotaExceeded(
                f"the token {token!r} has {held:,} services, which is all that one may"
                " have; unregister some, or have --max-services-per-token raised"
            )
        held = self._catalog.bytes_by_owner[token]
        if not Quota(held, self.token_bytes).allows(size):
            raise QuotaExceeded(
                f"the token {token!r} has {held:,} bytes of registrations, and this is"
                " too much; unregister some, or have --max-megabytes-per-token raised"
            )
