"""Calls that come again and again, word for word: read once, answered at once."""

from collections.abc import Callable
from time import perf_counter

from werkzeug.exceptions import HTTPException

from modularity_registry.api import rate_limits, request_context
from modularity_registry.api.hot_path.reply import request_ids
from modularity_registry.errors import RegistryError
from modularity_registry.integrations.http.application import (
    Application,
    arguments_of,
)
from modularity_registry.integrations.http.call import Reply
from modularity_registry.integrations.http.gate import Gate
from modularity_registry.integrations.http.route import Pending, Ready, Route
from modularity_registry.model.rights import OPEN, Caller
from modularity_registry.serving.front import Connection
from modularity_registry.serving.head import Head


def planned(
    gate: Gate, application: Application, head: Head
) -> Callable[[Connection], bytes | None] | None:
    """Return what answers all calls with this head; None if each needs a look.

    It returns the reply as it goes over the line, or None for what is not usual, such
    as a caller who may not make this call: a `Turn` says so.
    """
    environ = head.environ
    if environ["REQUEST_METHOD"] != "GET" or head.length or gate.logged:
        return None
    if gate.tracing is not None and request_context.trace(environ)[1]:
        return None
    arguments = arguments_of(environ["QUERY_STRING"])
    try:
        route, names = application.match(environ)
        name = application.namespace(environ, arguments)
        registry = gate.registries.get(name)
        if route.plan is None or registry is None:
            return None
        if gate.rate(application.cost(route, arguments)) is not None:
            return None
        ready = route.plan(registry, names, arguments)
    except (HTTPException, RegistryError):
        return None
    if ready is None:
        return None
    authenticator = gate.authenticators[name]
    shown = application.authorization(environ, arguments)
    caller_of = authenticator.caller_of if authenticator.closed else _anybody
    template = application.templates[route]
    return _Planned(gate, head, route, ready, template, caller_of, shown).answer


def _anybody(shown: str | None) -> Caller:
    return OPEN


class _Planned:
    """Answers all calls with one head."""

    def __init__(
        self,
        gate: Gate,
        head: Head,
        route: Route,
        ready: Ready,
        template: str,
        caller_of: Callable[[str | None], Caller],
        shown: str | None,
    ) -> None:
        self._gate = gate
        self._head = head
        self._right = route.right
        self._ready = ready
        self._caller_of = caller_of
        self._shown = shown
        self._request_id = request_ids(head.environ)
        self._timings = gate.registry.metrics.request(template, 200)

    def answer(self, connection: Connection) -> bytes | None:
        """Return the reply, empty if it comes in its own time; None for a `Turn`."""
        started = perf_counter()
        # At every call: a token may be revoked.
        caller = self._caller_of(self._shown)
        if self._right is not None and not caller.may(self._right):
            return None
        reply = self._ready()
        if reply is None:
            return None
        if not isinstance(reply, Reply):
            return self._wait(connection, caller, reply, started)
        self._timings.observe(perf_counter() - started)
        return self._render(reply)

    def _wait(
        self, connection: Connection, caller: Caller, pending: Pending, started: float
    ) -> bytes | None:
        address = {"REMOTE_ADDR": connection.address_of(self._head)}
        client = rate_limits.client_of(address, caller)

        def done(reply: Reply) -> None:
            connection.watch(None)
            self._timings.observe(perf_counter() - started)
            send(self._render(reply))

        try:
            leave = pending.begin(caller, client, done)
        except RegistryError:
            return None
        send = connection.reply_later()
        connection.watch(leave)
        return b""

    def _render(self, reply: Reply) -> bytes:
        gate = self._gate
        return reply.render(gate.fixed, gate.own_lines(self._request_id()))
