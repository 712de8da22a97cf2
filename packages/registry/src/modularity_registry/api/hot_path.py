"""The calls that make up the load, answered before Flask from the catalog's bytes.

Only the plain cases are answered here, without a query or a condition; all else goes
on to Flask. The replies are the same to the last header: a test sends
the same requests through both.
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
BEAT = "/heartbeat"
LIST = "/services"
EXPLAIN = "/explain"


class HotPath:
    """WSGI in front of WSGI."""

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
        self._feed = registry.feed
        self._membership = registry.membership
        self._view_health = registry.view_health
        self._audit = registry.audit
        self._metrics = metrics = registry.metrics
        self._lookups = metrics.request("/api/capabilities/{name}", 200)
        self._lists = metrics.request("/api/capabilities/{name}/services", 200)
        self._reads = metrics.request("/api/services/{id}", 200)
        self._heartbeats = metrics.request("/api/heartbeat/{id}", 200)
        self._beats = metrics.request("/api/services/{id}/heartbeat", 200)
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
        ):
            return self._application(environ, start_response)
        if self._traced and request_context.trace(environ)[1]:
            return self._application(environ, start_response)
        started = perf_counter()
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        caller = self._authenticator.caller(environ) if self._closed else OPEN
        found = None
        if method == "GET" and "HTTP_IF_NONE_MATCH" not in environ:
            if not caller.may(Right.READ):
                return self._application(environ, start_response)
            # Before the data, so that this is never newer than what is shown.
            revision = self._catalog.revision
            if path.startswith(CAPABILITIES):
                found = self._capability(path[len(CAPABILITIES) :], revision)
                timings = self._lookups
                if path.endswith(LIST):
                    timings = self._lists
                    rate = self._read_rate
                    if rate and found and not _within(rate, environ, caller):
                        return self._application(environ, start_response)
            elif path.startswith(SERVICES):
                found = self._service(path[len(SERVICES) :])
                timings = self._reads
            if found is not None:
                headers = self._headers(found[0])
                headers.append(("ETag", f'W/"{found[1]}"'))
                headers.append(("X-Registry-Revision", str(revision)))
                headers.append(
                    (request_context.REQUEST_ID, request_context.request_id(environ))
                )
                if self._view_health.stale_since is not None:
                    headers += replies.stale(self._view_health)
                start_response("200 OK", headers)
                timings.observe(perf_counter() - started)
                return [found[0]]
        elif not caller.may(Right.REGISTER):
            return self._application(environ, start_response)
        elif method == "POST" and path == REGISTER and _is_plain(environ):
            rate = self._write_rate
            if rate is not None and not _within(rate, environ, caller):
                return self._application(environ, start_response)
            return self._register(environ, start_response, caller, started)
        elif method == "POST" and _has_no_body(environ):
            entry = self._beating(path, caller, environ)
            if entry is not None:
                self._commands.record_heartbeat(entry)
                body = replies.acknowledgement(entry.ttl)
                headers = self._headers(body)
                headers.append(
                    (request_context.REQUEST_ID, request_context.request_id(environ))
                )
                start_response("200 OK", headers)
                timings = self._beats if path.endswith(BEAT) else self._heartbeats
                timings.observe(perf_counter() - started)
                return [body]
        return self._application(environ, start_response)

    def _capability(self, name: str, revision: int) -> tuple[bytes, int] | None:
        """The body and the tag for a provider or, where asked for, all of them."""
        if name.endswith(LIST):
            capability = self._catalog.capability(name[: -len(LIST)])
            if capability is None:
                return None
            tag = capability.revision
            bodies = [each.json for each in capability.providers().by_id]
            return replies.listing("services", bodies, revision), tag
        capability = self._catalog.capability(name)
        if capability is None or name.endswith(EXPLAIN):
            return None
        healthy = capability.healthy
        if healthy is None:
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
        asked = request_context.of(environ)
        token = logs.current_request.set(asked)
        try:
            registration, key = schema.parse_registration_and_key(read_body(environ))
            caller.require_service(registration.id, registration.capabilities)
            written = self._commands.register(
                registration,
                replies.caller_is_local(environ),
                claim=authorization.claim(environ, caller, key),
            )
        except RegistryError as error:
            problems.note(self._audit, error, environ)
            problem = problems.of(error)
            problem.headers.extend(self._fixed)
            problem.headers[request_context.REQUEST_ID] = asked.request_id
            self._count(REGISTER, problem.status_code, started)
            return problem(environ, start_response)
        finally:
            logs.current_request.reset(token)
        body, status = replies.registered(written, registration.name)
        headers = self._headers(body)
        headers.append((request_context.REQUEST_ID, asked.request_id))
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

    def _beating(
        self, path: str, caller: Caller, environ: "WSGIEnvironment"
    ) -> Entry | None:
        """The service that a heartbeat is for, if nothing but its time changes."""
        if path.startswith(HEARTBEAT):
            service_id = path[len(HEARTBEAT) :]
        elif path.startswith(SERVICES) and path.endswith(BEAT):
            service_id = path[len(SERVICES) : -len(BEAT)]
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
    """Count the call, or say no to one over the rate.

    That one was not counted, so Flask can ask once more and say no in its own words.
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
