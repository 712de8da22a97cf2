"""Endpoints: the providers of a cluster, as Envoy's ``ClusterLoadAssignment``."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from envoy.config.core.v3.health_check_pb2 import HealthStatus
from envoy.config.endpoint.v3.endpoint_components_pb2 import LbEndpoint
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.zones import Place
from modularity_registry.integrations.envoy.resources.clusters import (
    GROUP,
    HTTPS,
    MATCH,
)
from modularity_registry.integrations.envoy.resources.places import (
    Destination,
    destination_of,
    server_name,
)
from modularity_registry.model.location import Location
from modularity_registry.model.service import ACTIVE, Status
from modularity_registry.model.sidecar import MESH, MTLS

HEALTH: Final[dict[Status, int]] = {
    "healthy": HealthStatus.Value("HEALTHY"),
    "warning": HealthStatus.Value("DEGRADED"),
    "unhealthy": HealthStatus.Value("UNHEALTHY"),
    "draining": HealthStatus.Value("DRAINING"),
}
"""Envoy's values; gRPC calls only who is ``HEALTHY``."""

Addresses = Callable[[Location], tuple[str, ...]]


class _Endpoint(NamedTuple):
    entry: Entry
    target: Destination
    addresses: tuple[str, ...]


def assignment(
    name: str,
    entries: Sequence[Entry],
    place: Place,
    addresses: Addresses,
    threshold: float,
) -> ClusterLoadAssignment:
    """Return the endpoints of the cluster ``name`` for a caller at ``place``.

    The best priority is 0: the providers of the best priority of the registry in the
    caller's zone, then those in its region, then the others, then the same of the next
    priority. Nobody is there if no provider may get calls. ``threshold`` is the share
    of a zone's providers that keep its callers there.
    """
    message = ClusterLoadAssignment(cluster_name=name)
    message.policy.overprovisioning_factor.value = round(100 / max(threshold, 0.01))
    if not any(entry.status in ACTIVE for entry in entries):
        return message
    levels = _levels(entries, place, addresses)
    capability = name.partition(GROUP)[0]
    statuses = {each.entry.status for level in levels for each in level}
    for priority, level in enumerate(levels):
        for (region, zone), members in _localities(level).items():
            locality = message.endpoints.add(priority=priority)
            locality.locality.region, locality.locality.zone = region, zone
            _fill(locality, members, "healthy" not in statuses, capability)
    return message


def _levels(
    entries: Sequence[Entry], place: Place, addresses: Addresses
) -> list[list[_Endpoint]]:
    """Return the providers by Envoy's priority, the best one first, none empty."""
    levels: dict[tuple[int, int], list[_Endpoint]] = defaultdict(list)
    for entry in entries:
        target = destination_of(entry)
        where = addresses(target.location) if target else ()
        if target is not None and where:
            key = entry.priority, _distance(entry, place)
            levels[key].append(_Endpoint(entry, target, where))
    return [_with_weight(level) for _, level in sorted(levels.items())]


def _distance(entry: Entry, place: Place) -> int:
    if place.zone and entry.zone == place.zone:
        return 0
    return 1 if place.region and entry.region == place.region else 2


def _with_weight(level: list[_Endpoint]) -> list[_Endpoint]:
    """Return those with a weight, or all if nobody who may get calls has one."""
    if not any(e.target.weight and e.entry.status in ACTIVE for e in level):
        return level
    return [each for each in level if each.target.weight]


def _localities(
    level: Sequence[_Endpoint],
) -> dict[tuple[str, str], list[_Endpoint]]:
    localities: dict[tuple[str, str], list[_Endpoint]] = defaultdict(list)
    for each in level:
        localities[each.entry.region, each.entry.zone].append(each)
    return localities


def _fill(
    locality: Any, members: Sequence[_Endpoint], only_warnings: bool, capability: str
) -> None:
    total = 0
    endpoints = []
    for entry, target, addresses in members:
        promoted = only_warnings and entry.status == "warning"
        status = "healthy" if promoted else entry.status
        server = server_name(capability) if target.mtls else ""
        endpoints.append(_endpoint(target, addresses, status, server))
        if entry.status in ACTIVE:
            total += max(target.weight, 1)
    locality.lb_endpoints.extend(endpoints)
    if total:
        # gRPC leaves out localities without a weight.
        locality.load_balancing_weight.value = total


@lru_cache(16_384)
def _endpoint(
    target: Destination, addresses: tuple[str, ...], status: Status, server: str
) -> LbEndpoint:
    """Return an endpoint; most are as they were before the last change.

    One with a ``server`` is reached by mutual TLS: its certificate has that name.
    """
    message = LbEndpoint(health_status=HEALTH[status])
    message.load_balancing_weight.value = max(target.weight, 1)
    location, (address, *more) = target.location, addresses
    message.endpoint.hostname = server or location.authority
    _set_address(message.endpoint.address, address, location.port)
    for other in more:
        extra = message.endpoint.additional_addresses.add()
        _set_address(extra.address, other, location.port)
    if server:
        message.metadata.filter_metadata[MATCH].update({MESH: MTLS})
    elif location.scheme == HTTPS:
        message.metadata.filter_metadata[MATCH].update({"scheme": HTTPS})
    return message


def _set_address(message: Any, address: str, port: int) -> None:
    message.socket_address.address = address
    message.socket_address.port_value = port
