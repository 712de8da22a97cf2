"""Every write: decide by the view, compare-and-set, wait until it is visible."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

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
from modularity_registry.model.checks import named
from modularity_registry.model.location import Address
from modularity_registry.model.rights import Claim
from modularity_registry.model.service import (
    CHECKED_MODES,
    CheckEvidence,
    CheckResult,
    Fault,
    FaultSource,
    Registration,
    Service,
)
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup
from modularity_registry.replicas.announcer import Announcer, NamespaceHeartbeats
from modularity_registry.schema import CheckReport, Heartbeat
from modularity_registry.stores.base import Write
from modularity_registry.stores.group_commit import Writer
from modularity_registry.telemetry.counters import Metrics
from modularity_registry.writes import change_log
from modularity_registry.writes.precondition import (
    ANY,
    Precondition,
    Subject,
    WriteResult,
)
from modularity_registry.writes.quotas import Quotas

DELETION_WITHIN = 0.1
"""Seconds to wait for the change of a deletion that caused a conflict, each time."""

MAX_ATTEMPTS = 50

SELF_REPORTED: frozenset[FaultSource] = frozenset({"lease", "report"})
"""Faults that a good heartbeat removes; a failing check has to succeed again."""

CHECKED: frozenset[FaultSource] = frozenset({"check"})

ANYBODY = Claim()

Succession = Callable[[Service | None, Service], Service]
"""Returns what a registered service takes over from the one that it replaces."""


class Commands:
    """Writes services. Every command returns after the catalog holds the change.

    They run on the feed's event loop. Over an embedded store they never suspend, but
    for a registration whose location names its host, which has to be looked up. Don't
    cancel one: what it has written would be missing in the logs.
    """

    def __init__(
        self,
        writer: Writer,
        feed: Feed,
        catalog: Catalog,
        policy: AddressPolicy,
        names: NameLookup,
        clock: Clock,
        quotas: Quotas,
        announcer: Announcer | NamespaceHeartbeats | None = None,
        metrics: Metrics | None = None,
        audit: Audit = OFF,
        zone: str = "",
        region: str = "",
        namespace: str | None = None,
    ) -> None:
        """Return those of a registry; ``namespace`` is None for the default one."""
        self._writer = writer
        self._feed = feed
        self._catalog = catalog
        self._policy = policy
        self._names = names
        self._clock = clock
        self._announcer = announcer
        self._metrics = metrics or Metrics()
        self._audit = audit
        self._quotas = quotas
        self._zone = zone
        self._region = region
        self._namespace = namespace

    async def register(
        self,
        registration: Registration,
        caller_is_local: bool,
        precondition: Precondition = ANY,
        claim: Claim = ANYBODY,
        instance: str | None = None,
        succeed: Succession | None = None,
    ) -> WriteResult:
        """Register a service or replace the one with its id, whole.

        With an ``instance``, that joins those which the service has: see
        `status.joined`. ``succeed`` returns what to store, given the service as it is
        and as it is registered: nothing is written if that is the former. One that says
        neither its zone nor its region gets those of this replica.

        Its owner is that of ``claim``. Raises `AddressRefused` if the policy forbids
        its location, `OwnedByAnother` if another owner has the id,
        `RevisionMismatch` if ``precondition`` fails, and `QuotaExceeded` or
        `RegistryFull` if there is no room for it.
        """
        if registration.mode in CHECKED_MODES:
            location = registration.parsed_location
            addresses: Sequence[str | Address]
            if location.address is not None:
                addresses = (location.address,)
            else:
                addresses = await self._names.addresses(location)
            self._policy.check_addresses(addresses, caller_is_local=caller_is_local)
        has_place = registration.zone or registration.region
        if not has_place and (self._zone or self._region):
            registration = msgspec.structs.replace(
                registration, zone=self._zone, region=self._region
            )
        owner = claim.owner(registration.id)
        displaced = ""

        def decide(entry: Entry | None) -> Service | None:
            nonlocal displaced
            displaced = ""  # of an attempt before this one
            _check(claim, entry)
            precondition.check(entry)
            now = self._clock.now()
            service = Service(
                registration, now, now, owner=owner, loopback=caller_is_local
            )
            if instance is not None:
                current = entry.service if entry else service
                service = status.joined(current, service, instance)
                if entry is not None and service is current:
                    return None
            if succeed is not None:
                former = entry.service if entry else None
                service = succeed(former, service)
                if service is former:
                    return None
            self._quotas.check(entry, service)
            displaced = status.displaced(entry.service, service) if entry else ""
            return service

        result = await self._write(registration.id, decide, claim)
        if result.created:
            self._metrics.registered += 1
        else:
            self._metrics.replaced += 1
        return result._replace(displaced=displaced) if displaced else result

    async def unregister(
        self,
        service_id: str,
        precondition: Precondition = ANY,
        claim: Claim = ANYBODY,
        instance: str | None = None,
    ) -> WriteResult:
        """Remove a service; with an ``instance``, only that, unless it is the last.

        Raises `ServiceNotFound`, `OwnedByAnother`.
        """
        if instance is None:
            return await self._remove(service_id, precondition, claim)
        for _ in range(MAX_ATTEMPTS):
            result = await self._leave(service_id, precondition, claim, instance)
            if result.others:
                return result
            unchanged = Precondition(revisions=frozenset({result.revision}))
            with suppress(RevisionMismatch):  # another instance may have joined
                return await self._remove(service_id, unchanged, claim)
        raise contended(service_id)

    async def _leave(
        self,
        service_id: str,
        precondition: Precondition,
        claim: Claim,
        instance: str,
    ) -> WriteResult:
        """Have an instance leave, if there are ``others``; else change nothing."""
        others = False

        def leave(service: Service) -> Service:
            nonlocal others
            precondition.check(self._catalog.service(service_id))
            if instance not in service.instances:
                raise ServiceNotFound(
                    f"no instance {instance!r} of {service_id!r} is registered"
                )
            others = len(service.instances) > 1
            return status.left(service, instance) if others else service

        result = await self.change(service_id, leave, claim)
        return result._replace(others=others)

    async def _remove(
        self, service_id: str, precondition: Precondition, claim: Claim | None
    ) -> WriteResult:
        """Remove a service for its owner; without a claim because its lease ended."""
        self._feed.require()
        for _ in range(MAX_ATTEMPTS):
            seen = self._catalog.revision
            entry = self._catalog.require(service_id)
            if claim is not None:
                _check(claim, entry)
            precondition.check(entry)
            try:
                revision = await self._writer.write(
                    Write(documents.key_of(service_id), None, entry.revision)
                )
            except StoreConflict as conflict:
                await catch_up(self._feed, seen, conflict)
                continue
            if revision is None:
                raise not_found(service_id)
            change_log.removed(entry, revision, claim is None, self._namespace)
            self._audit.removed(entry, revision, claim)
            await self._feed.wait(revision)
            self._metrics.unregistered += 1
            return WriteResult(service_id, revision)
        raise contended(service_id)

    async def drain(
        self, service_id: str, reason: str, claim: Claim = ANYBODY
    ) -> WriteResult:
        """Take a service out of discovery.

        Raises `ServiceNotFound`, `OwnedByAnother`.
        """
        return await self.change(
            service_id,
            lambda service: status.drained(service, reason, self._clock.now()),
            claim,
        )

    async def undrain(self, service_id: str, claim: Claim = ANYBODY) -> WriteResult:
        """Put a service back into discovery; raises as `drain`."""
        return await self.change(
            service_id,
            lambda service: status.undrained(service, self._clock.now()),
            claim,
        )

    async def heartbeat(
        self, service_id: str, heartbeat: Heartbeat, claim: Claim = ANYBODY
    ) -> Entry:
        """Record a heartbeat and return the service.

        Raises `NotRegistered`, `OwnedByAnother`.

        Only a change of status reaches the store. Yet it raises `StoreUnavailable`
        while no other replica would learn of this heartbeat (`is_heard`), so that its
        sender tries another one.
        """
        self._require_heard()
        entry = self._catalog.service(service_id)
        if entry is None:
            raise NotRegistered(
                f"no service {service_id!r} is registered here; register it again"
            )
        _check(claim, entry)
        if heartbeat.instance and heartbeat.instance not in entry.service.instances:
            raise NotRegistered(
                f"no instance {heartbeat.instance!r} of {service_id!r} is registered"
                " here; register it again"
            )
        self.record_heartbeat(entry)
        reason = heartbeat.note or f"reported itself as {heartbeat.status}"
        fault = Fault("report", reason, self._clock.now())
        if heartbeat.status == "healthy":
            await self.remove_faults(entry, SELF_REPORTED)
        elif heartbeat.status == "warning":
            await self.add_warning(entry, fault, SELF_REPORTED)
        else:
            await self.add_fault(entry, fault)
        return self._catalog.service(service_id) or entry

    @property
    def is_heard(self) -> bool:
        """Whether heartbeats are taken: the other replicas, if any, learn of them."""
        if self._feed.interruption is not None:
            return False
        return self._announcer is None or self._announcer.unheard is None

    def _require_heard(self) -> None:
        self._feed.require()
        unheard = self._announcer.unheard if self._announcer is not None else None
        if unheard is not None:
            raise StoreUnavailable(unheard)

    def record_heartbeat(self, entry: Entry) -> None:
        """Note a heartbeat in memory: it moves ``last_seen`` and renews a lease."""
        entry.record_heartbeat(self._clock.now(), self._clock.monotonic())
        self._metrics.heartbeats += 1
        if self._announcer is not None:
            self._announcer.record_heartbeat(entry.id)

    async def report_check(
        self, service_id: str, name: str, report: CheckReport, claim: Claim = ANYBODY
    ) -> float:
        """Record what a service reports of one of its checks; return that one's ttl.

        Raises `NotRegistered`, `OwnedByAnother`. As with a heartbeat, only a change of
        status reaches the store.
        """
        self._require_heard()
        entry = self._catalog.service(service_id)
        if entry is not None:
            _check(claim, entry)
        check = named(entry.service.registration.checks, name) if entry else None
        if entry is None or check is None or check.ttl is None:
            raise NotRegistered(
                f"no service {service_id!r} with a check {name!r} of kind 'ttl' is"
                " registered here; register it again"
            )
        now = self._clock.now()
        evidence = CheckEvidence(
            now, None, "reported", report.note or report.status, None, None
        )
        bad = report.status == "unhealthy"
        result = CheckResult(int(bad), evidence)
        entry.record_report(name, self._clock.monotonic(), result)
        if self._announcer is not None:
            self._announcer.record_report(service_id, name)
        reason = f"check '{name}': {report.note or f'reported {report.status}'}"
        fault = Fault("check", reason, now, name)
        if bad and check.critical:
            await self.add_fault(entry, fault)
        elif report.status != "healthy":
            await self.add_warning(entry, fault)
        else:
            await self.remove_faults(entry, CHECKED, name)
        return check.ttl

    async def add_fault(self, subject: Subject, fault: Fault) -> None:
        """Add a fault to ``subject`` unless it has the same one already.

        Nothing happens if that registration is gone or replaced by now: what was
        seen of it says nothing about the new one.
        """

        def decide(service: Service) -> Service:
            if any(_same(fault, present) for present in service.faults):
                return service
            return status.with_fault(service, fault)

        await self._change_same(subject, decide)

    async def add_warning(
        self,
        subject: Subject,
        warning: Fault,
        over: frozenset[FaultSource] = frozenset(),
    ) -> None:
        """Add a warning, as `add_fault`; the faults of the sources ``over`` end."""

        def decide(service: Service) -> Service:
            if any(_same(warning, present) for present in service.warnings):
                others = over - {warning.source}
                return status.without_faults(service, others, warning.at)
            return status.with_warning(service, warning, over)

        await self._change_same(subject, decide)

    async def remove_faults(
        self, subject: Subject, sources: frozenset[FaultSource], check: str = ""
    ) -> None:
        """Remove the faults of these sources; of this registration, as `add_fault`.

        With ``check``, it is those that the check with this name has found.
        """
        now = self._clock.now()
        await self._change_same(
            subject, lambda service: status.without_faults(service, sources, now, check)
        )

    async def verify(self, subject: Subject) -> None:
        """Note that a check of kind `module` succeeded; of this registration."""
        now = self._clock.now()
        await self._change_same(subject, lambda service: status.verified(service, now))

    async def expire(self, subject: Subject) -> None:
        """Remove a service whose lease ran out, unless it was registered again."""
        entry = self._catalog.service(subject.id)
        if entry is None or entry.registered_at != subject.registered_at:
            return
        at_this_revision = Precondition(revisions=frozenset({entry.revision}))
        try:
            await self._remove(entry.id, at_this_revision, claim=None)
            self._metrics.expired += 1
        except (ServiceNotFound, RevisionMismatch):
            return

    async def _change_same(
        self, subject: Subject, change: Callable[[Service], Service]
    ) -> None:
        def decide(service: Service) -> Service:
            same = service.registered_at == subject.registered_at
            return change(service) if same else service

        try:
            await self.change(subject.id, decide)
        except ServiceNotFound:
            return

    async def change(
        self,
        service_id: str,
        change: Callable[[Service], Service],
        claim: Claim | None = None,
    ) -> WriteResult:
        """Write what ``change`` makes of a service; itself if that is nothing new.

        The registry itself has no claim. Raises `ServiceNotFound`, `OwnedByAnother`.
        """

        def decide(entry: Entry | None) -> Service | None:
            if entry is None:
                raise not_found(service_id)
            if claim is not None:
                _check(claim, entry)
            service = entry.service
            changed = change(service)
            return None if changed is service else changed

        return await self._write(service_id, decide, claim)

    async def _write(
        self,
        service_id: str,
        decide: Callable[[Entry | None], Service | None],
        claim: Claim | None,
    ) -> WriteResult:
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
                return WriteResult(service_id, entry.revision if entry else 0)
            document = documents.encode(service)
            self._feed.expect(key, document, service)
            try:
                revision = await self._writer.write(
                    Write(key, document, entry.revision if entry else 0)
                )
                assert revision is not None  # only a deletion has none
                change_log.written(entry, service, revision, self._namespace)
                self._audit.written(entry, service, revision, claim)
                await self._feed.wait(revision)
                return WriteResult(service_id, revision, created=entry is None)
            except StoreConflict as conflict:
                await catch_up(self._feed, seen, conflict)
            finally:
                self._feed.forget(key)
        raise contended(service_id)


async def catch_up(feed: Feed, seen: int, conflict: StoreConflict) -> None:
    """Wait for the change that caused a conflict; ``seen`` was the view's revision.

    A deletion's own revision is not known here: any change may be it.
    """
    if not conflict.actual:
        await feed.reaches(seen + 1, DELETION_WITHIN)
    elif not await feed.reaches(conflict.actual):
        raise StoreUnavailable(
            "nothing was written: another writer was faster, and the store has not"
            " sent its change to this replica yet; try again in a moment"
        )


def _same(fault: Fault, other: Fault) -> bool:
    return (fault.source, fault.check, fault.reason) == (
        other.source,
        other.check,
        other.reason,
    )


def _check(claim: Claim, entry: Entry | None) -> None:
    if entry is not None:
        claim.check(entry.owner, entry.id)


def contended(name: str) -> StoreUnavailable:
    """Return the error that a write was overtaken too often."""
    return StoreUnavailable(
        f"too many writers change {name!r} at once; try again in a moment"
    )
