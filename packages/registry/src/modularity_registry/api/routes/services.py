"""Routes of services: register, read, drain, heartbeat, unregister."""

from flask import Blueprint, Response, request

from modularity_registry import schema
from modularity_registry.api import authorization, rate_limits, replies
from modularity_registry.api.query import FILTERS, PAGES, WAIT
from modularity_registry.api.routes.events import wait_for_change
from modularity_registry.catalog.status_history import StatusChange
from modularity_registry.clock import rfc3339
from modularity_registry.events import Interest
from modularity_registry.model.rights import Claim
from modularity_registry.model.service import Registration
from modularity_registry.runtime import Registry
from modularity_registry.writes.precondition import WriteResult

LISTS = (*FILTERS, "metadata", *PAGES, *WAIT)


def routes(registry: Registry) -> Blueprint:
    """Return the routes under ``/api`` that are about services."""
    blueprint = Blueprint("services", __name__, url_prefix="/api")
    catalog, commands = registry.catalog, registry.commands

    def register(registration: Registration, key: str | None) -> Response:
        caller = authorization.caller_of(request)
        caller.require_service(registration.id, registration.capabilities)
        written = commands.register(
            registration,
            replies.caller_is_local(request.environ),
            replies.precondition(),
            authorization.claim(request.environ, caller, key),
        )
        body, status = replies.registered(written, registration.name)
        return Response(body, status, content_type=replies.JSON)

    def claim(service_id: str) -> Claim:
        caller = authorization.caller_of(request)
        caller.require_service(service_id)
        return authorization.claim(request.environ, caller)

    @blueprint.post("/register")
    def register_anywhere() -> Response:
        return register(*schema.parse_registration_and_key(replies.body()))

    @blueprint.put("/services/<service_id>")
    def register_here(service_id: str) -> Response:
        return register(*schema.parse_registration_and_key(replies.body(), service_id))

    @blueprint.get("/services")
    def list_services() -> Response:
        query = replies.query(*LISTS)
        wanted, page, wait = query.filter(), query.page(), query.wait()
        query.finish()
        wait_for_change(registry, wait, Interest(wanted.capabilities), wanted)
        revision, tag = catalog.revision, catalog.changed

        def render() -> bytes:
            # A filter by capability starts from its providers, not from everyone.
            entries = catalog.providing(wanted.capabilities)
            return replies.services(entries, wanted, page, revision)

        return replies.read(render, tag, revision)

    @blueprint.get("/services/<service_id>")
    def read_service(service_id: str) -> Response:
        replies.query().finish()
        revision = catalog.revision
        entry = catalog.require(service_id)
        checker = registry.membership.owner(service_id)
        return replies.read(
            lambda: entry.json_with_evidence(checker), entry.revision, revision
        )

    @blueprint.get("/services/<service_id>/history")
    def read_history(service_id: str) -> Response:
        replies.query().finish()
        revision = catalog.revision
        entry = catalog.require(service_id)
        changes = registry.history.of(entry)
        answer = {
            "service_id": service_id,
            "history": [_change(each) for each in changes],
            "count": len(changes),
        }
        tag = f"{entry.revision}-{len(changes)}"
        return replies.read(schema.encode(answer), tag, revision)

    @blueprint.delete("/services/<service_id>")
    @blueprint.delete("/unregister/<service_id>")
    def unregister(service_id: str) -> Response:
        written = commands.unregister(
            service_id, replies.precondition(), claim(service_id)
        )
        return changed(written, "unregistered", f"Service {service_id!r} unregistered")

    @blueprint.put("/services/<service_id>/drain")
    def drain(service_id: str) -> Response:
        reason = schema.parse_drain(replies.body())
        written = commands.drain(service_id, reason, claim(service_id))
        return changed(written, "draining", f"Service {service_id!r} gets no new calls")

    @blueprint.delete("/services/<service_id>/drain")
    def undrain(service_id: str) -> Response:
        written = commands.undrain(service_id, claim(service_id))
        entry = catalog.service(service_id)
        status = entry.status if entry else "unregistered"
        return changed(written, status, f"Service {service_id!r} is back in discovery")

    @blueprint.post("/heartbeat/<service_id>")
    @blueprint.post("/services/<service_id>/heartbeat")
    def heartbeat(service_id: str) -> Response:
        said = schema.parse_heartbeat(replies.body())
        if not said.healthy:
            rate_limits.take(registry.rates.writes)
        entry = commands.heartbeat(service_id, said, claim(service_id))
        body = replies.acknowledgement(entry.ttl)
        return Response(body, content_type=replies.JSON)

    return blueprint


def _change(change: StatusChange) -> dict[str, str | None]:
    return {
        "at": rfc3339(change.at),
        "status": change.status,
        "reason": change.reason,
    }


def changed(result: WriteResult, status: str, message: str) -> Response:
    """Return the reply to a write that is not a registration."""
    return replies.reply(
        {
            "status": status,
            "service_id": result.service_id,
            "revision": result.revision,
            "message": message,
        }
    )
