"""One call's way to its reply."""

import asyncio
from collections.abc import Awaitable
from inspect import isawaitable
from time import perf_counter

from werkzeug.exceptions import HTTPException

from modularity_registry.api import (
    problems,
    rate_limits,
    request_context,
    request_log,
)
from modularity_registry.errors import RegistryError, Unauthorized
from modularity_registry.integrations.http.application import (
    Application,
    arguments_of,
)
from modularity_registry.integrations.http.call import Call, Header, Reply
from modularity_registry.integrations.http.gate import Gate
from modularity_registry.integrations.http.route import Route
from modularity_registry.ratelimit import Rate
from modularity_registry.serving.head import Environ
from modularity_registry.telemetry import logs

_UNROUTED = "other"
"""The route of a call that has none, in metrics."""


class Turn:
    """A call that is answered once, by `reply` or `refuse`."""

    def __init__(self, gate: Gate, application: Application, environ: Environ) -> None:
        self._gate = gate
        self._application = application
        self._environ = environ
        self._route: Route | None = None
        self._started = perf_counter()

    @property
    def wants_body(self) -> bool:
        """Whether the caller wants the reply's body, too."""
        return bool(self._environ["REQUEST_METHOD"] != "HEAD")

    @property
    def may_be_left(self) -> bool:
        """Whether the call ends when its caller goes away."""
        return self._route is not None and self._route.waits

    def headers(self, reply: Reply) -> list[Header]:
        """Return all headers of a reply."""
        own = self._gate.own_headers(self._request_id)
        return [*reply.lines(self._gate.fixed), *own]

    def render(self, reply: Reply) -> bytes:
        """Return a reply as it goes over the line."""
        own = self._gate.own_lines(self._request_id)
        return reply.render(self._gate.fixed, own, self.wants_body)

    @property
    def _request_id(self) -> str:
        return request_context.request_id(self._environ)

    def reply(self) -> Reply | Awaitable[Reply]:
        """Return the reply, or what to await for it. Raises nothing, nor does that."""
        try:
            outcome = self._begin()
        except Exception as error:
            return self._failed(error)
        return self._finish(outcome) if isawaitable(outcome) else self._done(outcome)

    def refuse(self, error: RegistryError) -> Reply:
        """Return the reply to a call of which nothing more is read."""
        return self._failed(error)

    def _begin(self) -> Reply | Awaitable[Reply]:
        environ, gate = self._environ, self._gate
        self._route, names = self._application.match(environ)
        route = self._route
        caller = gate.check(self._application, environ, route)
        arguments = arguments_of(environ["QUERY_STRING"])
        namespace = self._application.namespace(environ, arguments)
        call = Call(
            gate.registries[namespace],
            environ,
            caller,
            environ["wsgi.input"].read(),
            names,
            arguments,
        )
        rate = gate.rate(self._application.cost(route, arguments))
        if rate is not None and rate.waits:
            return self._count_first(call, route, rate)
        if rate is not None:
            rate.take(call.client)
        token = logs.current_request.set(request_context.of(environ))
        try:
            return route.handler(call)
        finally:
            logs.current_request.reset(token)

    async def _count_first(self, call: Call, route: Route, rate: Rate) -> Reply:
        """Answer once the call is counted, by a program that takes its time."""
        await asyncio.to_thread(rate.take, call.client)
        outcome = route.handler(call)
        return await outcome if isawaitable(outcome) else outcome

    async def _finish(self, outcome: Awaitable[Reply]) -> Reply:
        logs.current_request.set(request_context.of(self._environ))
        try:
            reply = await outcome
        except Exception as error:
            return self._failed(error)
        return self._done(reply)

    def _failed(self, error: Exception) -> Reply:
        gate, application = self._gate, self._application
        if isinstance(error, Unauthorized):
            error = rate_limits.unauthorized(gate.registry.rates, error, self._environ)
        if isinstance(error, RegistryError):
            problems.note(gate.registry.audit, error, self._environ)
            return self._done(application.error(error))
        if isinstance(error, HTTPException):
            return self._done(application.http_error(error))
        return self._done(application.failure(error))

    def _done(self, reply: Reply) -> Reply:
        """Take note of the reply."""
        gate, environ, route = self._gate, self._environ, self._route
        template = self._application.templates[route] if route else _UNROUTED
        seconds = perf_counter() - self._started
        gate.registry.metrics.request(template, reply.status).observe(seconds)
        if gate.tracing is not None and request_context.trace(environ)[1]:
            gate.tracing.record(environ, template, reply.status)
        if gate.logged:
            size = len(reply.body)
            request_log.log_request(environ, reply.status, size, seconds)
        return reply
