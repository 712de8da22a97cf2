"""Answers the most frequent calls before Flask, from the catalog's rendered bytes.

Calls with a query, a condition or an origin go on to Flask. The replies are the same
to the last header: a test sends the same requests through both.
"""

from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING

from modularity_registry import schema
from modularity_registry.api import (
    authorization,
    problems,
    rate_limits,
    replies,
    request_context,
)
from modularity_registry.api import security_headers as fixed_headers
from modularity_registry.api.authorization import Authenticator
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import RegistryError
from modularity_registry.model.rights import OPEN, Caller, Right
from modularity_registry.ratelimit import Rate
from modularity_registry.runtime import Registry
from modularity_registry.serving.body import read_body
from modularity_registry.telemetry import logs
from modularity_registry.writes.commands import Commands

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REGISTER = "/api/register"
CAPABILITIES = "/api/capabilities/"
SERVICES = "/api/services/"
HEARTBEAT = "/api/heartbeat/"
SERVICE_HEARTBEAT = "/heartbeat"
LIST = "/services"
EXPLAIN = "/explain"


class HotPath:
    """WSGI in front of Flask's."""

    def __init__(
        self,
        registry: Registry,
        application: "WSGIApplication",
        traced: bool = False,
    ) -> None:
        """Return it; ``traced`` leaves calls whose trace is kept to ``application``."""
        self._authenticator = Authenticator(registry)
        self._closed = self._authenticator.closed
        self._catalog: Catalog = registry.catalog
        self._commands: Commands = registry.commands
        self._call = registry.call
        self._feed = registry.feed
        self._membership = registry.membership
        self._view_health = registry.view_health
        self._audit = registry.audit
        self._metrics = metrics = registry.metrics
        self._lookups = metrics.request("/api/capabilities/{name}", 200)
        self._lists = metrics.request("/api/capabilities/{name}/services", 200)
        self._reads = metrics.request("/api/services/{id}", 200)
        self._heartbeats = metrics.request("/api/heartbeat/{id}", 200)
        self._service_heartbeats = metrics.request("/api/services/{id}/heartbeat", 200)
        self._write_rate = registry.rates.writes
        self._read_rate = registry.rates.reads
        self._fixed = fixed_headers.of_replies(registry.settings)
        self._application = application
        self._traced = traced

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        # With one of these, the reply depends on more than the path.
        if (
            environ.get("QUERY_STRING")
            or "HTTP_ORIGIN" in environ
            or "HTTP_SEC_FETCH_SITE" in environ
            or (self._traced and request_context.trace(environ)[1])
        ):
            return self._application(environ, start_response)
        started = perf_counter()
        method = environ["REQUEST_METHOD"]
        caller = self._authenticator.caller(environ) if self._closed else OPEN
        reply = None
        if method == "GET":
            if "HTTP_IF_NONE_MATCH" not in environ and caller.may(Right.READ):
                reply = self._read(environ, start_response, caller, started)
        elif method == "POST" and caller.may(Right.REGISTER):
            reply = self._write(environ, start_response, caller, started)
        if reply is None:
            return self._application(environ, start_response)
        return reply

    def _read(
        self,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
        caller: Caller,
        started: float,
    ) -> Iterable[bytes] | None:
        """Answer a lookup; None leaves it to Flask."""
        path = environ["PATH_INFO"]
        # Before the data, so that the header is never newer than the body.
        revision = self._catalog.revision
        if path.startswith(CAPABILITIES):
            body_and_tag = self._capability(path[len(CAPABILITIES) :], revision)
            timings = self._lookups
            if path.endswith(LIST):
                timings = self._lists
                rate = self._read_rate
                if rate and body_and_tag and not _within(rate, environ, caller):
                    return None
        elif path.startswith(SERVICES):
            body_and_tag = self._service(path[len(SERVICES) :])
            timings = self._reads
        else:
            return None
        if body_and_tag is None:
            return None
        body, tag = body_and_tag
        headers = self._headers(body)
        headers.append(("ETag", f'W/"{tag}"'))
        headers.append(("X-Registry-Revision", str(revision)))
        request_id = request_context.request_id(environ)
        headers.append((request_context.REQUEST_ID, request_id))
        if self._view_health.stale_since is not None:
            headers += replies.stale(self._view_health)
        start_response("200 OK", headers)
        timings.observe(perf_counter() - started)
        return [body]

    def _write(
        self,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
        caller: Caller,
        started: float,
    ) -> Iterable[bytes] | None:
        """Answer a registration or a heartbeat; None leaves it to Flask."""
        path = environ["PATH_INFO"]
        if path == REGISTER and _is_plain(environ):
            rate = self._write_rate
            if rate is not None and not _within(rate, environ, caller):
                return None
            return self._register(environ, start_response, caller, started)
        entry = None
        if _has_no_body(environ):
            entry = self._heartbeat_entry(path, caller, environ)
        if entry is None:
            return None
        self._commands.record_heartbeat(entry)
        body = replies.acknowledgement(entry.ttl)
        headers = self._headers(body)
        request_id = request_context.request_id(environ)
        headers.append((request_context.REQUEST_ID, request_id))
        start_response("200 OK", headers)
        timings = (
            self._service_heartbeats
            if path.endswith(SERVICE_HEARTBEAT)
            else self._heartbeats
        )
        timings.observe(perf_counter() - started)
        return [body]

    def _capability(self, name: str, revision: int) -> tuple[bytes, int] | None:
        """Return body and tag for one provider or, with ``/services``, for all."""
        if name.endswith(LIST):
            capability = self._catalog.capability(name[: -len(LIST)])
            if capability is None:
                return None
            tag = capability.revision
            bodies = [entry.json for entry in capability.providers().by_id]
            return replies.listing("services", bodies, revision), tag
        capability = self._catalog.capability(name)
        if capability is None or name.endswith(EXPLAIN):
            return None
        healthy = capability.providers().healthy
        if not healthy:
            return None
        entry = healthy[next(capability.turns) % len(healthy)]
        return entry.json, entry.revision

    def _service(self, service_id: str) -> tuple[bytes, int] | None:
        entry = self._catalog.service(service_id)
        if entry is None:
            return None
        checker = self._membership.owner(service_id)
        return entry.json_with_evidence(checker), entry.revision

    def _register(
        self,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
        caller: Caller,
        started: float,
    ) -> Iterable[bytes]:
        context = request_context.of(environ)
        token = logs.current_request.set(context)
        try:
            registration, key = schema.parse_registration_and_key(read_body(environ))
            caller.require_service(registration.id, registration.capabilities)
            written = self._call(
                self._commands.register(
                    registration,
                    replies.caller_is_local(environ),
                    claim=authorization.claim(environ, caller, key),
                )
            )
        except RegistryError as error:
            problems.note(self._audit, error, environ)
            problem = problems.of(error)
            problem.headers.extend(self._fixed)
            problem.headers[request_context.REQUEST_ID] = context.request_id
            self._count(REGISTER, problem.status_code, started)
            return problem(environ, start_response)
        finally:
            logs.current_request.reset(token)
        body, status = replies.registered(written, registration.name)
        headers = self._headers(body)
        headers.append((request_context.REQUEST_ID, context.request_id))
        start_response(f"{status.value} {status.phrase}", headers)
        self._count(REGISTER, status.value, started)
        return [body]

    def _headers(self, body: bytes) -> list[tuple[str, str]]:
        return [
            ("Content-Type", replies.JSON),
            ("Content-Length", str(len(body))),
            *self._fixed,
        ]

    def _count(self, route: str, status: int, started: float) -> None:
        self._metrics.request(route, status).observe(perf_counter() - started)

    def _heartbeat_entry(
        self, path: str, caller: Caller, environ: "WSGIEnvironment"
    ) -> Entry | None:
        """Return the service of a heartbeat that changes nothing but its time."""
        if path.startswith(HEARTBEAT):
            service_id = path[len(HEARTBEAT) :]
        elif path.startswith(SERVICES) and path.endswith(SERVICE_HEARTBEAT):
            service_id = path[len(SERVICES) : -len(SERVICE_HEARTBEAT)]
        else:
            return None
        entry = self._catalog.service(service_id)
        if entry is None or entry.faulty or self._feed.interruption is not None:
            return None
        if self._closed or entry.owner:
            try:
                caller.require_service(service_id)
                authorization.claim(environ, caller).check(entry.owner, service_id)
            except RegistryError:
                return None
        return entry


def _within(rate: Rate, environ: "WSGIEnvironment", caller: Caller) -> bool:
    """Count the call and return True, or return False for one over the rate.

    A refused call is not counted, so Flask can ask again and write the error reply.
    """
    return rate.takes(rate_limits.client_of(environ, caller))


def _is_plain(environ: "WSGIEnvironment") -> bool:
    return (
        environ.get("CONTENT_TYPE") == replies.JSON
        and "HTTP_IF_MATCH" not in environ
        and "HTTP_IF_NONE_MATCH" not in environ
    )


def _has_no_body(environ: "WSGIEnvironment") -> bool:
    length = environ.get("CONTENT_LENGTH")
    return (not length or length == "0") and "HTTP_TRANSFER_ENCODING" not in environ
