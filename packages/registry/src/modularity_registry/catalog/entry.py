"""A service as the catalog holds it, with its JSON rendered once.

Whatever exists once a service is kept from the garbage collector (``gc=False``), which
would look at all of it again and again: nothing here refers back to what holds it.
"""

import sys
from datetime import datetime
from typing import Any, Final

import msgspec

from modularity_registry.catalog import documents
from modularity_registry.clock import maybe_rfc3339, rfc3339, rfc3339_json
from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.rights import shown_owner
from modularity_registry.model.second_opinion import SecondOpinion
from modularity_registry.model.service import (
    CHECKED_MODES,
    CheckEvidence,
    CheckPlan,
    CheckResult,
    Fault,
    Mode,
    Service,
    Status,
)
from modularity_registry.model.status import check_plan, reason, status
from modularity_registry.schema import encode
from modularity_registry.schema.replies import services as replies

ANSWERED: Final = frozenset({"ok", "warning", "status", "protocol", "mismatch"})
"""The outcomes of checks that had an answer."""


class Vitals(msgspec.Struct, gc=False, eq=False):
    """What this process has seen of a service since its registration.

    ``lease_seen`` (seconds, monotonic) is for leases, ``last_seen`` for people.
    """

    last_seen: datetime
    lease_seen: float
    failed_checks: int = 0
    evidence: CheckEvidence | None = None

    @property
    def json(self) -> bytes:
        """The end of a service's JSON object, from the value of ``last_seen`` on."""
        seen = rfc3339_json(self.last_seen)
        return b'%b,"failed_checks":%d}' % (seen, self.failed_checks)


class CheckedVitals(Vitals, gc=False, eq=False):
    """The same for a service that has checks of its own, with what each has seen."""

    # Apart, so that the many services that have none take no more memory.
    checks: dict[str, CheckResult] = msgspec.field(default_factory=dict)
    reachable: datetime | None = None
    """When a check last had an answer, good or bad."""
    verified: datetime | None = None
    """When a check of kind `module` last succeeded."""
    began: float = 0.0
    """Since when (monotonic) the service is expected to report."""
    reported: dict[str, float] = msgspec.field(default_factory=dict)
    """When (monotonic) it last reported each of its checks."""


class Entry(msgspec.Struct, gc=False, eq=False):
    """A service as stored, with what every read needs at hand.

    Nothing in it changes but the signs of life, and with them the end of ``json``: the
    service as every reply shows it, rendered by the first read, so that the next ones
    touch little memory. The document stays as bytes and is read when somebody wants
    more: as Python values it would take twice the memory.
    """

    id: str
    revision: int
    status: Status
    mode: Mode
    runtime: str
    ttl: float | None
    faulty: bool
    owner: str
    capabilities: tuple[str, ...]
    zone: str
    region: str
    priority: int
    registered_at: datetime
    vitals: Vitals
    document: bytes
    renderer: "Renderer | None" = None
    """Who renders the JSON; None for who comes with it."""
    head: int = 0
    """How many bytes of the JSON come before the signs of life."""
    rendered: bytes | None = None
    """The JSON as it was last read or has changed since; None if nobody read it."""

    @property
    def json(self) -> bytes:
        """The service as every reply shows it."""
        rendered = self.rendered
        return self.render(self.service) if rendered is None else rendered

    def render(self, service: Service) -> bytes:
        """Return the JSON, and keep it; ``service`` is what the document holds."""
        assert self.renderer is not None
        head = self.renderer.head(service, self.revision)
        self.head = len(head)
        tail = b""
        # A thread may render it beside changes, which only refresh what is there.
        while (latest := self.vitals.json) != tail:
            tail = latest
            self.rendered = head + tail
        return head + tail

    def _refresh(self) -> None:
        if self.rendered is not None:
            self.rendered = self.rendered[: self.head] + self.vitals.json

    @property
    def service(self) -> Service:
        """The whole service; each call reads the document again."""
        return documents.decode(documents.key_of(self.id), self.document)

    @property
    def name(self) -> str:
        """The service's name, for people."""
        return self.service.registration.name

    def record_heartbeat(self, at: datetime, monotonic: float) -> None:
        """Record a heartbeat: it renews the lease."""
        self.vitals.lease_seen = monotonic
        self.vitals.last_seen = at
        self._refresh()

    def record_check(self, ok: bool, failures: int, evidence: CheckEvidence) -> None:
        """Record a check; ``failures`` is how many failed in a row by now."""
        self.vitals.failed_checks = failures
        self.vitals.evidence = evidence
        self._record_answer(evidence)
        if ok:
            self.vitals.last_seen = evidence.checked_at
        self._refresh()

    def record_named_check(self, name: str, result: CheckResult) -> None:
        """Record what one of the service's own checks has come to."""
        if isinstance(self.vitals, CheckedVitals):
            self.vitals.checks[name] = result
            self._record_answer(result.evidence)

    def record_second_opinion(self, name: str, opinion: SecondOpinion) -> None:
        """Record what other replicas say of the last check of this name."""
        checks = self.vitals.checks if isinstance(self.vitals, CheckedVitals) else {}
        result = checks.get(name)
        evidence = result.evidence if result else self.vitals.evidence
        if evidence is None or (name and result is None):
            return
        evidence = msgspec.structs.replace(evidence, second_opinion=opinion)
        if result is not None:
            checks[name] = msgspec.structs.replace(result, evidence=evidence)
        else:
            self.vitals.evidence = evidence

    def record_verified(self, at: datetime) -> None:
        """Record that a check of kind `module` has succeeded."""
        if isinstance(self.vitals, CheckedVitals):
            self.vitals.verified = at

    def _record_answer(self, evidence: CheckEvidence) -> None:
        if isinstance(self.vitals, CheckedVitals) and evidence.outcome in ANSWERED:
            self.vitals.reachable = evidence.checked_at

    def record_report(self, name: str, monotonic: float, result: CheckResult) -> None:
        """Record what the service reported itself: it renews the check's term."""
        if isinstance(self.vitals, CheckedVitals):
            self.vitals.reported[name] = monotonic
            self.vitals.checks[name] = result

    @property
    def has_checks(self) -> bool:
        """Whether the service has checks of its own."""
        return isinstance(self.vitals, CheckedVitals)

    def forget_check(self) -> None:
        """Forget the last checks: another replica makes them from now on."""
        if isinstance(self.vitals, CheckedVitals):
            self.vitals.checks.clear()
        self.vitals.failed_checks = 0
        self.vitals.evidence = None
        self._refresh()

    @property
    def second_opinion(self) -> str | None:
        """Which replicas reach the service and which don't, for people.

        None unless its checks can't connect from here, and others were asked.
        """
        checks = self.vitals.checks if isinstance(self.vitals, CheckedVitals) else {}
        messages = [
            f"check '{name}': {result.evidence.second_opinion.message}"
            for name, result in checks.items()
            if result.evidence.second_opinion is not None
        ]
        own = self.vitals.evidence
        if own is not None and own.second_opinion is not None:
            messages.insert(0, own.second_opinion.message)
        return "; ".join(messages) or None

    def json_with_evidence(self, checker: str) -> bytes:
        """Return the same with ``evidence``: what the verdict rests on.

        ``checker`` is the replica that would check it. What it saw is known to it
        alone; what it found is in the faults, for everyone.
        """
        check = self.vitals.evidence
        service = self.service
        drain = service.drain
        evidence = replies.Evidence(
            checked_at=rfc3339(check.checked_at) if check else None,
            latency_ms=check.latency_ms if check else None,
            outcome=check.outcome if check else None,
            message=check.message if check else None,
            since=rfc3339(service.since),
            next_check=maybe_rfc3339(check.next_check) if check else None,
            checked_by=_checker(self.mode, check, checker),
            faults=_faults(service.faults),
            warnings=_faults(service.warnings) or msgspec.UNSET,
            drain=replies.Drained(drain.reason, rfc3339(drain.at)) if drain else None,
            second_opinion=_second_opinion(check),
            checks=self._named_checks(service) or msgspec.UNSET,
            facts=self._facts(service),
        )
        tail = encode(evidence)
        return b'%b,"evidence":%b}' % (self.json[:-1], tail)

    def _facts(self, service: Service) -> replies.Facts | msgspec.UnsetType:
        kinds = {check.kind for check in service.registration.checks}
        if "module" not in kinds or not isinstance(self.vitals, CheckedVitals):
            return msgspec.UNSET
        return replies.Facts(
            rfc3339(self.registered_at),
            maybe_rfc3339(self.vitals.reachable),
            maybe_rfc3339(self.vitals.verified or service.verified),
        )

    def _named_checks(self, service: Service) -> list[replies.NamedCheck]:
        results = self.vitals.checks if isinstance(self.vitals, CheckedVitals) else {}
        return [
            _named_check(check, results.get(check.name), service)
            for check in service.registration.checks
        ]


class Renderer:
    """Makes entries; ``defaults`` is the check of who asks for nothing of its own."""

    def __init__(self, defaults: CheckPlan) -> None:
        self._defaults = defaults

    def entry(
        self, service: Service, document: bytes, revision: int, vitals: Vitals
    ) -> Entry:
        """Return the entry of ``service``, stored as ``document`` at ``revision``."""
        registration = service.registration
        return Entry(
            id=registration.id,
            revision=revision,
            status=status(service),
            mode=registration.mode,
            runtime=_runtime(service),
            ttl=registration.ttl,
            faulty=bool(service.faults or service.warnings),
            owner=sys.intern(service.owner),
            capabilities=tuple(map(sys.intern, registration.capabilities)),
            zone=sys.intern(registration.zone),
            region=sys.intern(registration.region),
            priority=registration.priority,
            registered_at=service.registered_at,
            vitals=vitals,
            document=document,
            renderer=self,
        )

    def head(self, service: Service, revision: int) -> bytes:
        """Return the JSON of a service up to the value of ``last_seen``."""
        registration = service.registration
        plan = check_plan(registration, self._defaults)
        trouble = reason(service)
        stored = replies.StoredService(
            id=registration.id,
            name=registration.name,
            version=registration.version,
            capabilities=registration.capabilities,
            location=registration.location,
            mode=registration.mode,
            status=status(service),
            metadata=registration.metadata,
            registered_at=rfc3339(service.registered_at),
            weight=registration.weight,
            ttl=registration.ttl,
            health=(
                replies.CheckPlan(
                    plan.interval, plan.timeout, plan.path or msgspec.UNSET
                )
                if plan
                else None
            ),
            revision=revision,
            owner=shown_owner(service.owner) or msgspec.UNSET,
            checks=_shown(registration.checks),
            instances=service.instances or msgspec.UNSET,
            zone=registration.zone or msgspec.UNSET,
            region=registration.region or msgspec.UNSET,
            priority=registration.priority or msgspec.UNSET,
            status_reason=trouble or msgspec.UNSET,
            status_since=rfc3339(service.since) if trouble else msgspec.UNSET,
        )
        return encode(stored)[:-1] + b',"last_seen":'


def metadata(service: Service) -> dict[str, Any]:
    """Return the service's metadata as Python values."""
    decoded: dict[str, Any] = msgspec.json.decode(service.registration.metadata)
    return decoded


def new_vitals(service: Service, monotonic: float) -> Vitals:
    """Return those of a service that registered just now."""
    if service.registration.checks:
        return CheckedVitals(service.registered_at, monotonic, began=monotonic)
    return Vitals(service.registered_at, lease_seen=monotonic)


def _faults(faults: tuple[Fault, ...]) -> list[replies.Fault]:
    return [
        replies.Fault(
            fault.reason, rfc3339(fault.at), fault.source, fault.check or msgspec.UNSET
        )
        for fault in faults
    ]


def _shown(checks: tuple[ServiceCheck, ...]) -> msgspec.Raw | msgspec.UnsetType:
    if not checks:
        return msgspec.UNSET
    return msgspec.Raw(encode([check.shown() for check in checks]))


def _named_check(
    check: ServiceCheck, result: CheckResult | None, service: Service
) -> replies.NamedCheck:
    """Return what is known of a check; what is stored is known to every replica."""
    status = "healthy" if result is not None else "unknown"
    if any(fault.check == check.name for fault in service.faults):
        status = "unhealthy"
    elif any(warning.check == check.name for warning in service.warnings):
        status = "warning"
    seen = result.evidence if result else None
    return replies.NamedCheck(
        name=check.name,
        kind=check.kind,
        critical=check.critical,
        status=status,
        failed_checks=result.failures if result else 0,
        checked_at=rfc3339(seen.checked_at) if seen else None,
        latency_ms=seen.latency_ms if seen else None,
        outcome=seen.outcome if seen else None,
        message=seen.message if seen else None,
        next_check=maybe_rfc3339(seen.next_check) if seen else None,
        second_opinion=_second_opinion(seen),
    )


def _second_opinion(
    check: CheckEvidence | None,
) -> replies.SecondOpinion | msgspec.UnsetType:
    opinion = check.second_opinion if check else None
    if opinion is None:
        return msgspec.UNSET
    return replies.SecondOpinion(
        opinion.state,
        opinion.message,
        [
            replies.Opinion(replica, answer.failing, answer.message)
            for replica, answer in opinion.answers.items()
        ],
    )


def _checker(mode: Mode, check: CheckEvidence | None, checker: str) -> str | None:
    if check is not None:
        return check.checked_by
    return checker if mode in CHECKED_MODES else None


class _Metadata(msgspec.Struct):
    runtime: Any = None


_decode_runtime = msgspec.json.Decoder(_Metadata).decode


def _runtime(service: Service) -> str:
    runtime = _decode_runtime(service.registration.metadata).runtime
    return sys.intern(runtime) if isinstance(runtime, str) and runtime else "unknown"
