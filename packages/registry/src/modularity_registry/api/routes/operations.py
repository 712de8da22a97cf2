"""Routes about the registry itself: health, readiness, statistics, metrics."""

from time import time_ns
from typing import Any

from flask import Blueprint, Response, request

from modularity_registry import __version__, schema
from modularity_registry.api import authorization, replies
from modularity_registry.api.metrics import CONTENT_TYPE, Expiries, exposition, text
from modularity_registry.api.routes import blueprint_of
from modularity_registry.clock import rfc3339
from modularity_registry.errors import NotReady
from modularity_registry.model.rights import Right
from modularity_registry.model.service import STATUSES
from modularity_registry.runtime import Registry
from modularity_registry.schema.replies import registry as models
from modularity_registry.serving import bind_warnings
from modularity_registry.serving.certificate_reload import Certificates
from modularity_registry.writes.quotas import Quota, Quotas


def routes(registry: Registry, certificates: Certificates | None = None) -> Blueprint:
    """Return ``/health``, ``/ready``, ``/api/stats`` and ``/metrics``."""
    handlers = _Handlers(registry, certificates)
    return blueprint_of(
        "operations",
        None,
        ("GET /health", handlers.health),
        ("GET /ready", handlers.ready),
        ("GET /api/stats", handlers.stats),
        ("GET /metrics", handlers.metrics),
    )


class _Handlers:
    def __init__(self, registry: Registry, certificates: Certificates | None) -> None:
        self._registry = registry
        self._catalog = registry.catalog
        self._collectors = exposition(registry)
        self._collectors.register(Expiries(certificates))
        self._warnings = bind_warnings.warnings(registry.settings)

    def health(self) -> Response:
        registry = self._registry
        reasons = registry.degraded()
        answer: dict[str, Any] = {
            "status": "degraded" if reasons else "healthy",
            "service": "modularity-registry",
            "timestamp": rfc3339(registry.clock.now()),
            "version": __version__,
            "store": registry.settings.store_kind,
            "revision": self._catalog.revision,
        }
        if authorization.caller_of(request).may(Right.READ):
            answer |= self._details(reasons)
        return replies.reply(answer)

    def _details(self, reasons: list[str]) -> dict[str, Any]:
        """Only for callers with the right to read: the details name machines."""
        details: dict[str, Any] = {
            "replica": self._registry.replica,
            "replicas": self._registry.membership.states(),
        }
        if self._registry.upstreams:
            details["upstreams"] = self._registry.upstreams.states()
        stale = self._registry.view_health.stale_seconds
        if stale is not None:
            details["stale_seconds"] = stale
        if reasons:
            details["reasons"] = reasons
        if self._warnings:
            details["warnings"] = self._warnings
        return details

    def ready(self) -> Response:
        problems = self._registry.view_health.problems()
        if problems:
            may_read = authorization.caller_of(request).may(Right.READ)
            raise NotReady(problems[0] if may_read else "not ready; the log says why")
        return replies.reply({"status": "ready", "revision": self._catalog.revision})

    def stats(self) -> Response:
        replies.query().finish()
        registry, catalog = self._registry, self._catalog
        revision = catalog.revision
        total, active = len(catalog), catalog.by_status["healthy"]
        monitor = registry.monitor
        by_status = {status: catalog.by_status[status] for status in STATUSES}
        uptime = registry.clock.monotonic() - registry.started_at
        answer: dict[str, Any] = {
            "total_services": total,
            "active_services": active,
            "inactive_services": total - active,
            "total_capabilities": catalog.total_capabilities,
            "services_by_runtime": dict(catalog.by_runtime),
            "services_by_status": by_status,
            "services_by_mode": {k: n for k, n in catalog.by_mode.items() if n},
            "quotas": _quotas(registry.quotas),
            "checks": {
                "watched": monitor.watched,
                "succeeded": monitor.succeeded,
                "failed": monitor.failed,
            },
            "watchers": len(registry.hub),
            "replica": registry.replica,
            "replicas": registry.membership.states(),
            "uptime_seconds": round(uptime, 3),
            "revision": revision,
        }
        tag = f"{revision}-{monitor.succeeded + monitor.failed}"
        if registry.upstreams:
            answer["upstreams"] = registry.upstreams.states()
            # They change without a revision.
            tag += f"-{time_ns()}"
        return replies.read(schema.encode(answer), tag, revision)

    def metrics(self) -> Response:
        return Response(text(self._collectors), content_type=CONTENT_TYPE)


def _quotas(quotas: Quotas) -> models.Quotas:
    return models.Quotas(
        _quota(quotas.services),
        _quota(quotas.bytes),
        quotas.token_services or None,
        quotas.token_bytes or None,
        [models.Owner(*owner) for owner in quotas.owners()],
    )


def _quota(quota: Quota) -> models.Quota:
    return models.Quota(quota.held, quota.limit or None)
