"""An instance that a client of Eureka registers becomes a registration."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from modularity_registry import schema
from modularity_registry.errors import FieldError, InvalidRequest
from modularity_registry.integrations.eureka import statuses
from modularity_registry.model.service import Registration
from modularity_registry.schema.patterns import (
    CAPABILITY_PATTERN,
    ID_PATTERN,
    LONGEST_CAPABILITY,
    ZONE_PATTERN,
)

RESERVED: Final = "eureka"
"""The key in a service's metadata under which the rest of its instance is kept."""

DEFAULT_DURATION: Final = 90
"""Seconds without a heartbeat, in Eureka too, for an instance that says nothing."""

NO_ZONES: Final = frozenset({"default", "defaultZone"})
"""What clients send as their zone where nobody has set one."""

_ENCODED = "eureka-"


class Instance(NamedTuple):
    """What a client registers: ``content`` is the instance as it came."""

    content: dict[str, Any]
    instance_id: str
    app: str
    status: str


def parsed(content: Any, app: str) -> Instance:
    """Return an instance; ``app`` is the one in the path. Raises `InvalidRequest`."""
    if not isinstance(content, dict):
        raise InvalidRequest("the body has no instance")
    instance_id = text(content.get("instanceId")) or text(content.get("hostName"))
    own_app = text(content.get("app"))
    errors = [
        FieldError(name, "is missing")
        for name, value in (
            ("instanceId", instance_id),
            ("hostName", text(content.get("hostName"))),
            ("app", own_app),
        )
        if not value
    ]
    if own_app and own_app.upper() != app.upper():
        errors.append(FieldError("app", f"is {own_app!r}, but {app!r} in the path"))
    elif own_app and not is_capability(own_app):
        errors.append(
            FieldError(
                "app",
                "must be the name of a capability: at most 128 letters, digits and"
                " . _ : - /, the first a letter or a digit",
            )
        )
    if errors:
        raise InvalidRequest.of(errors)
    status = statuses.known(text(content.get("status")) or statuses.UP)
    return Instance(content, instance_id, own_app, status)


def registration_of(instance: Instance, service_id: str) -> Registration:
    """Return what is registered for an instance. Raises `InvalidRequest`."""
    return schema.parse_registration(schema.encode(body_of(instance, service_id)))


def body_of(instance: Instance, service_id: str) -> dict[str, Any]:
    """Return the body of a registration for an instance, which may not be valid."""
    content = instance.content
    metadata = _metadata(content.get("metadata"))
    zone = metadata.get("zone", "")
    version = metadata.get("version", "")
    data: dict[str, Any] = {
        "id": service_id,
        "name": instance.app,
        "capabilities": _capabilities(instance),
        "location": _location(content),
        "mode": "http",
        # Heartbeats tell how an instance is.
        "health": {"enabled": False},
        "ttl": duration(content),
        "metadata": {**metadata, RESERVED: _kept(instance, metadata)},
    }
    if re.fullmatch(ZONE_PATTERN, zone) and zone not in NO_ZONES:
        data["zone"] = zone
    if version.isprintable() and 0 < len(version) <= 128 and version.strip():
        data["version"] = version
    return data


def ids_of(app: str, instance_id: str) -> tuple[str, str]:
    """Return the ids that the service of an instance may have, best first.

    Eureka tells instances apart within an application. The second is for one whose
    first id another application's instance has already.
    """
    return _fitting(instance_id), _fitting(f"{app.lower()}:{instance_id}")


def text(value: Any) -> str:
    """Return a value of JSON or XML as text; empty if it is none."""
    if isinstance(value, dict):
        value = value.get("$")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip() if isinstance(value, str | int | float) else ""


def number(value: Any, default: int = 0) -> int:
    """Return a value of JSON or XML as a whole number; ``default`` if it is none."""
    digits = text(value)
    is_number = digits.isascii() and digits.isdigit() and len(digits) < 19
    return int(digits) if is_number else default


def duration(content: Mapping[str, Any]) -> int:
    """Return for how many seconds a heartbeat is good."""
    lease = content.get("leaseInfo")
    seconds = number(lease.get("durationInSecs")) if isinstance(lease, dict) else 0
    return seconds or DEFAULT_DURATION


def is_enabled(port: Any, default: bool) -> bool:
    """Say whether a port of an instance is in use."""
    enabled = port.get("@enabled") if isinstance(port, dict) else None
    return default if enabled is None else text(enabled).lower() == "true"


def is_address(host: str) -> bool:
    """Say whether a host is an address to connect to, and not a name."""
    try:
        return not ip_address(host).is_unspecified
    except ValueError:
        return False


def addresses(vip: Any) -> list[str]:
    """Return the virtual addresses in a list with commas."""
    return [part.strip() for part in text(vip).split(",") if part.strip()]


def is_capability(name: str) -> bool:
    """Say whether a capability may have this name."""
    is_short = len(name) <= LONGEST_CAPABILITY
    return is_short and re.fullmatch(CAPABILITY_PATTERN, name) is not None


def _capabilities(instance: Instance) -> list[str]:
    """Return the application and the virtual addresses, all in lower case."""
    names = [instance.app, *addresses(instance.content.get("vipAddress"))]
    return [*dict.fromkeys(name.lower() for name in names if is_capability(name))]


def _location(content: Mapping[str, Any]) -> str:
    port, secure = content.get("port"), content.get("securePort")
    use_secure = is_enabled(secure, False) and not is_enabled(port, True)
    scheme = "https" if use_secure else "http"
    used = number(secure if use_secure else port)
    host, address = text(content.get("hostName")), text(content.get("ipAddr"))
    # A certificate has the name. Otherwise, the name may be one that nobody else knows.
    if is_address(address) and scheme == "http":
        host = address
    if ":" in host:
        host = f"[{host}]"
    return f"{scheme}://{host}:{used}" if used else f"{scheme}://{host}"


def _metadata(value: Any) -> dict[str, str]:
    """Return metadata: texts by name, as Eureka has them."""
    if not isinstance(value, dict):
        return {}
    return {
        key: part if isinstance(part, str) else text(part)
        for key, part in value.items()
        if not key.startswith("@")
    }


def _kept(instance: Instance, metadata: dict[str, str]) -> dict[str, Any]:
    """Return what comes back to clients as it came, and the registry has no word for.

    A client's own metadata under the reserved key is in it, and gives way there.
    """
    kept = {key: part for key, part in instance.content.items() if key != "metadata"}
    kept |= {"instanceId": instance.instance_id, "app": instance.app}
    if RESERVED in metadata:
        kept["metadata"] = {RESERVED: metadata[RESERVED]}
    return kept


def _fitting(name: str) -> str:
    """Return a name as an id: escaped, if it is none as it is."""
    if re.fullmatch(ID_PATTERN, name):
        return name
    escaped = re.sub(
        r"[^A-Za-z0-9.:\-]",
        lambda found: "".join(f"_{byte:02x}" for byte in found[0].encode()),
        name,
    )
    if len(_ENCODED + escaped) > 128:
        raise InvalidRequest.of([FieldError("instanceId", "has too many characters")])
    return _ENCODED + escaped
