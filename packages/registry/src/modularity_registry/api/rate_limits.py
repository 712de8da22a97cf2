"""Which calls count towards a client's rates, and who a client is.

Every route has a row here, or the application does not start.
"""

from enum import Enum
from typing import TYPE_CHECKING, Final

from flask import Flask, Response, request

from modularity_registry.api import authorization, problems
from modularity_registry.api.route_policy import Route, Table
from modularity_registry.errors import TooManyRequests, Unauthorized
from modularity_registry.model.rights import Caller, network_of
from modularity_registry.ratelimit import Rate, Rates

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Cost(Enum):
    """What a call counts as.

    A lookup is free unless it waits. A heartbeat is free unless it says that the
    service is unwell, which is a write: one host may beat for thousands of services.
    """

    FREE = "free"
    LOOKUP = "lookup"
    HEARTBEAT = "heartbeat"
    READ = "read"
    WRITE = "write"


COSTS: Final[dict[Route, Cost]] = {
    ("POST", "/api/register"): Cost.WRITE,
    ("GET", "/api/services"): Cost.READ,
    ("GET", "/api/services/<service_id>"): Cost.LOOKUP,
    ("PUT", "/api/services/<service_id>"): Cost.WRITE,
    ("DELETE", "/api/services/<service_id>"): Cost.WRITE,
    ("DELETE", "/api/unregister/<service_id>"): Cost.WRITE,
    ("GET", "/api/services/<service_id>/history"): Cost.READ,
    ("PUT", "/api/services/<service_id>/drain"): Cost.WRITE,
    ("DELETE", "/api/services/<service_id>/drain"): Cost.WRITE,
    ("POST", "/api/heartbeat/<service_id>"): Cost.HEARTBEAT,
    ("POST", "/api/services/<service_id>/heartbeat"): Cost.HEARTBEAT,
    ("GET", "/api/capabilities"): Cost.READ,
    ("GET", "/api/capabilities/<path:name>"): Cost.LOOKUP,
    ("GET", "/api/capabilities/<path:name>/services"): Cost.READ,
    ("GET", "/api/capabilities/<path:name>/explain"): Cost.READ,
    ("POST", "/api/discover"): Cost.READ,
    ("GET", "/api/events"): Cost.READ,
    ("POST", "/api/track/invocation"): Cost.WRITE,
    ("GET", "/api/connections/<service_id>"): Cost.READ,
    ("GET", "/api/graph"): Cost.READ,
    ("GET", "/api/stats"): Cost.READ,
    ("GET", "/api/sd/prometheus"): Cost.READ,
    ("GET", "/metrics"): Cost.READ,
    ("GET", "/api/tokens"): Cost.READ,
    ("POST", "/api/tokens"): Cost.WRITE,
    ("DELETE", "/api/tokens/<name>"): Cost.WRITE,
    ("POST", "/api/tokens/<name>/rotate"): Cost.WRITE,
    ("GET", "/api/whoami"): Cost.FREE,
    ("GET", "/health"): Cost.FREE,
    ("GET", "/ready"): Cost.FREE,
    ("GET", "/openapi.json"): Cost.FREE,
    ("GET", "/docs"): Cost.FREE,
    ("GET", "/docs/<name>"): Cost.FREE,
    ("GET", "/"): Cost.FREE,
    ("GET", "/assets/<name>"): Cost.FREE,
}


def client_of(environ: "WSGIEnvironment", caller: Caller) -> str:
    """Return whose call it is: the token's, else the address's.

    As people read it. No token's name has a space in it, so neither can pass for the
    other. An IPv6 address stands for its /64, which is what one host gets.
    """
    if caller.name is not None:
        return f"the token {caller.name}"
    return "the address " + network_of(environ.get("REMOTE_ADDR", ""))


def take(rate: Rate | None) -> None:
    """Count the call that Flask is at; raise `TooManyRequests` if it is over."""
    if rate is not None:
        rate.take(client_of(request.environ, authorization.caller_of(request)))


def install(app: Flask, rates: Rates) -> None:
    """Count the calls of ``app``, after it is decided that they may be made.

    After all routes are there. Raises `LookupError` for one that has no row.
    """
    costs = Table(app, COSTS, "web.limits")

    @app.before_request
    def count() -> None:
        cost = costs.row(Cost.FREE)
        if cost is Cost.LOOKUP and "wait" in request.args:
            cost = Cost.READ
        if cost is Cost.WRITE:
            take(rates.writes)
        elif cost is Cost.READ:
            take(rates.reads)

    @app.errorhandler(Unauthorized)
    def refuse(error: Unauthorized) -> Response:
        """Say 401; or 429 where an address has shown too many bad tokens.

        Good ones from there are never asked for here, so nobody can lock others out.
        """
        if error.shown:
            address = network_of(request.environ.get("REMOTE_ADDR", ""))
            try:
                rates.failures.take("the address " + address)
            except TooManyRequests as over:
                return problems.of(over)
        return problems.of(error)
