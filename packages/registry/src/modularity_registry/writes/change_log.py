"""The log of what was changed, why and by whom: each change once, where it was made.

A line is written as soon as the store has taken the change, by the replica that wrote
it. So the lines of all replicas together hold every change once.
"""

import logging

from modularity_registry.catalog.entry import Entry
from modularity_registry.model import status
from modularity_registry.model.service import Drain, Fault, Service
from modularity_registry.model.split import Split
from modularity_registry.telemetry import logs

# Documented, so that one can set its level or send it elsewhere.
log = logging.getLogger("modularity_registry.changes")


def written(
    old: Entry | None, new: Service, revision: int, namespace: str | None = None
) -> None:
    """Log that ``new`` was written over ``old`` as of ``revision``.

    A registration that only repeats the one before is logged at debug: services that
    register on a beat would fill the log with nothing new. One that takes the id of a
    live provider at another location is a warning.
    """
    if not log.isEnabledFor(logging.WARNING):
        return
    if old is None:
        _registered("service registered", logging.INFO, new, revision, namespace)
        return
    before = old.service
    if before.registered_at == new.registered_at and _state(before) != _state(new):
        _altered(before, new, revision, namespace)
    elif before.registration == new.registration:
        _registered("service registered again", logging.DEBUG, new, revision, namespace)
    elif displaced := status.displaced(before, new):
        _registered(
            "service replaced", logging.WARNING, new, revision, namespace, displaced
        )
    else:
        _registered("service replaced", logging.INFO, new, revision, namespace)


def removed(
    old: Entry, revision: int, expired: bool, namespace: str | None = None
) -> None:
    """Log that ``old`` is no more: ``expired`` with its lease, else unregistered."""
    reason = None
    if expired and old.ttl is not None:
        terms = status.LEASE_TERMS
        reason = f"no heartbeat for {terms} times its ttl of {old.ttl:g} s"
    event = "service expired" if expired else "service unregistered"
    logs.log_event(
        log,
        logging.INFO,
        event,
        namespace=namespace,
        service_id=old.id,
        revision=revision,
        reason=reason,
    )


def split(
    old: Split | None, new: Split | None, revision: int, namespace: str | None = None
) -> None:
    """Log that ``new`` took the place of a split, or that it ended."""
    changed = new or old
    logs.log_event(
        log,
        logging.INFO,
        "split changed" if new else "split ended",
        namespace=namespace,
        capability=changed.capability if changed else None,
        revision=revision,
        split=_weights(new),
        old_split=_weights(old),
    )


def _weights(split: Split | None) -> str | None:
    if split is None:
        return None
    return " ".join(f"{name}={weight}" for name, weight in split.groups.items())


def _registered(
    event: str,
    level: int,
    new: Service,
    revision: int,
    namespace: str | None,
    displaced: str = "",
) -> None:
    registration = new.registration
    logs.log_event(
        log,
        level,
        event,
        namespace=namespace,
        service_id=registration.id,
        revision=revision,
        mode=registration.mode,
        location=registration.location,
        version=registration.version,
        displaced=displaced or None,
    )


def _altered(
    before: Service, new: Service, revision: int, namespace: str | None
) -> None:
    reason = status.reason(new)
    if before.drain != new.drain:
        event = "service undrained" if new.drain is None else "service drained"
        reason = _reason_of(new.drain)
    elif status.status(before) != status.status(new):
        event = "service status changed"
        reason = reason or f"over: {status.reason(before)}"
    else:
        event = "service faults changed"
    sources = {fault.source for fault in _found(before) ^ _found(new)}
    logs.log_event(
        log,
        logging.INFO,
        event,
        namespace=namespace,
        service_id=new.registration.id,
        revision=revision,
        old_status=status.status(before),
        new_status=status.status(new),
        found_by="+".join(sorted(sources)) or None,
        reason=reason,
    )


def _state(service: Service) -> tuple[object, ...]:
    return service.faults, service.warnings, service.drain


def _found(service: Service) -> set[Fault]:
    return {*service.faults, *service.warnings}


def _reason_of(drain: Drain | None) -> str | None:
    return drain.reason or None if drain else None
