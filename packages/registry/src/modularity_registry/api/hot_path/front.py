"""What stands in front of Flask: which calls are answered here, and how."""

from collections.abc import Awaitable, Callable

from flask import Flask
from werkzeug.exceptions import HTTPException

from modularity_registry.api import (
    cors,
    problems,
    rate_limits,
    request_context,
    request_log,
    route_policy,
)
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.hot_path.reads import Reads
from modularity_registry.api.hot_path.reply import ReplyWriter
from modularity_registry.api.hot_path.writes import Writes
from modularity_registry.api.long_replies.lists import LongLists
from modularity_registry.api.long_replies.streams import PATH as EVENTS
from modularity_registry.api.long_replies.streams import Streams
from modularity_registry.api.long_replies.waits import Waits
from modularity_registry.api.route_policy import Cost
from modularity_registry.api.tracing import Tracing
from modularity_registry.errors import RegistryError
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import Connection, Front, Send
from modularity_registry.serving.head import Answer, Environ, Head, PathAnswer


class RegistryFront(Front):
    """The front of a registry whose routes are ``app``'s.

    With ``tracing``, calls whose trace is kept are left to Flask, and with ``logged``
    all of them, for a line in the log; but for streams, which are noted here.
    """

    def __init__(
        self,
        registry: Registry,
        app: Flask,
        tracing: Tracing | None = None,
        logged: bool = False,
    ) -> None:
        self._authenticator = Authenticator(registry)
        writer = ReplyWriter(registry.settings, registry.view_health)
        self._writer = writer
        self._reads = Reads(registry, writer, self._authenticator)
        self._writes = Writes(registry, writer, self._authenticator)
        self._streams = Streams(registry, self._authenticator, writer, self._note)
        self._routes = app.url_map.bind("")
        self._waits = Waits(registry, self._authenticator, self._routes)
        self._long_lists = LongLists(registry, self._authenticator)
        self._tracing = tracing
        self._origins = cors.patterns(registry.settings.allowed_origins)
        rates = registry.rates
        self._rates = {Cost.WRITE: rates.writes, Cost.READ: rates.reads}
        self._metrics = registry.metrics
        self._logged = logged

    def refusal(self, error: RegistryError) -> bytes:
        problem = problems.of(error)
        problem.headers["Connection"] = "close"
        return self._writer.problem(problem, {})

    def plan(self, head: Head) -> Answer | None:
        environ = head.environ
        method = environ["REQUEST_METHOD"]
        if method == "GET" and environ["PATH_INFO"] == EVENTS:
            return self._stream(head)
        if not self._answers(environ):
            return None
        if method == "GET":
            return self._reads.plan(head) if not head.length else None
        if method in ("POST", "DELETE"):
            return self._writes.plan(head)
        return None

    def plan_paths(self, head: Head) -> PathAnswer | None:
        environ = head.environ
        if not self._answers(environ):
            return None
        match environ["REQUEST_METHOD"]:
            case "GET":
                return self._reads.plan_paths(head)
            case "POST":
                return self._writes.plan_paths(head)
        return None

    def _answers(self, environ: Environ) -> bool:
        """Say whether a call may be answered here: its headers change nothing."""
        return not (
            self._logged
            or "HTTP_ORIGIN" in environ
            or "HTTP_SEC_FETCH_SITE" in environ
            or (self._tracing is not None and request_context.trace(environ)[1])
        )

    def _stream(self, head: Head) -> Answer:
        head.plain, head.streams = False, True

        def answer(connection: Connection, body: bytes) -> bytes | None:
            environ = connection.environ_of(head)
            return b"" if self._streams.open(environ, connection) else None

        return answer

    def _note(self, environ: Environ, status: int, seconds: float) -> None:
        """Count, trace and log a reply to a call for events."""
        self._metrics.request(EVENTS, status).observe(seconds)
        if self._tracing is not None:
            self._tracing.record(environ, EVENTS, status)
        if self._logged:
            request_log.log_request(environ, status, None, seconds)

    def wants_body(self, environ: Environ) -> bool:
        method = environ["REQUEST_METHOD"]
        try:
            rule, _ = self._routes.match(environ["PATH_INFO"], method, return_rule=True)
        except HTTPException:
            return False
        policy = route_policy.ROUTES.get((method, rule.rule))
        if policy is None or policy.right is route_policy.PUBLIC:
            return False
        caller = self._authenticator.caller(environ)
        foreign = cors.is_foreign_write(environ, self._origins)
        if foreign or not caller.may(policy.right):
            return False
        rate = self._rates.get(policy.cost)
        if rate is not None:
            rate.check(rate_limits.client_of(environ, caller))
        return True

    def client(self, environ: Environ) -> str:
        caller = self._authenticator.caller(environ)
        return rate_limits.client_of(environ, caller)

    def wait(self, environ: Environ) -> Awaitable[None] | None:
        return self._waits.wait(environ)

    def stream(self, environ: Environ) -> Callable[[Send], Awaitable[None]] | None:
        return self._long_lists.reply(environ)
