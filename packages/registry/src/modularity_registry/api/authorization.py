"""Who calls, and what they may do: one table for every route, one rule for all.

A route without a row here does not start, so none can be forgotten.
"""

from typing import TYPE_CHECKING, Final

from flask import Flask, Request, request

from modularity_registry.api.route_policy import Route, Table
from modularity_registry.model.rights import OPEN, Caller, Claim, Right
from modularity_registry.runtime import Registry

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CALLER = "modularity.caller"
OWNER_KEY = "HTTP_X_OWNER_KEY"

PUBLIC = None
"""For everybody: what says nothing of what is registered."""

RIGHTS: Final[dict[Route, Right | None]] = {
    ("POST", "/api/register"): Right.REGISTER,
    ("GET", "/api/services"): Right.READ,
    ("GET", "/api/services/<service_id>"): Right.READ,
    ("PUT", "/api/services/<service_id>"): Right.REGISTER,
    ("DELETE", "/api/services/<service_id>"): Right.REGISTER,
    ("DELETE", "/api/unregister/<service_id>"): Right.REGISTER,
    ("GET", "/api/services/<service_id>/history"): Right.READ,
    ("PUT", "/api/services/<service_id>/drain"): Right.REGISTER,
    ("DELETE", "/api/services/<service_id>/drain"): Right.REGISTER,
    ("POST", "/api/heartbeat/<service_id>"): Right.REGISTER,
    ("POST", "/api/services/<service_id>/heartbeat"): Right.REGISTER,
    ("GET", "/api/capabilities"): Right.READ,
    ("GET", "/api/capabilities/<path:name>"): Right.READ,
    ("GET", "/api/capabilities/<path:name>/services"): Right.READ,
    ("GET", "/api/capabilities/<path:name>/explain"): Right.READ,
    ("POST", "/api/discover"): Right.READ,
    ("GET", "/api/events"): Right.READ,
    ("POST", "/api/track/invocation"): Right.TRACK,
    ("GET", "/api/connections/<service_id>"): Right.READ,
    ("GET", "/api/graph"): Right.READ,
    ("GET", "/api/stats"): Right.READ,
    ("GET", "/api/sd/prometheus"): Right.READ,
    ("GET", "/metrics"): Right.READ,
    ("GET", "/api/tokens"): Right.ADMIN,
    ("POST", "/api/tokens"): Right.ADMIN,
    ("DELETE", "/api/tokens/<name>"): Right.ADMIN,
    ("POST", "/api/tokens/<name>/rotate"): Right.ADMIN,
    # Whoever shows a token may know what it is good for: the route sees to it.
    ("GET", "/api/whoami"): PUBLIC,
    # Both say less to those who may not read.
    ("GET", "/health"): PUBLIC,
    ("GET", "/ready"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/docs/<name>"): PUBLIC,
    ("GET", "/"): PUBLIC,
    ("GET", "/assets/<name>"): PUBLIC,
}


class Guard:
    """Tells who makes a call."""

    def __init__(self, registry: Registry) -> None:
        self._tokens = registry.tokens
        anonymous = Caller(rights=registry.settings.anonymous)
        self._anonymous = OPEN if registry.tokens is None else anonymous

    @property
    def closed(self) -> bool:
        """Whether it takes tokens at all."""
        return self._tokens is not None

    def caller(self, environ: "WSGIEnvironment") -> Caller:
        """Return who makes this call; the same for as long as it lasts."""
        known: Caller | None = environ.get(CALLER)
        if known is None:
            known = environ[CALLER] = self._caller(environ.get("HTTP_AUTHORIZATION"))
        return known

    def _caller(self, shown: str | None) -> Caller:
        if shown is None or self._tokens is None:
            return self._anonymous
        scheme, _, text = shown.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            return _NO_BEARER
        return self._tokens.caller(text.strip())


_NO_BEARER = Caller(
    refused="the Authorization header is not one of a token; send Authorization:"
    " Bearer <token>"
)


def claim(environ: "WSGIEnvironment", caller: Caller, key: str | None = None) -> Claim:
    """Return on whose behalf a service is written; ``key`` is from the body."""
    return Claim(caller, key if key is not None else environ.get(OWNER_KEY))


def caller_of(asked: Request) -> Caller:
    """Return who makes the request that Flask is at."""
    caller: Caller = asked.environ[CALLER]
    return caller


def install(app: Flask, guard: Guard) -> None:
    """Let nobody through to a route of ``app`` who has not the right to it.

    After all routes are there. Raises `LookupError` for one that has no row.
    """
    rights = Table(app, RIGHTS, "web.access")

    @app.before_request
    def allow() -> None:
        caller = guard.caller(request.environ)
        right = rights.row(PUBLIC)
        if right is not PUBLIC:
            caller.require(right)
