"""Routes about the registry itself: is it alive, is it ready, what does it hold."""

from typing import Any

from flask import Blueprint, Response, request

from modularity_registry import __version__, schema
from modularity_registry.api import authorization, replies
from modularity_registry.api.metrics import CONTENT_TYPE, exposition, text
from modularity_registry.clock import rfc3339
from modularity_registry.errors import NotReady
from modularity_registry.model.rights import Right
from modularity_registry.model.service import STATUSES
from modularity_registry.replicas.membership import ReplicaState
from modularity_registry.runtime import Registry
from modularity_registry.serving import bind_warnings
from modularity_registry.serving.certificate_reload import Certificates, Expiries


def routes(registry: Registry, certificates: Certificates | None = None) -> Blueprint:
    """Return ``/health``, ``/ready``, ``/api/stats`` and ``/metrics``."""
    blueprint = Blueprint("operations", __name__)
    catalog = registry.catalog
    exposed = exposition(registry)
    exposed.register(Expiries(certificates))
    warnings = bind_warnings.warnings(registry.settings)

    def replicas() -> list[ReplicaState]:
        return registry.membership.states()

    @blueprint.get("/health")
    def health() -> Response:
        reasons = registry.degraded()
        answer: dict[str, Any] = {
            "status": "degraded" if reasons else "healthy",
            "service": "modularity-registry",
            "timestamp": rfc3339(registry.clock.now()),
            "version": __version__,
            "store": registry.settings.store_kind,
            "revision": catalog.revision,
        }
        if authorization.caller_of(request).may(Right.READ):
            answer |= details(reasons)
        return replies.reply(answer)

    def details(reasons: list[str]) -> dict[str, Any]:
        """What is for those who may read: it names machines."""
        shown: dict[str, Any] = {
            "replica": registry.replica,
            "replicas": replicas(),
        }
        stale = registry.view_health.stale_seconds
        if stale is not None:
            shown["stale_seconds"] = stale
        if reasons:
            shown["reasons"] = reasons
        if warnings:
            shown["warnings"] = warnings
        return shown

    @blueprint.get("/ready")
    def ready() -> Response:
        problems = registry.view_health.problems()
        if problems:
            reader = authorization.caller_of(request).may(Right.READ)
            raise NotReady(problems[0] if reader else "not ready; the log says why")
        return replies.reply({"status": "ready", "revision": catalog.revision})

    @blueprint.get("/api/stats")
    def stats() -> Response:
        replies.query().finish()
        revision = catalog.revision
        total, active = len(catalog), catalog.by_status["healthy"]
        monitor = registry.monitor
        answer = {
            "total_services": total,
            "active_services": active,
            "inactive_services": total - active,
            "total_capabilities": catalog.total_capabilities,
            "services_by_runtime": dict(catalog.by_runtime),
            "services_by_status": {each: catalog.by_status[each] for each in STATUSES},
            "services_by_mode": {k: n for k, n in catalog.by_mode.items() if n},
            "checks": {
                "watched": monitor.watched,
                "succeeded": monitor.succeeded,
                "failed": monitor.failed,
            },
            "watchers": len(registry.hub),
            "replica": registry.replica,
            "replicas": replicas(),
            "uptime_seconds": round(
                registry.clock.monotonic() - registry.started_at, 3
            ),
            "revision": revision,
        }
        tag = f"{revision}-{monitor.succeeded + monitor.failed}"
        return replies.read(schema.encode(answer), tag, revision)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        return Response(text(exposed), content_type=CONTENT_TYPE)

    return blueprint
