"""Every write: decide on the view, compare-and-set, wait until it is visible."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from modularity_registry.audit import OFF, Audit
from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog, not_found
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.feed import Feed
from modularity_registry.clock import Clock
from modularity_registry.errors import (
    NotRegistered,
    RevisionMismatch,
    ServiceNotFound,
    StoreConflict,
    StoreUnavailable,
)
from modularity_registry.model import status
from modularity_registry.model.rights import Claim
from modularity_registry.model.service import (
    CHECKED_MODES,
    Fault,
    FaultSource,
    Registration,
    Service,
)
from modularity_registry.network.address_policy import (
    AddressPolicy,
    Resolver,
    parse_location,
)
from modularity_registry.replicas.announcer import Announcer
from modularity_registry.schema import Heartbeat
from modularity_registry.stores.base import Store
from modularity_registry.telemetry.counters import Metrics
from modularity_registry.writes import change_log

DELETION_WITHIN = 0.1
"""Seconds to wait for the news of a deletion that was in the way, each time."""

MAX_ATTEMPTS = 50

SELF_REPORTED: frozenset[FaultSource] = frozenset({"lease", "report"})
"""Faults that a good heartbeat ends; a failing check has to succeed again."""


@dataclass(frozen=True, slots=True)
class Precondition:
    """What a conditional request asks of the record (RFC 9110, section 13.1).

    ``revisions`` of None takes any; ``absent`` wants no record at all.
    """

    revisions: frozenset[int] | None = None
    exists: bool = False
    absent: bool = False

    def check(self, entry: Entry | None) -> None:
        """Raise `RevisionMismatch` unless the entry is what was asked for."""
        found = f"is at revision {entry.revision}" if entry else "is not registered"
        if self.absent and entry is not None:
            raise RevisionMismatch(f"{entry.id} {found} already")
        if self.exists and entry is None:
            raise RevisionMismatch(f"the service {found}")
        if self.revisions is None:
            return
        if entry is None or entry.revision not in self.revisions:
            raise RevisionMismatch(f"the service {found}; read it again and retry")


ANY = Precondition()
ANYBODY = Claim()


class Subject(Protocol):
    """Names one registration: an id may be taken anew."""

    @property
    def id(self) -> str: ...

    @property
    def registered_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Written:
    """A write that is visible. ``created`` says that there was nothing before."""

    service_id: str
    revision: int
    created: bool = False


class Commands:
    """Writes services. Every method returns after the catalog holds the change."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        catalog: Catalog,
        policy: AddressPolicy,
        resolve: Resolver,
        clock: Clock,
        announcer: Announcer | None = None,
        metrics: Metrics | None = None,
        audit: Audit = OFF,
    ) -> None:
        self._store = store
        self._feed = feed
        self._catalog = catalog
        self._policy = policy
        self._resolve = resolve
        self._clock = clock
        self._announcer = announcer
        self._metrics = metrics or Metrics()
        self._audit = audit

    def register(
        self,
        registration: Registration,
        caller_is_local: bool,
        precondition: Precondition = ANY,
        claim: Claim = ANYBODY,
    ) -> Written:
        """Register a service or replace the one with its id, whole.

        It belongs to ``claim`` from then on. Raises `AddressRefused` where the policy
        forbids its location, `OwnedByAnother` where the id is taken by somebody else,
        and `RevisionMismatch` where ``precondition`` fails.
        """
        if registration.mode in CHECKED_MODES:
            location = parse_location(registration.location, registration.mode)
            self._policy.check_location(
                location, caller_is_local=caller_is_local, resolve=self._resolve
            )

        owner = claim.owner(registration.id)

        def decide(entry: Entry | None) -> Service:
            _check(claim, entry)
            precondition.check(entry)
            now = self._clock.now()
            return Service(registration, now, now, owner=owner)

        written = self._write(registration.id, decide, claim)
        if written.created:
            self._metrics.registered += 1
        else:
            self._metrics.replaced += 1
        return written

    def unregister(
        self,
        service_id: str,
        precondition: Precondition = ANY,
        claim: Claim = ANYBODY,
    ) -> Written:
        """Forget a service; raises `ServiceNotFound`, `OwnedByAnother`."""
        return self._remove(service_id, precondition, claim)

    def _remove(
        self, service_id: str, precondition: Precondition, claim: Claim | None
    ) -> Written:
        """Forget a service for its owner, or with its lease where there is no claim."""
        self._feed.require()
        for _ in range(MAX_ATTEMPTS):
            seen = self._catalog.revision
            entry = self._catalog.require(service_id)
            if claim is not None:
                _check(claim, entry)
            precondition.check(entry)
            try:
                revision = self._store.delete(
                    documents.key_of(service_id), expected=entry.revision
                )
            except StoreConflict as conflict:
                self._catch_up(seen, conflict)
                continue
            if revision is None:
                raise not_found(service_id)
            change_log.removed(entry, revision, expired=claim is None)
            self._audit.removed(entry, revision, claim)
            self._feed.wait(revision)
            self._metrics.unregistered += 1
            return Written(service_id, revision)
        raise _contended(service_id)

    def drain(self, service_id: str, reason: str, claim: Claim = ANYBODY) -> Written:
        """Take a service out of discovery.

        Raises `ServiceNotFound`, `OwnedByAnother`.
        """
        return self._change(
            service_id,
            lambda each: status.drained(each, reason, self._clock.now()),
            claim,
        )

    def undrain(self, service_id: str, claim: Claim = ANYBODY) -> Written:
        """Put a service back into discovery; raises as `drain`."""
        return self._change(
            service_id, lambda each: status.undrained(each, self._clock.now()), claim
        )

    def heartbeat(
        self, service_id: str, heartbeat: Heartbeat, claim: Claim = ANYBODY
    ) -> Entry:
        """Note a sign of life and return the service.

        Raises `NotRegistered`, `OwnedByAnother`.

        Only a change of status reaches the store. Yet without it, nobody else could
        learn of this heartbeat, and its sender should try another replica.
        """
        self._feed.require()
        entry = self._catalog.service(service_id)
        if entry is None:
            raise NotRegistered(
                f"no service {service_id!r} is registered here; register it again"
            )
        _check(claim, entry)
        self.sighted(entry)
        if heartbeat.healthy:
            self.clear(entry, SELF_REPORTED)
        else:
            reason = heartbeat.note or "reported itself unhealthy"
            self.accuse(entry, Fault("report", reason, self._clock.now()))
        return self._catalog.service(service_id) or entry

    def sighted(self, entry: Entry) -> None:
        """Note a sign of life in memory: it moves `last_seen` and renews a lease."""
        entry.beaten(self._clock.now(), self._clock.monotonic())
        self._metrics.heartbeats += 1
        if self._announcer is not None:
            self._announcer.record_heartbeat(entry.id)

    def accuse(self, subject: Subject, fault: Fault) -> None:
        """Record a fault of ``subject``, once.

        If that registration is gone or replaced by now, nothing happens: what was
        seen of it says nothing about the new one.
        """

        def decide(service: Service) -> Service:
            known = {(each.source, each.reason) for each in service.faults}
            if (fault.source, fault.reason) in known:
                return service
            return status.with_fault(service, fault)

        self._change_same(subject, decide)

    def clear(self, subject: Subject, sources: frozenset[FaultSource]) -> None:
        """End the faults of these sources; as in `accuse`, of this registration."""
        now = self._clock.now()
        self._change_same(
            subject, lambda each: status.without_faults(each, sources, now)
        )

    def expire(self, subject: Subject) -> None:
        """Forget a service whose lease ran out, unless it was registered anew."""
        entry = self._catalog.service(subject.id)
        if entry is None or entry.registered_at != subject.registered_at:
            return
        at_this_revision = Precondition(revisions=frozenset({entry.revision}))
        try:
            self._remove(entry.id, at_this_revision, claim=None)
            self._metrics.expired += 1
        except (ServiceNotFound, RevisionMismatch):
            return

    def _change_same(
        self, subject: Subject, change: Callable[[Service], Service]
    ) -> None:
        def decide(service: Service) -> Service:
            same = service.registered_at == subject.registered_at
            return change(service) if same else service

        try:
            self._change(subject.id, decide)
        except ServiceNotFound:
            return

    def _change(
        self,
        service_id: str,
        change: Callable[[Service], Service],
        claim: Claim | None = None,
    ) -> Written:
        """Write what ``change`` makes of it; the registry itself has no claim."""

        def decide(entry: Entry | None) -> Service | None:
            if entry is None:
                raise not_found(service_id)
            if claim is not None:
                _check(claim, entry)
            service = entry.service
            changed = change(service)
            return None if changed is service else changed

        return self._write(service_id, decide, claim)

    def _write(
        self,
        service_id: str,
        decide: Callable[[Entry | None], Service | None],
        claim: Claim | None,
    ) -> Written:
        """Write what ``decide`` makes of the present entry; None leaves it as it is.

        ``claim`` is for the audit.
        """
        self._feed.require()
        key = documents.key_of(service_id)
        for _ in range(MAX_ATTEMPTS):
            seen = self._catalog.revision
            entry = self._catalog.service(service_id)
            service = decide(entry)
            if service is None:
                return Written(service_id, entry.revision if entry else 0)
            expected = entry.revision if entry else 0
            try:
                revision = self._store.put(key, documents.encode(service), expected)
            except StoreConflict as conflict:
                self._catch_up(seen, conflict)
                continue
            change_log.written(entry, service, revision)
            self._audit.written(entry, service, revision, claim)
            self._feed.wait(revision)
            return Written(service_id, revision, created=entry is None)
        raise _contended(service_id)

    def _catch_up(self, seen: int, conflict: StoreConflict) -> None:
        """Wait for the change that was in the way, ``seen`` being the view's revision.

        A deletion's own revision is not known here: any news may be it.
        """
        if conflict.actual:
            self._feed.wait(conflict.actual)
        else:
            self._feed.wait_for_news(seen, DELETION_WITHIN)


def _check(claim: Claim, entry: Entry | None) -> None:
    if entry is not None:
        claim.check(entry.owner, entry.id)


def _contended(service_id: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"too many writers change {service_id!r} at once; try again in a moment"
    )
