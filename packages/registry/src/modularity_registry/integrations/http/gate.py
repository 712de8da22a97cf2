"""Who calls another registry's API, and what has to hold before they are answered."""

from modularity_registry.api import (
    cors,
    namespaces,
    rate_limits,
    replies,
    request_context,
    security_headers,
)
from modularity_registry.api.authorization import CALLER, Authenticator
from modularity_registry.api.route_policy import Cost
from modularity_registry.api.tracing import Tracing
from modularity_registry.integrations.http.application import (
    Application,
    arguments_of,
)
from modularity_registry.integrations.http.call import Header, lines_of
from modularity_registry.integrations.http.route import Route
from modularity_registry.model.rights import Caller, Right
from modularity_registry.ratelimit import Rate
from modularity_registry.runtime import Registry
from modularity_registry.serving.head import Environ

_AUTHORIZATION = "HTTP_AUTHORIZATION"


class Gate:
    """Checks calls as the registry's own API does: tokens, rights, origins, rates.

    With ``tracing``, calls that are traced get a span; with ``logged``, all a line.
    """

    def __init__(
        self, registry: Registry, tracing: Tracing | None, logged: bool
    ) -> None:
        self.registry = registry
        self.registries = registry.by_name
        self.fixed = security_headers.of_replies(registry.settings)
        self.tracing = tracing
        self.logged = logged
        self.authenticators = {
            name: Authenticator(one) for name, one in self.registries.items()
        }
        self._origins = cors.patterns(registry.settings.allowed_origins)

    def caller(self, application: Application, environ: Environ) -> Caller:
        """Return who makes a call; raises `UnknownNamespace` or `Unauthorized`."""
        arguments = arguments_of(environ["QUERY_STRING"])
        shown = application.authorization(environ, arguments)
        if shown is not None and environ.get(_AUTHORIZATION) != shown:
            environ[_AUTHORIZATION] = shown
            environ.pop(CALLER, None)
        name = application.namespace(environ, arguments)
        authenticator = self.authenticators.get(name)
        if authenticator is None:
            default = next(iter(self.authenticators.values()))
            raise namespaces.unknown(default, environ, name)
        caller = authenticator.caller(environ)
        if authenticator.namespace and not caller.rights:
            # Not even whether there is such a path in it.
            caller.require(Right.READ)
        return caller

    def check(self, application: Application, environ: Environ, route: Route) -> Caller:
        """Return who makes a call, if they may; raises the `RegistryError` if not."""
        caller = self.caller(application, environ)
        # What the parts know beside the catalog is not there yet.
        self.registry.feed.require_read()
        cors.refuse_foreign_write(environ, self._origins)
        if route.right is not None:
            caller.require(route.right)
        arguments = arguments_of(environ["QUERY_STRING"])
        rate = self.rate(application.cost(route, arguments))
        if rate is not None:
            rate.check(rate_limits.client_of(environ, caller))
        return caller

    def own_headers(self, request_id: str) -> list[Header]:
        """Return the headers of one reply alone."""
        return [
            (request_context.REQUEST_ID, request_id),
            *replies.stale(self.registry.view_health),
        ]

    def own_lines(self, request_id: str) -> bytes:
        """Return the same as they go over the line."""
        if not self.registry.view_health.is_stale():
            return b"x-request-id: %b\r\n" % request_id.encode()
        return lines_of(self.own_headers(request_id))

    def rate(self, cost: Cost) -> Rate | None:
        """Return the rate that calls of this cost count towards, None for none."""
        rates = self.registry.rates
        if cost is Cost.WRITE:
            return rates.writes
        return rates.reads if cost is Cost.READ else None
