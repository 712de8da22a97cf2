"""Routes of services: register, read, drain, heartbeat, unregister."""

from flask import Blueprint, Response, request

from modularity_registry import schema
from modularity_registry.api import authorization, rate_limits, replies
from modularity_registry.api.long_replies.waits import require_place
from modularity_registry.api.query import INSTANCE, LISTS
from modularity_registry.api.routes import blueprint_of
from modularity_registry.catalog.status_history import StatusChange
from modularity_registry.clock import rfc3339
from modularity_registry.model.rights import Claim
from modularity_registry.model.service import RegistrationRequest
from modularity_registry.runtime import Registry
from modularity_registry.writes.precondition import WriteResult


def routes(registry: Registry) -> Blueprint:
    """Return the routes under ``/api`` that are about services."""
    handlers = _Handlers(registry)
    return blueprint_of(
        "services",
        "/api",
        ("POST /register", handlers.register_anywhere),
        ("PUT /services/<service_id>", handlers.register_here),
        ("GET /services", handlers.list_services),
        ("GET /services/<service_id>", handlers.read_service),
        ("GET /services/<service_id>/history", handlers.read_history),
        ("DELETE /services/<service_id>", handlers.unregister),
        ("DELETE /unregister/<service_id>", handlers.unregister),
        ("PUT /services/<service_id>/drain", handlers.drain),
        ("DELETE /services/<service_id>/drain", handlers.undrain),
        ("POST /heartbeat/<service_id>", handlers.heartbeat),
        ("POST /services/<service_id>/heartbeat", handlers.heartbeat),
        ("POST /services/<service_id>/checks/<name>", handlers.report_check),
    )


class _Handlers:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._catalog = registry.catalog
        self._commands = registry.commands
        self._call = registry.call

    def _register(self, asked: RegistrationRequest) -> Response:
        registration = asked.registration
        caller = authorization.caller_of(request)
        caller.require_service(registration.id, registration.capabilities)
        result = self._call(
            self._commands.register(
                registration,
                replies.caller_is_local(request.environ),
                replies.precondition(),
                authorization.claim(request.environ, caller, asked.owner_key),
                asked.instance,
            )
        )
        body, status = replies.registered(result)
        return _json(body, status)

    def _claim(self, service_id: str) -> Claim:
        caller = authorization.caller_of(request)
        caller.require_service(service_id)
        return authorization.claim(request.environ, caller)

    def register_anywhere(self) -> Response:
        return self._register(schema.parse_registration_request(replies.body()))

    def register_here(self, service_id: str) -> Response:
        return self._register(
            schema.parse_registration_request(replies.body(), service_id)
        )

    def list_services(self) -> Response:
        query = replies.query(*LISTS)
        selection, page, wait = query.filter(), query.page(), query.wait()
        query.finish()
        require_place(self._registry, wait)
        revision, tag = self._catalog.revision, self._catalog.changed

        def render() -> bytes:
            # A filter by capability starts from its providers, not from all services.
            entries = self._catalog.providing(selection.capabilities)
            return replies.services(entries, selection, page, revision)

        return replies.read(render, tag, revision)

    def read_service(self, service_id: str) -> Response:
        replies.query().finish()
        revision = self._catalog.revision
        entry = self._catalog.require(service_id)
        checker = self._registry.membership.owner(service_id)
        return replies.read(
            lambda: entry.json_with_evidence(checker), entry.revision, revision
        )

    def read_history(self, service_id: str) -> Response:
        replies.query().finish()
        revision = self._catalog.revision
        entry = self._catalog.require(service_id)
        changes = self._registry.history.of(entry)
        answer = {
            "service_id": service_id,
            "history": [_change(change) for change in changes],
            "count": len(changes),
        }
        tag = f"{entry.revision}-{len(changes)}"
        return replies.read(schema.encode(answer), tag, revision)

    def unregister(self, service_id: str) -> Response:
        query = replies.query(*INSTANCE)
        instance = query.instance()
        query.finish()
        claim = self._claim(service_id)
        result = self._call(
            self._commands.unregister(
                service_id, replies.precondition(), claim, instance
            )
        )
        if result.others:
            message = f"Instance {instance!r} left; others keep {service_id!r}"
            return _changed(result, "left", message)
        return _json(replies.unregistered(result))

    def drain(self, service_id: str) -> Response:
        reason = schema.parse_drain(replies.body())
        claim = self._claim(service_id)
        result = self._call(self._commands.drain(service_id, reason, claim))
        return _changed(result, "draining", f"Service {service_id!r} gets no new calls")

    def undrain(self, service_id: str) -> Response:
        claim = self._claim(service_id)
        result = self._call(self._commands.undrain(service_id, claim))
        entry = self._catalog.service(service_id)
        status = entry.status if entry else "unregistered"
        return _changed(result, status, f"Service {service_id!r} is back in discovery")

    def heartbeat(self, service_id: str) -> Response:
        report = schema.parse_heartbeat(replies.body())
        if report.status != "healthy":
            rate_limits.take(self._registry.rates.writes)
        claim = self._claim(service_id)
        entry = self._call(self._commands.heartbeat(service_id, report, claim))
        return _json(replies.acknowledgement(entry.ttl))

    def report_check(self, service_id: str, name: str) -> Response:
        report = schema.parse_check_report(replies.body())
        if report.status != "healthy":
            rate_limits.take(self._registry.rates.writes)
        claim = self._claim(service_id)
        ttl = self._call(self._commands.report_check(service_id, name, report, claim))
        answer = {"status": "ok", "message": "Report received", "ttl": ttl}
        return _json(schema.encode(answer))


def _change(change: StatusChange) -> dict[str, str | None]:
    return {
        "at": rfc3339(change.at),
        "status": change.status,
        "reason": change.reason,
    }


def _changed(result: WriteResult, status: str, message: str) -> Response:
    return _json(replies.changed(result, status, message))


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, content_type=replies.JSON)
