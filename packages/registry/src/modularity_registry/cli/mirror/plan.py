"""What is to be done here so that it is as at the source. Decides, touches nothing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modularity_client import Service
from modularity_registry.cli.mirror.source import KEY, SOURCE, Instance, Snapshot

FEWEST: Final = 3
"""With fewer services than this, the loss of most of them proves nothing."""

EMPTY_FOR: Final = 90.0
"""Seconds for which a source has to list nothing before its last services go: a Eureka
server that has just started lists none until its clients come back."""


Lease = Callable[[str], Mapping[str, Any]]
"""Returns the fields that say how the health of a service of a mode is found out."""


_USUAL: Final = {"version": "1.0.0", "weight": 1}
"""What a registration without these fields has."""


@dataclass(frozen=True, slots=True)
class Write:
    """A service to register: over the one at ``revision``, or only if there is none."""

    instance: Instance
    service_id: str
    body: Mapping[str, Any]
    revision: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """``gone`` are services that the source no longer lists.

    ``same`` are those that are as they should be, with their instances.
    """

    writes: tuple[Write, ...]
    same: tuple[tuple[Service, Instance], ...]
    gone: tuple[Service, ...]


def plan_of(
    snapshot: Snapshot, mirrored: Iterable[Service], name: str, lease: Lease
) -> Plan:
    """Compare a source called ``name`` with what is mirrored of it."""
    present = {str(service.metadata.get(KEY)): service for service in mirrored}
    taken = {service.id: key for key, service in present.items()}
    writes: list[Write] = []
    same: list[tuple[Service, Instance]] = []
    for key in sorted(snapshot):
        instance, service = snapshot[key], present.get(key)
        service_id = service.id if service else _free_id(instance, taken)
        taken[service_id] = key
        body = _body(instance, service_id, name, lease)
        if service is None or not _is_same(service, body):
            revision = service.revision if service else None
            writes.append(Write(instance, service_id, body, revision))
        else:
            same.append((service, instance))
    gone = tuple(present[key] for key in sorted(present.keys() - snapshot.keys()))
    return Plan(tuple(writes), tuple(same), gone)


def is_suspicious(plan: Plan, empty_for: float) -> bool:
    """Say whether so much is gone at once that the source may have lost it.

    ``empty_for`` is for how many seconds it has listed nothing.
    """
    gone = len(plan.gone)
    left = len(plan.same) + sum(write.revision is not None for write in plan.writes)
    if gone >= FEWEST and gone > left:
        return True
    return bool(gone) and not (left or plan.writes) and empty_for < EMPTY_FOR


def _free_id(instance: Instance, taken: Mapping[str, str]) -> str:
    """Return the best id that no other service of the source has."""
    free = (one for one in instance.ids if taken.get(one, instance.key) == instance.key)
    return next(free, instance.ids[-1])


def _body(
    instance: Instance, service_id: str, name: str, lease: Lease
) -> dict[str, Any]:
    body = {**_USUAL, **instance.body, **lease(instance.body["mode"])}
    body["id"] = service_id
    marks = {SOURCE: name, KEY: instance.key}
    body["metadata"] = {**instance.body.get("metadata", {}), **marks}
    return body


def _is_same(service: Service, body: Mapping[str, Any]) -> bool:
    """Say whether a service is registered with this body."""
    for field, value in body.items():
        if field == "health":
            continue  # what is shown of it is what the registry makes of it
        present = getattr(service, field)
        if field == "checks":
            present = [check["name"] for check in present]
            value = [check["name"] for check in value]
        elif isinstance(present, tuple):
            value = tuple(value)
        if present != value:
            return False
    return True
