"""A service as an instance of Eureka: what its JSON and XML both say."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from modularity_registry import schema
from modularity_registry.catalog.entry import Entry, metadata
from modularity_registry.integrations.eureka import statuses
from modularity_registry.integrations.eureka.registration import (
    DEFAULT_DURATION,
    RESERVED,
    addresses,
    is_enabled,
    number,
    text,
)
from modularity_registry.model.location import InvalidLocation, Location, parse_location
from modularity_registry.model.service import CHECKED_MODES, Registration, Service
from modularity_registry.model.status import DEFAULT_CHECK_PATH

RENEWAL: Final = 30
"""Seconds between heartbeats, for a service that says nothing."""

_DATA_CENTER: Final = {
    "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
    "name": "MyOwn",
}
NO_METADATA: Final = {"@class": "java.util.Collections$EmptyMap"}
_OWN: Final = frozenset(
    {"overriddenStatus", "overriddenstatus", "metadata", "actionType"}
)
_MARK: Final = f'"{RESERVED}"'.encode()


class Instance(NamedTuple):
    """A service as an instance of one application. ``app`` is in upper case.

    ``capability`` is the one that it stands for; None for a service that registered
    as an instance.
    """

    entry: Entry
    app: str
    instance_id: str
    status: str
    vips: tuple[str, ...]
    secure_vips: tuple[str, ...]
    capability: str | None


def instances_of(entry: Entry) -> tuple[Instance, ...]:
    """Return a service as Eureka sees it: once for each of its capabilities.

    One that registered as an instance has one application. One without a host and a
    port has none: nothing of Eureka can say where it is.
    """
    if _MARK in entry.document:
        service = entry.service
        kept = _kept(metadata(service))
        if kept is not None:
            return (_registered(entry, service, kept),)
    if entry.mode not in CHECKED_MODES and _place(entry.service.registration) is None:
        return ()
    status = {"draining": statuses.OUT_OF_SERVICE, "unhealthy": statuses.DOWN}.get(
        entry.status, statuses.UP
    )
    return tuple(
        Instance(entry, name.upper(), entry.id, status, (name,), (name,), name)
        for name in entry.capabilities
    )


def _registered(entry: Entry, service: Service, kept: Mapping[str, Any]) -> Instance:
    return Instance(
        entry,
        text(kept["app"]).upper(),
        text(kept["instanceId"]),
        statuses.effective(service),
        tuple(addresses(kept.get("vipAddress"))),
        tuple(addresses(kept.get("secureVipAddress"))),
        None,
    )


def rendered(instance: Instance, action: str = "") -> dict[str, Any]:
    """Return an instance as JSON has it; with ``action``, as one in a delta."""
    entry, service = instance.entry, instance.entry.service
    values = metadata(service)
    kept = _kept(values) if instance.capability is None else None
    own_metadata = values.pop(RESERVED, None)
    if kept is not None:
        content = dict(kept)
        if isinstance(kept.get("metadata"), dict):
            values |= kept["metadata"]
    else:
        content = _described(service.registration, instance)
        if own_metadata is not None:
            values[RESERVED] = own_metadata
    if service.registration.zone:
        values.setdefault("zone", service.registration.zone)
    document = {
        **_defaults(content),
        "status": instance.status,
        "overriddenStatus": statuses.overridden(service),
        "leaseInfo": _lease(content, entry, service),
        "metadata": {key: _shown(part) for key, part in values.items()} or NO_METADATA,
        "lastUpdatedTimestamp": str(_milliseconds(service.since)),
        "lastDirtyTimestamp": str(
            number(content.get("lastDirtyTimestamp"))
            or _milliseconds(entry.registered_at)
        ),
    }
    if action:
        document["actionType"] = action
    return document


def dirty_timestamp(entry: Entry) -> int:
    """Return when an instance last changed itself, as it says; 0 if it does not."""
    kept = _kept(metadata(entry.service)) if _MARK in entry.document else None
    return number(kept.get("lastDirtyTimestamp")) if kept else 0


def _kept(values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what is kept of an instance; None for what registered by other means."""
    kept = values.get(RESERVED)
    if not isinstance(kept, dict):
        return None
    return kept if text(kept.get("app")) and text(kept.get("instanceId")) else None


def _defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an instance in its usual order and with what clients can't do without."""
    app = text(content["app"])
    port, secure = content.get("port"), content.get("securePort")
    document = {
        "instanceId": text(content["instanceId"]),
        "hostName": text(content.get("hostName")),
        "app": app.upper(),
        "ipAddr": text(content.get("ipAddr")) or text(content.get("hostName")),
        "port": _port(port, True, 7001),
        "securePort": _port(secure, False, 7002),
        "countryId": number(content.get("countryId"), 1),
        "dataCenterInfo": content.get("dataCenterInfo"),
        "vipAddress": text(content.get("vipAddress")) or app.lower(),
        "secureVipAddress": text(content.get("secureVipAddress")) or app.lower(),
        "isCoordinatingDiscoveryServer": text(
            content.get("isCoordinatingDiscoveryServer")
        )
        or "false",
    }
    if not isinstance(document["dataCenterInfo"], dict):
        document["dataCenterInfo"] = _DATA_CENTER
    more = content.keys() - document.keys() - _OWN
    # In the order in which they came, so that the same instance is the same bytes.
    rest = {key: content[key] for key in content if key in more}
    return document | {key: part for key, part in rest.items() if part is not None}


def _port(port: Any, enabled: bool, default: int) -> dict[str, Any]:
    return {
        "$": number(port, default),
        "@enabled": "true" if is_enabled(port, enabled) else "false",
    }


def _lease(
    content: Mapping[str, Any], entry: Entry, service: Service
) -> dict[str, int]:
    lease = content.get("leaseInfo")
    interval = 0
    if isinstance(lease, dict):
        interval = number(lease.get("renewalIntervalInSecs"))
    registered_at = _milliseconds(service.registered_at)
    return {
        "renewalIntervalInSecs": interval or RENEWAL,
        "durationInSecs": int(entry.ttl or DEFAULT_DURATION),
        "registrationTimestamp": registered_at,
        "lastRenewalTimestamp": _milliseconds(entry.vitals.last_seen),
        "evictionTimestamp": 0,
        "serviceUpTimestamp": registered_at,
    }


def _described(registration: Registration, instance: Instance) -> dict[str, Any]:
    """Return what a service that is no instance of Eureka would have said as one."""
    place = _place(registration)
    assert place is not None
    is_secure = place.scheme == "https"
    content: dict[str, Any] = {
        "instanceId": instance.instance_id,
        "app": instance.app,
        "hostName": place.host,
        "port": {"$": place.port, "@enabled": str(not is_secure).lower()},
        "securePort": {"$": place.port, "@enabled": str(is_secure).lower()},
        "vipAddress": instance.capability,
        "secureVipAddress": instance.capability,
    }
    if place.mode == "http":
        url = f"{place.scheme}://{place.authority}{place.path}"
        check = registration.health.path if registration.health else None
        content["homePageUrl"] = content["statusPageUrl"] = f"{url}/"
        content["healthCheckUrl"] = f"{url}{check or DEFAULT_CHECK_PATH}"
    return content


def _place(registration: Registration) -> Location | None:
    """Return where a service is; None if that is no host and port."""
    mode: str = registration.mode
    if mode not in CHECKED_MODES:
        scheme = registration.location.partition("://")[0].lower()
        mode = scheme if scheme in ("tcp", "grpc") else "http"
    try:
        return parse_location(registration.location, mode)
    except InvalidLocation:
        return None


def _shown(value: Any) -> str:
    """Return a value of metadata as Eureka has it, which knows texts alone."""
    if isinstance(value, str):
        return value
    return schema.encode(value).decode()


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
