"""A service as Consul's clients register it, as one of the registry's."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from modularity_registry import schema
from modularity_registry.errors import InvalidRequest
from modularity_registry.integrations.consul import names
from modularity_registry.integrations.consul.extras import Extras, metadata_of
from modularity_registry.integrations.consul.writes.checks import CheckRequest, parse
from modularity_registry.integrations.consul.writes.fields import Fields
from modularity_registry.model.location import parse_location
from modularity_registry.model.service import CHECKED_MODES, Registration
from modularity_registry.network.listen_address import (
    authority,
    is_unspecified,
    on_loopback,
)

_MODES: Final = {"http": "http", "https": "http", "grpc": "grpc"}
"""The mode of a service that has a check of this kind."""

_is_key = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_is_version = re.compile(r"[!-~]{1,128}").fullmatch
MOST_META: Final = 64
LONGEST_KEY: Final = 128
LONGEST_VALUE: Final = 512
_MESH: Final = (
    "the registry has no service mesh: leave out Kind, Proxy and Connect, and register"
    " the service itself"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """From where a service is registered, and where the registry itself is.

    Whoever gives a service no address means its own machine.
    """

    address: str
    is_local: bool
    node: str

    @property
    def host(self) -> str:
        """The address of the caller's machine."""
        return self.node if self.is_local else self.address


class ServiceRequest(NamedTuple):
    """A registration that is asked for, and the statuses given to its checks."""

    registration: Registration
    extras: Extras
    statuses: Mapping[str, str]


class _Place(NamedTuple):
    """Where a service is; ``address`` and ``port`` are what Consul shows, if other."""

    location: str
    mode: str
    address: str | None
    port: int | None


def of_agent(fields: Fields, caller: Caller) -> ServiceRequest:
    """Return what `agent/service/register` asks for; raises `InvalidRequest`."""
    name = fields.text("name", "service")
    if not name:
        raise InvalidRequest("Missing service name")
    service_id = fields.text("id") or name
    single = fields.object("check")
    listed = [single] if single else []
    listed += fields.objects("checks")
    ids = [f"service:{service_id}"]
    if len(listed) > 1:
        ids = [f"service:{service_id}:{n + 1}" for n in range(len(listed))]
    asked = [
        parse(check, check_id, f"Service '{name}' check")
        for check, check_id in zip(listed, ids, strict=False)
    ]
    return service(fields, name, service_id, "", asked, caller)


def service(
    fields: Fields,
    name: str,
    service_id: str,
    address: str,
    checks: Sequence[CheckRequest],
    caller: Caller,
) -> ServiceRequest:
    """Return the service in ``fields``; ``address`` is for one that has none.

    Raises `InvalidRequest`.
    """
    tags, meta = fields.texts("tags"), fields.mapping("meta")
    _check_meta(meta)
    _refuse_mesh(fields)
    weights = fields.object("weights")
    passing, warning = _weights(weights)
    own_address, port = fields.text("address"), fields.number("port")
    if is_unspecified(own_address.strip("[]")):
        raise InvalidRequest("Invalid service address")
    place = _place(own_address or address, port, checks, caller)
    extras = Extras(
        address=place.address,
        port=place.port,
        tagged=_tagged(fields),
        override=fields.flag("enabletagoverride"),
        warning_weight=warning,
        checks={check.name: check.extras for check in checks},
    )
    locality = fields.object("locality") or Fields({})
    body: dict[str, Any] = {
        "id": names.service_id(service_id),
        "name": name,
        "capabilities": [names.capability(name)],
        "location": place.location,
        "mode": place.mode,
        "metadata": metadata_of(meta, tags, extras),
        "weight": passing,
        "checks": [{"name": check.name, **check.body} for check in checks],
    }
    if place.mode in CHECKED_MODES:
        body["health"] = {"enabled": False}
    if _is_version(meta.get("version", "")):
        body["version"] = meta["version"]
    for part in ("zone", "region"):
        if text := locality.text(part):
            body[part] = text
    fields.end(
        *("ns", "namespace", "partition", "datacenter", "createindex", "modifyindex")
    )
    statuses = {check.name: check.status for check in checks}
    return ServiceRequest(parsed(body), extras, statuses)


def parsed(body: Mapping[str, Any]) -> Registration:
    """Return the registration in a body of the registry's API.

    Raises `InvalidRequest`.
    """
    try:
        return schema.parse_registration(schema.encode(body))
    except InvalidRequest as error:
        raise InvalidRequest(f"Invalid service: {error.detail}") from None
    except UnicodeEncodeError:
        raise InvalidRequest("Invalid service: a text has lone surrogates") from None


def _check_meta(meta: Mapping[str, str]) -> None:
    if len(meta) > MOST_META:
        raise InvalidRequest(
            f"Invalid Service Meta: Node metadata cannot contain more than {MOST_META}"
            " key/value pairs"
        )
    for key, value in meta.items():
        reason = None
        if not key:
            reason = "Key cannot be blank"
        elif not _is_key(key):
            reason = "Key contains invalid characters"
        elif len(key) > LONGEST_KEY:
            reason = f"Key is too long (limit: {LONGEST_KEY} characters)"
        elif key.startswith("consul-"):
            reason = "Key prefix 'consul-' is reserved for internal use"
        elif len(value) > LONGEST_VALUE:
            reason = f"Value is too long (limit: {LONGEST_VALUE} characters)"
        if reason is not None:
            raise InvalidRequest(
                "Invalid Service Meta: Couldn't load metadata pair"
                f" ('{key[:LONGEST_KEY]}', '{value[:LONGEST_KEY]}'): {reason}"
            )


def _refuse_mesh(fields: Fields) -> None:
    connect = fields.raw("connect")
    # Clients send all fields of these, with nothing in them.
    has_any = any(connect.values()) or any(fields.raw("proxy").values())
    if fields.text("kind") or has_any:
        raise InvalidRequest(f"Invalid service: {_MESH}")
    if fields.text("socketpath"):
        raise InvalidRequest(
            "Invalid service: the registry knows no sockets in the file system; give"
            " Address and Port"
        )


def _weights(weights: Fields | None) -> tuple[int, int]:
    if weights is None:
        return 1, 1
    passing, warning = weights.number("passing"), weights.number("warning")
    if passing < 1:
        raise InvalidRequest("Invalid Weights: Passing must be greater than 0")
    if warning < 0:
        raise InvalidRequest("Invalid Weights: Warning must be greater or equal than 0")
    if max(passing, warning) > 65_535:
        raise InvalidRequest("Invalid Weights: DNS Weight must be between 0 and 65535")
    return passing, warning


def _tagged(fields: Fields) -> dict[str, tuple[str, int]]:
    tagged = {}
    for tag, value in fields.raw("taggedaddresses").items():
        place = Fields(value, "TaggedAddresses")
        tagged[tag] = place.text("address"), place.number("port")
    return tagged


def require_host(host: str, own: str) -> None:
    """Raise `InvalidRequest` unless a check connects to the service's ``own`` host.

    One of localhost is for the service's machine, as the agent there has it.
    """
    if not on_loopback(host) and host.lower() != own.lower():
        raise InvalidRequest(
            f"Invalid check: it connects to {host!r}, and the service is at {own!r};"
            " the registry checks a service at its own address alone"
        )


def _place(
    address: str, port: int, checks: Sequence[CheckRequest], caller: Caller
) -> _Place:
    connecting = [check for check in checks if check.host]
    elsewhere = [check.host for check in connecting if not on_loopback(check.host)]
    host = (address or next(iter(elsewhere), "") or caller.host).strip("[]")
    for other in elsewhere:
        require_host(other, host)
    if not 0 <= port <= 65_535:
        raise InvalidRequest(f"Invalid service: Port must be 0 to 65535, not {port}")
    # Without an address, readers go to the node's.
    shown = "" if not address and host == caller.node else None
    if not port and not connecting:
        return _Place(host, "standalone", shown, 0)
    mode, scheme = "tcp", "tcp"
    for check in connecting:
        kind = str(check.body["kind"])
        if kind in _MODES:
            mode = _MODES[kind]
            same = not port or check.port == port
            scheme = kind if same else "http" if mode == "http" else kind
            break
    location = f"{scheme}://{authority(host, port or connecting[0].port)}"
    if address and parse_location(location, mode).host != address:
        shown = address
    return _Place(location, mode, shown, None if port else 0)
