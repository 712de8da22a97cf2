"""A service's status, checks and lease, as pure functions of facts and time."""

from datetime import datetime
from functools import lru_cache

import msgspec

from modularity_registry.model.checks import ServiceCheck, named
from modularity_registry.model.service import (
    CHECKED_MODES,
    MOST_INSTANCES,
    CheckPlan,
    Drain,
    Fault,
    FaultSource,
    HealthCheck,
    Registration,
    Service,
    Status,
)

DEFAULT_CHECK_PATH = "/_module/health"
LEASE_TERMS = 10
"""A lease that was missed for this many terms in a row removes the service."""

SUSPICION_MINIMUM = 3
"""With fewer hosts than this, failures of most of them prove nothing."""


def status(service: Service) -> Status:
    """Return the service's status: the worst, and an order to drain before any."""
    if service.drain is not None:
        return "draining"
    if service.faults:
        return "unhealthy"
    return "warning" if service.warnings else "healthy"


def reason(service: Service) -> str | None:
    """Return in one sentence why the service is not healthy; None when it is."""
    if service.drain is not None:
        return service.drain.reason or "drained by an operator"
    if service.faults or service.warnings:
        return "; ".join(fault.reason for fault in service.faults or service.warnings)
    return None


def with_fault(service: Service, fault: Fault) -> Service:
    """Return the service with ``fault`` in place of what its check found before."""
    faults, warnings = _others(service, frozenset({fault.source}), fault.check)
    return _failed(service, fault, faults=(*faults, fault), warnings=warnings)


def with_warning(
    service: Service, warning: Fault, over: frozenset[FaultSource] = frozenset()
) -> Service:
    """Return the service with ``warning`` in place of what its check found before.

    And of what the sources ``over`` found.
    """
    sources = over | {warning.source}
    faults, warnings = _others(service, sources, warning.check)
    return _failed(service, warning, faults=faults, warnings=(*warnings, warning))


def without_faults(
    service: Service, sources: frozenset[FaultSource], now: datetime, check: str = ""
) -> Service:
    """Return the service without what these sources found; itself if nothing.

    Both faults and warnings. With ``check``, it is those that the check with this name
    has found.
    """
    faults, warnings = _others(service, sources, check)
    if faults == service.faults and warnings == service.warnings:
        return service
    return _updated(service, now, faults=faults, warnings=warnings)


def _others(
    service: Service, sources: frozenset[FaultSource], check: str
) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """Return the faults and the warnings that others than this check have found."""

    def kept(found: tuple[Fault, ...]) -> tuple[Fault, ...]:
        return tuple(
            fault
            for fault in found
            if fault.source not in sources or fault.check != check
        )

    return kept(service.faults), kept(service.warnings)


def verified(service: Service, now: datetime) -> Service:
    """Return the service with a check of kind `module` passed; itself if it was."""
    if service.verified is not None:
        return service
    return msgspec.structs.replace(service, verified=now)


def drained(service: Service, reason: str, now: datetime) -> Service:
    """Return the service taken out of discovery; itself if it is so already."""
    if service.drain is not None and service.drain.reason == reason:
        return service
    return _updated(service, now, drain=Drain(reason, now))


def undrained(service: Service, now: datetime) -> Service:
    """Return the service back in discovery; itself if it was never out."""
    return _updated(service, now, drain=None) if service.drain else service


def joined(current: Service, registered: Service, instance: str) -> Service:
    """Return the service after ``instance`` has registered ``registered``.

    If ``current`` has no fault and has the same content, only the list of instances
    changes, and a drain ends. Otherwise ``registered`` replaces it, and the list stays.
    """
    instances = current.instances
    if instance not in instances:
        instances = (*instances, instance)[-MOST_INSTANCES:]
    is_same = (
        current.registration == registered.registration
        and current.owner == registered.owner
        and current.loopback == registered.loopback
    )
    if current.faults or not is_same:
        return msgspec.structs.replace(registered, instances=instances)
    if instances == current.instances and current.drain is None:
        return current
    now = registered.registered_at
    return _updated(current, now, instances=instances, drain=None)


def displaced(current: Service, registered: Service) -> str:
    """Return the location of a live provider that loses its id; empty if none does.

    It may be a second process with the same id, or one that was moved on purpose.
    """
    location = current.registration.location
    moved = location != registered.registration.location
    return location if moved and not current.faults else ""


def left(service: Service, instance: str) -> Service:
    """Return the service without one of its instances."""
    others = tuple(name for name in service.instances if name != instance)
    return msgspec.structs.replace(service, instances=others)


def _failed(service: Service, fault: Fault, **changes: object) -> Service:
    """Return the service with ``changes``, unverified if a module check failed."""
    check = named(service.registration.checks, fault.check)
    if check is not None and check.kind == "module":
        changes["verified"] = None
    return _updated(service, fault.at, **changes)


def _updated(service: Service, now: datetime, **changes: object) -> Service:
    updated = msgspec.structs.replace(service, **changes)
    if status(updated) == status(service):
        return updated
    return msgspec.structs.replace(updated, since=now)


@lru_cache(maxsize=4096)  # most services share one plan, and its memory
def _plan(mode: str, check: HealthCheck | None, defaults: CheckPlan) -> CheckPlan:
    check = check or HealthCheck()
    path = None
    if mode == "http":
        path = check.path or defaults.path or DEFAULT_CHECK_PATH
    return CheckPlan(
        interval=check.interval or defaults.interval,
        timeout=check.timeout or defaults.timeout,
        path=path,
    )


def check_plan(registration: Registration, defaults: CheckPlan) -> CheckPlan | None:
    """Return how to check the service; None where its mode isn't checked, or it asked
    for no such check.
    """
    health = registration.health
    if registration.mode not in CHECKED_MODES or (health and not health.enabled):
        return None
    return _plan(registration.mode, registration.health, defaults)


def named_plan(check: ServiceCheck, defaults: CheckPlan) -> CheckPlan:
    """Return when to make a check that has a name."""
    return CheckPlan(
        interval=check.interval or defaults.interval,
        timeout=check.timeout or defaults.timeout,
        fall=check.fall,
        rise=check.rise,
    )


def lease_missed(seen: float, ttl: float, now: float) -> bool:
    """Say whether a full term has passed since ``seen`` (seconds, monotonic)."""
    return now - seen >= ttl


def lease_expired(seen: float, ttl: float, now: float) -> bool:
    """Say whether the lease was missed for so long that the service is removed."""
    return now - seen >= ttl * LEASE_TERMS


def suspicious(failing: int, hosts: int) -> bool:
    """Say whether so many hosts fail together that the observer should doubt itself."""
    return hosts >= SUSPICION_MINIMUM and failing * 2 > hosts
