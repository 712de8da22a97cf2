"""The route of the statistics: what is registered and running."""

from time import time_ns
from typing import Any

from flask import Blueprint, Response

from modularity_registry import schema
from modularity_registry.api import replies
from modularity_registry.api.routes import blueprint_of
from modularity_registry.model.service import ACTIVE, STATUSES
from modularity_registry.runtime import Registry
from modularity_registry.schema.replies import registry as models
from modularity_registry.writes.quotas import Quota, Quotas


def routes(registry: Registry) -> Blueprint:
    """Return ``/api/stats``."""

    def stats() -> Response:
        replies.query().finish()
        catalog = registry.catalog
        revision = catalog.revision
        counts = catalog.by_status
        total, active = len(catalog), sum(counts[status] for status in ACTIVE)
        monitor = registry.monitor
        by_status = {
            status: counts[status]
            for status in STATUSES
            # As before it was a status, as long as nobody has it.
            if status != "warning" or counts[status]
        }
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
        if registry.integrations:
            answer["integrations"] = {
                name: statistics() for name, statistics in registry.integrations.items()
            }
        if registry.upstreams or registry.integrations:
            # They change without a revision.
            tag += f"-{time_ns()}"
        return replies.read(schema.encode(answer), tag, revision)

    return blueprint_of("statistics", "/api", ("GET /stats", stats))


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
