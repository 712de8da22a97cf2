"""The authority of this registry: the same one on all replicas of a store."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from modularity_registry.clock import rfc3339
from modularity_registry.config import OFF
from modularity_registry.errors import InvalidRequest, NotReady, StoreCorrupt
from modularity_registry.integrations.mesh import records
from modularity_registry.integrations.mesh.authority import certificates, record
from modularity_registry.integrations.mesh.authority.certificates import Issued, Signer
from modularity_registry.integrations.mesh.authority.key_file import read_key_file
from modularity_registry.integrations.mesh.authority.record import (
    KEY,
    Authority,
    Root,
    StoredAuthority,
)
from modularity_registry.integrations.mesh.errors import RotationUnderWay
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Record

log = logging.getLogger(__name__)

LONGEST_REFRESH: Final = 30.0
SHORTEST_REFRESH: Final = 1.0
SHARE: Final = 20
"""Into so many parts a certificate's lifetime is divided: sidecars look for other roots
that often."""

LEAST_OVERLAP: Final = 3
USUAL_OVERLAP: Final = 20
"""So many times sidecars look for a new root before it signs."""


class AuthorityView:
    """Follows the record of the authority, makes it, and signs with its roots.

    For the store's feed, as its listener. Signing needs no store.
    """

    def __init__(self, registry: Registry) -> None:
        settings = registry.settings
        self._registry = registry
        self._stored: StoredAuthority | None = None
        self._signers: dict[str, Signer] = {}
        self._unreadable: str | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.issued = 0
        self.lifetime = settings.mesh_certificate_lifetime
        self.refresh = max(
            SHORTEST_REFRESH, min(self.lifetime / SHARE, LONGEST_REFRESH)
        )
        self._began = registry.clock.monotonic()
        file = settings.mesh_key_file
        self._password = None if file == OFF else read_key_file(Path(file))

    # What the feed tells

    def changed(self, key: str, value: bytes | None, revision: int) -> None:
        if key == KEY:
            self._take(value, revision)

    def loaded(self, loaded: list[Record]) -> None:
        own = next((each for each in loaded if each.key == KEY), None)
        self._take(own.value if own else None, own.revision if own else 0)

    def _take(self, value: bytes | None, revision: int) -> None:
        self._stored, self._unreadable = None, None
        if value is not None:
            try:
                self._stored = StoredAuthority(record.decode(value), revision)
            except StoreCorrupt as error:
                self._unreadable = error.detail
                log.error("unreadable authority: %s", error.detail)
        self.on_change()

    # What it is

    @property
    def trust_domain(self) -> str:
        """The trust domain: that of the authority, once there is one."""
        if self._stored is not None:
            return self._stored.authority.trust_domain
        return self._registry.settings.mesh_trust_domain

    @property
    def present(self) -> Authority | None:
        """The authority; None if there is none yet."""
        return self._stored.authority if self._stored else None

    def signing(self, authority: Authority) -> Root:
        """Return the root that signs now.

        Since a start, sidecars may not have heard of the newest one: an outage may have
        lasted as long as the overlap. For as long as they need, an older one goes on.
        """
        now = self._registry.clock.now()
        up = self._registry.clock.monotonic() - self._began
        is_settled = up >= LEAST_OVERLAP * self.refresh
        return authority.signing(now, None if is_settled else self.lifetime / 2)

    @property
    def fault(self) -> str | None:
        """Why certificates can't be had as the settings say; None if they can."""
        if self._unreadable is not None:
            return self._unreadable
        wanted = self._registry.settings.mesh_trust_domain
        if self.trust_domain != wanted:
            return (
                f"the authority is for the trust domain {self.trust_domain}, not"
                f" {wanted} as --mesh-trust-domain says; start it with the former"
            )
        return None

    async def require(self) -> Authority:
        """Return the authority; make it if there is none."""
        if self._unreadable is not None:
            raise NotReady(self._unreadable)
        if self._stored is None:
            await self._create()
        assert self._stored is not None
        return self._stored.authority

    async def rotate(self, overlap: float | None) -> Authority:
        """Begin a rotation: a new root, which signs in ``overlap`` seconds.

        Raises `RotationUnderWay`, and `InvalidRequest` if the sidecars could not learn
        of the new root in time.
        """
        authority = await self.require()
        least = LEAST_OVERLAP * self.refresh
        overlap = USUAL_OVERLAP * self.refresh if overlap is None else overlap
        if overlap < least:
            raise InvalidRequest(
                f"sidecars look for new roots every {self.refresh:g} s: overlap must be"
                f" {least:g} s or longer"
            )
        await self._change(lambda: self._rotated(overlap), "mesh.authority_rotated")
        return self._stored.authority if self._stored else authority

    async def issue(
        self, service_id: str, capabilities: Sequence[str], csr: str
    ) -> Issued:
        """Return a certificate for a service that may have it.

        Raises `InvalidRequest`, and `NotReady` if the root's key can't be read.
        """
        authority = await self.require()
        root = self.signing(authority)
        signer = await self._signer(root)
        issued = certificates.issue(
            signer,
            certificates.spiffe_id(authority.trust_domain, service_id),
            capabilities,
            csr,
            self._registry.clock.now(),
            timedelta(seconds=self.lifetime),
            root.trusted_until,
        )
        self.issued += 1
        self._registry.audit.write(
            "mesh.certificate_issued",
            service_id=service_id,
            capabilities=list(capabilities),
            serial=issued.serial,
            expires_at=rfc3339(issued.not_after),
        )
        return issued

    async def _signer(self, root: Root) -> Signer:
        signer = self._signers.get(root.certificate)
        if signer is None:
            try:
                signer = await asyncio.to_thread(
                    certificates.signer, root, self._password
                )
            except ValueError:
                raise NotReady(
                    "the authority's key can't be read: start all replicas with the"
                    " --mesh-key-file with which it was made, or all without one"
                ) from None
            self._signers = {root.certificate: signer}
        return signer

    async def _create(self) -> None:
        def first() -> bytes:
            if self._stored is not None:
                raise _Done
            now = self._registry.clock.now()
            domain = self.trust_domain
            root = certificates.new_root(domain, now, now, self._password)
            return record.encode(Authority(domain, (root,)))

        try:
            await self._change(first, "mesh.authority_created")
        except _Done:
            return

    def _rotated(self, overlap: float) -> bytes:
        stored, now = self._stored, self._registry.clock.now()
        assert stored is not None
        authority = stored.authority
        end = authority.rotating(now)
        if end is not None:
            raise RotationUnderWay(f"a rotation is under way until {rfc3339(end)}")
        domain = authority.trust_domain
        # A minute more: the clocks of two replicas may differ.
        last = self.lifetime + 60
        return record.encode(
            authority.rotated(
                lambda signs: certificates.new_root(domain, now, signs, self._password),
                now,
                overlap,
                last,
            )
        )

    async def _change(self, decide: records.Decide, event: str) -> None:
        audit = self._registry.audit
        await records.change(
            self._registry,
            KEY,
            lambda: self._stored.revision if self._stored else 0,
            decide,
            lambda revision: audit.write(event, revision=revision),
        )


class _Done(Exception):
    """Somebody else was faster."""
