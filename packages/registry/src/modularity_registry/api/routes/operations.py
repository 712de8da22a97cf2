"""Routes about the registry itself: health, readiness, metrics."""

from typing import Any

from flask import Blueprint, Response, request

from modularity_registry import __version__
from modularity_registry.api import authorization, replies
from modularity_registry.api.metrics import CONTENT_TYPE, Expiries, exposition, text
from modularity_registry.api.routes import blueprint_of
from modularity_registry.clock import rfc3339
from modularity_registry.errors import NotReady
from modularity_registry.model.rights import Right
from modularity_registry.runtime import Registry
from modularity_registry.serving import bind_warnings
from modularity_registry.serving.certificate_reload import Certificates


def routes(registry: Registry, certificates: Certificates | None = None) -> Blueprint:
    """Return ``/health``, ``/ready`` and ``/metrics``."""
    handlers = _Handlers(registry, certificates)
    return blueprint_of(
        "operations",
        None,
        ("GET /health", handlers.health),
        ("GET /ready", handlers.ready),
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

    def metrics(self) -> Response:
        return Response(text(self._collectors), content_type=CONTENT_TYPE)
