"""Registrations, heartbeats and unregistrations."""

from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any

from modularity_registry import schema
from modularity_registry.api import (
    authorization,
    problems,
    rate_limits,
    replies,
    request_context,
)
from modularity_registry.api.authorization import Authenticator
from modularity_registry.api.hot_path.eager import Eager
from modularity_registry.api.hot_path.reply import ReplyWriter, request_ids
from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import RegistryError
from modularity_registry.model.rights import OPEN, Right
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import Connection
from modularity_registry.serving.head import Answer, Environ, Head, PathAnswer
from modularity_registry.telemetry import logs

REGISTER = "/api/register"
UNUSUAL = ("HTTP_IF_NONE_MATCH", "HTTP_CONTENT_ENCODING")
"""Headers of a registration that Flask looks at."""

SERVICES = "/api/services/"
HEARTBEAT = "/api/heartbeat/"
SERVICE_HEARTBEAT = "/heartbeat"
UNREGISTER = {
    SERVICES: "/api/services/{id}",
    "/api/unregister/": "/api/unregister/{id}",
}

Written = tuple[int, bytes]
Write = Callable[[Environ, bytes], Coroutine[Any, Any, Written]]
"""Makes a write from a call and its body; returns the reply's status and body."""


class Writes:
    """Makes the answers to writes, one for each head."""

    def __init__(
        self, registry: Registry, writer: ReplyWriter, authenticator: Authenticator
    ) -> None:
        self._registry = registry
        self._catalog = registry.catalog
        self._commands = registry.commands
        self._writer = writer
        self._authenticator = authenticator
        request = registry.metrics.request
        self._heartbeats = request("/api/heartbeat/{id}", 200)
        self._service_heartbeats = request("/api/services/{id}/heartbeat", 200)

    def plan(self, head: Head) -> Answer | None:
        """Return what answers a write with this head; None for Flask."""
        path, environ = head.path, head.environ
        if path is None or environ["QUERY_STRING"] or "HTTP_IF_MATCH" in environ:
            return None
        if environ["REQUEST_METHOD"] == "DELETE":
            return self._unregistration(head, path)
        if path == REGISTER:
            json = environ.get("CONTENT_TYPE") == replies.JSON
            plain = json and not any(name in environ for name in UNUSUAL)
            return self._write(head, REGISTER, self._register) if plain else None
        if head.length or not path.startswith((HEARTBEAT, SERVICES)):
            return None
        answer = self._heartbeat(head)
        return lambda connection, _: answer(connection, path)

    def plan_paths(self, head: Head) -> PathAnswer | None:
        """Return what answers heartbeats that differ from this head in their path."""
        if head.environ["QUERY_STRING"] or "HTTP_IF_MATCH" in head.environ:
            return None
        return self._heartbeat(head)

    def _unregistration(self, head: Head, path: str) -> Answer | None:
        for prefix, route in UNREGISTER.items():
            service_id = path[len(prefix) :]
            if path.startswith(prefix) and service_id and "/" not in service_id:
                unregister = partial(self._unregister, service_id)
                return None if head.length else self._write(head, route, unregister)
        return None

    async def _unregister(
        self, service_id: str, environ: Environ, body: bytes
    ) -> Written:
        caller = self._authenticator.caller(environ)
        caller.require_service(service_id)
        claim = authorization.claim(environ, caller)
        result = await self._commands.unregister(service_id, claim=claim)
        return 200, replies.unregistered(result)

    async def _register(self, environ: Environ, body: bytes) -> Written:
        registration, key, instance = schema.parse_registration_request(body)
        caller = self._authenticator.caller(environ)
        caller.require_service(registration.id, registration.capabilities)
        result = await self._commands.register(
            registration,
            replies.caller_is_local(environ),
            claim=authorization.claim(environ, caller, key),
            instance=instance,
        )
        reply, status = replies.registered(result)
        return status.value, reply

    def _write(self, head: Head, route: str, write: Write) -> Answer:
        """Return what makes a write and answers as soon as it is done."""

        def answer(connection: Connection, body: bytes) -> bytes | None:
            started = perf_counter()
            environ = connection.environ_of(head, body)
            if not self._may_write(environ):
                return None
            reply = _Reply(self, connection, environ, route, started)
            context = request_context.of(environ)
            token = logs.current_request.set(context)
            try:
                Eager(write(environ, body), reply.done)
            finally:
                logs.current_request.reset(token)
            return reply.at_once()

        return answer

    def _may_write(self, environ: Environ) -> bool:
        caller = self._authenticator.caller(environ)
        rate = self._registry.rates.writes
        may_register = caller.may(Right.REGISTER)
        return may_register and rate_limits.admits(rate, environ, caller)

    def render(
        self,
        environ: Environ,
        route: str,
        written: Written | None,
        error: BaseException | None,
        started: float,
    ) -> bytes:
        """Return the reply to a write that was made, or not."""
        if written is not None:
            status, body = written
            request_id = request_context.request_id(environ)
            reply = self._writer.write(status, body, request_id)
        else:
            if isinstance(error, RegistryError):
                problems.note(self._registry.audit, error, environ)
                problem = problems.of(error)
            else:
                problem = problems.unexpected(error)
            status = problem.status_code
            reply = self._writer.problem(problem, environ)
        timings = self._registry.metrics.request(route, status)
        timings.observe(perf_counter() - started)
        return reply

    def _heartbeat(self, head: Head) -> PathAnswer:
        request_id = request_ids(head.environ)
        write, record = self._writer.write, self._commands.record_heartbeat

        def answer(connection: Connection, path: str) -> bytes | None:
            started = perf_counter()
            if path.startswith(HEARTBEAT):
                service_id, timings = path[len(HEARTBEAT) :], self._heartbeats
            elif path.startswith(SERVICES) and path.endswith(SERVICE_HEARTBEAT):
                service_id = path[len(SERVICES) : -len(SERVICE_HEARTBEAT)]
                timings = self._service_heartbeats
            else:
                return None
            entry = self._plain(service_id, head)
            if entry is None:
                return None
            record(entry)
            reply = write(200, replies.acknowledgement(entry.ttl), request_id())
            timings.observe(perf_counter() - started)
            return reply

        return answer

    def _plain(self, service_id: str, head: Head) -> Entry | None:
        """Return the service of a heartbeat that changes nothing but its time."""
        entry = self._catalog.service(service_id)
        if entry is None or entry.faulty or not self._commands.is_heard:
            return None
        closed = self._authenticator.closed
        if closed or entry.owner:
            caller = OPEN
            if closed:
                header = head.environ.get("HTTP_AUTHORIZATION")
                caller = self._authenticator.caller_of(header)
            try:
                caller.require_service(service_id)
                authorization.claim(head.environ, caller).check(entry.owner, service_id)
            except RegistryError:
                return None
        return entry


class _Reply:
    """The reply to a write: at once if it is done by then, else when it is."""

    def __init__(
        self,
        writes: Writes,
        connection: Connection,
        environ: Environ,
        route: str,
        started: float,
    ) -> None:
        self._writes = writes
        self._connection = connection
        self._environ = environ
        self._route = route
        self._started = started
        self._reply: bytes | None = None
        self._send: Callable[[bytes], None] | None = None

    def done(self, written: Written | None, error: BaseException | None) -> None:
        try:
            self._reply = self._render(written, error)
        except Exception as failure:  # Flask must not write once more
            self._reply = self._render(None, failure)
        if self._send is not None:
            self._send(self._reply)

    def _render(self, written: Written | None, error: BaseException | None) -> bytes:
        return self._writes.render(
            self._environ, self._route, written, error, self._started
        )

    def at_once(self) -> bytes:
        if self._reply is not None:
            return self._reply
        self._send = self._connection.reply_later()
        return b""
