"""A check as Consul's clients ask for it, as one of the registry's."""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

from modularity_registry.errors import InvalidRequest
from modularity_registry.integrations.consul.extras import CheckExtras
from modularity_registry.integrations.consul.writes.fields import Fields
from modularity_registry.model.labels import label_of
from modularity_registry.schema.patterns import CHECK_NAME_PATTERN

STATUSES: Final = ("passing", "warning", "critical")
LEAST_SECONDS: Final = 1.0
"""Of a TTL and an interval: what is shorter counts as this."""

TIMEOUT: Final = 10.0
LEAST_UNTIL_DEREGISTERED: Final = 60.0
_PORTS: Final = {"http": 80, "https": 443}
_IGNORED: Final = ("outputmaxsize", "servicetags", "servicename", "node", "definition")
_OF_CATALOG: Final = (
    *("serviceid", "namespace", "partition", "createindex", "modifyindex"),
    *("interval", "timeout", "exposedport", "peername"),
)
_REFUSED: Final = {
    "args": "the registry runs no programs; use HTTP, TCP, GRPC or TTL",
    "scriptargs": "the registry runs no programs; use HTTP, TCP, GRPC or TTL",
    "script": "the registry runs no programs; use HTTP, TCP, GRPC or TTL",
    "dockercontainerid": "the registry runs no programs; use HTTP, TCP, GRPC or TTL",
    "shell": "the registry runs no programs; use HTTP, TCP, GRPC or TTL",
    "aliasservice": "the registry has no checks that follow another service",
    "aliasnode": "the registry has no checks that follow another service",
    "udp": "the registry makes no checks over UDP; use HTTP, TCP, GRPC or TTL",
    "h2ping": "the registry makes no HTTP/2 pings; use HTTP, TCP, GRPC or TTL",
    "osservice": "the registry does not look at the system; use HTTP, TCP or TTL",
    "tlsservernames": "name one with TLSServerName",
}
_is_name = re.compile(CHECK_NAME_PATTERN).fullmatch


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """A check that is asked for.

    ``body`` is it as the registry's API takes it, without its name. ``host`` and
    ``port`` are where it connects to; ``host`` is empty for a TTL. ``status`` is empty
    if none was given.
    """

    body: dict[str, Any]
    extras: CheckExtras
    status: str
    host: str = ""
    port: int = 0
    secure: bool = False

    @property
    def name(self) -> str:
        """The registry's name for it."""
        return name_of(self.extras.id)


def name_of(check_id: str) -> str:
    """Return the registry's name for a check's id, the same for the same one."""
    if _is_name(check_id):
        return check_id
    plain = label_of(check_id)[:48] or "check"
    return f"{plain}-{sha256(check_id.encode()).hexdigest()[:10]}"


def parse(fields: Fields, default_id: str, default_name: str) -> CheckRequest:
    """Return the check in ``fields``; raises `InvalidRequest`."""
    for name, reason in _REFUSED.items():
        if fields.raw_value(name):
            raise InvalidRequest(f"Invalid check: {name} is not possible: {reason}")
    status = fields.text("status")
    if status not in ("", *STATUSES):
        raise InvalidRequest("Status for checks must 'passing', 'warning', 'critical'")
    interval, ttl = fields.seconds("interval"), fields.seconds("ttl")
    http, tcp, grpc = (fields.text(name) for name in ("http", "tcp", "grpc"))
    _require_times(bool(http or tcp or grpc), interval, ttl)
    extras = CheckExtras(
        id=fields.text("checkid", "id") or default_id,
        name=fields.text("name") or default_name,
        type="http" if http else "tcp" if tcp else "grpc" if grpc else "ttl",
        notes=fields.text("notes"),
        deregister_after=_until_deregistered(fields),
    )
    if ttl:
        body: dict[str, Any] = {"kind": "ttl", "ttl": max(LEAST_SECONDS, ttl)}
        where = ("", 0, False)
    else:
        # Consul's own: one failure is enough, and one success.
        body = {
            "interval": max(LEAST_SECONDS, interval),
            "timeout": fields.seconds("timeout") or TIMEOUT,
            "rise": max(1, fields.number("successbeforepassing")),
            "fall": max(1, fields.number("failuresbeforecritical")),
        }
        if http:
            where = _http(http, fields, body)
        elif tcp:
            where = _authority(tcp, "TCP")
            body["kind"] = "tcp"
        else:
            where = _grpc(grpc, fields, body)
        body["port"] = where[1]
    _ignore_rest(fields)
    return CheckRequest(body, extras, status, *where)


def of_catalog(fields: Fields) -> tuple[CheckExtras, str, str]:
    """Return a check whose status somebody else finds out, that and its output."""
    name, check_id = fields.text("name"), fields.text("checkid", "id")
    status, output = fields.text("status") or "critical", fields.text("output")
    if not (name or check_id):
        raise InvalidRequest("Missing check name")
    if status not in STATUSES:
        raise InvalidRequest(f"Invalid check status: '{status[:64]}'")
    extras = CheckExtras(
        id=check_id or name,
        name=name or check_id,
        type=fields.text("type"),
        notes=fields.text("notes"),
    )
    fields.end(*_IGNORED, *_OF_CATALOG)
    return extras, status, output


def _require_times(connects: bool, interval: float, ttl: float) -> None:
    reason = None
    if interval > 0 and ttl > 0:
        reason = "Interval and TTL cannot both be specified"
    elif connects and interval <= 0:
        reason = "Interval must be > 0 for Script, HTTP, or TCP checks"
    elif not connects and ttl <= 0:
        reason = "TTL must be > 0 for TTL checks"
    if reason is not None:
        raise InvalidRequest(f"Invalid check: {reason}")


def _until_deregistered(fields: Fields) -> float:
    seconds = fields.seconds("deregistercriticalserviceafter")
    return max(LEAST_UNTIL_DEREGISTERED, seconds) if seconds > 0 else 0.0


def _ignore_rest(fields: Fields) -> None:
    """Take what has no meaning for a check of this kind, as Consul does."""
    for name in ("timeout", "interval", "ttl"):
        fields.seconds(name)
    for name in ("successbeforepassing", "failuresbeforecritical"):
        fields.number(name)
    fields.number("failuresbeforewarning")
    for name in ("method", "body", "tlsservername"):
        fields.text(name)
    for name in ("grpcusetls", "tlsskipverify", "disableredirects", "h2pingusetls"):
        fields.flag(name)
    fields.raw("header")
    fields.end(*_IGNORED, *_REFUSED)


def _http(url: str, fields: Fields, body: dict[str, Any]) -> tuple[str, int, bool]:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise InvalidRequest(f"Invalid check: {url!r} is not a URL") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise InvalidRequest(
            "Invalid check: HTTP must be a URL as http://10.0.0.5:8080/health, without"
            " a user"
        )
    query = f"?{parts.query}" if parts.query else ""
    body["kind"], body["path"] = parts.scheme, (parts.path or "/") + query
    body["method"] = (fields.text("method") or "GET").upper()
    headers = fields.raw("header")
    if headers:
        body["headers"] = {name: _value(name, headers[name]) for name in headers}
    if content := fields.text("body"):
        body["body"] = content
    if parts.scheme == "https":
        body["tls"] = {"verify": not fields.flag("tlsskipverify")}
        if server_name := fields.text("tlsservername"):
            body["tls"]["server_name"] = server_name
    return parts.hostname, port, parts.scheme == "https"


def _value(name: str, values: Any) -> str:
    texts = values if isinstance(values, list) else [values]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(f"Invalid check: the header {name[:64]!r} is not a text")
    return ", ".join(texts)


def _grpc(target: str, fields: Fields, body: dict[str, Any]) -> tuple[str, int, bool]:
    authority, _, service = target.partition("/")
    body["kind"] = "grpc"
    if service:
        body["service"] = service
    if fields.flag("grpcusetls"):
        body["tls"] = {"verify": not fields.flag("tlsskipverify")}
    host, port, _ = _authority(authority, "GRPC")
    return host, port, False


def _authority(text: str, field: str) -> tuple[str, int, bool]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise InvalidRequest(f"Invalid check: {field} must be host:port, not {text!r}")
    return host, port, False
