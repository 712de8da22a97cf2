"""Each route's policy: the right that a call needs, and what it counts as.

Authorization, rate limits and OpenAPI's security read it from here.
"""

import re
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from flask import Flask, request

from modularity_registry.api.query import INSTANCE
from modularity_registry.model.rights import Right

Route = tuple[str, str]
"""A method and a rule, as Flask has it."""

PUBLIC = None
"""No right: the route shows nothing of what is registered, or checks for itself."""

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


class Cost(Enum):
    """What a call counts as.

    A lookup is free unless it waits. A heartbeat is free unless it reports the service
    as unhealthy, which is a write: one host may send them for thousands of services.
    """

    FREE = "free"
    LOOKUP = "lookup"
    HEARTBEAT = "heartbeat"
    READ = "read"
    WRITE = "write"


class RoutePolicy(NamedTuple):
    """The right that a caller needs, `PUBLIC` for none, and the call's cost."""

    right: Right | None
    cost: Cost


_READ = RoutePolicy(Right.READ, Cost.READ)
_LOOKUP = RoutePolicy(Right.READ, Cost.LOOKUP)
_REGISTER = RoutePolicy(Right.REGISTER, Cost.WRITE)
_HEARTBEAT = RoutePolicy(Right.REGISTER, Cost.HEARTBEAT)
_TRACK = RoutePolicy(Right.TRACK, Cost.WRITE)
_ADMIN_READ = RoutePolicy(Right.ADMIN, Cost.READ)
_ADMIN_WRITE = RoutePolicy(Right.ADMIN, Cost.WRITE)
_PUBLIC = RoutePolicy(PUBLIC, Cost.FREE)

ROUTES: Final[dict[Route, RoutePolicy]] = {
    ("POST", "/api/register"): _REGISTER,
    ("GET", "/api/services"): _READ,
    ("GET", "/api/services/<service_id>"): _LOOKUP,
    ("PUT", "/api/services/<service_id>"): _REGISTER,
    ("DELETE", "/api/services/<service_id>"): _REGISTER,
    ("DELETE", "/api/unregister/<service_id>"): _REGISTER,
    ("GET", "/api/services/<service_id>/history"): _READ,
    ("PUT", "/api/services/<service_id>/drain"): _REGISTER,
    ("DELETE", "/api/services/<service_id>/drain"): _REGISTER,
    ("POST", "/api/heartbeat/<service_id>"): _HEARTBEAT,
    ("POST", "/api/services/<service_id>/heartbeat"): _HEARTBEAT,
    ("POST", "/api/services/<service_id>/checks/<name>"): _HEARTBEAT,
    ("GET", "/api/capabilities"): _READ,
    ("GET", "/api/capabilities/<path:name>"): _LOOKUP,
    ("GET", "/api/capabilities/<path:name>/services"): _READ,
    ("GET", "/api/capabilities/<path:name>/explain"): _READ,
    ("GET", "/api/capabilities/<path:name>/split"): _READ,
    # It decides on the calls of everybody who provides the capability.
    ("PUT", "/api/capabilities/<path:name>/split"): _ADMIN_WRITE,
    ("DELETE", "/api/capabilities/<path:name>/split"): _ADMIN_WRITE,
    ("GET", "/api/splits"): _READ,
    ("POST", "/api/discover"): _READ,
    ("GET", "/api/events"): _READ,
    ("POST", "/api/track/invocation"): _TRACK,
    ("POST", "/api/track/invocations"): _TRACK,
    ("GET", "/api/connections/<service_id>"): _READ,
    ("GET", "/api/graph"): _READ,
    ("GET", "/api/stats"): _READ,
    ("GET", "/api/sd/prometheus"): _READ,
    ("GET", "/metrics"): _READ,
    ("GET", "/api/tokens"): _ADMIN_READ,
    ("POST", "/api/tokens"): _ADMIN_WRITE,
    ("DELETE", "/api/tokens/<name>"): _ADMIN_WRITE,
    ("POST", "/api/tokens/<name>/rotate"): _ADMIN_WRITE,
    # The route itself says of which the caller may read.
    ("GET", "/api/namespaces"): RoutePolicy(PUBLIC, Cost.READ),
    # Anyone with a token may read its rights: the route itself refuses the others.
    ("GET", "/api/whoami"): _PUBLIC,
    # Both show less to those who may not read.
    ("GET", "/health"): _PUBLIC,
    ("GET", "/ready"): _PUBLIC,
    ("GET", "/openapi.json"): _PUBLIC,
    ("GET", "/docs"): _PUBLIC,
    ("GET", "/docs/<name>"): _PUBLIC,
    ("GET", "/"): _PUBLIC,
    ("GET", "/assets/<path:name>"): _PUBLIC,
}


PARAMETERS: Final[dict[Route, tuple[str, ...]]] = {
    ("DELETE", "/api/services/<service_id>"): INSTANCE,
    ("DELETE", "/api/unregister/<service_id>"): INSTANCE,
}
"""The query parameters of writes that have some."""


def parameters() -> tuple[str, ...]:
    """Return the query parameters of the write that Flask is at."""
    rule = request.url_rule
    return PARAMETERS.get((request.method, rule.rule), ()) if rule else ()


@lru_cache
def template(rule: str) -> str:
    """Return a rule as people write it: ``/api/services/{service_id}``."""
    return _PARAMETER.sub(r"{\1}", rule)


def check(app: Flask) -> None:
    """Raise `LookupError` if a route of ``app`` has no row in `ROUTES`."""
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if (method, rule.rule) not in ROUTES:
                raise LookupError(f"{method} {rule.rule} has no row in ROUTES")


def current() -> RoutePolicy:
    """Return the policy of the call that Flask is at. `HEAD` is a `GET`.

    It is public and free where no route matches, and for `OPTIONS`.
    """
    if request.url_rule is None or request.method == "OPTIONS":
        return _PUBLIC
    method = "GET" if request.method == "HEAD" else request.method
    return ROUTES[method, request.url_rule.rule]
