"""Services as the catalog holds them, without a registry."""

from typing import Any

from modularity_registry.catalog import documents
from modularity_registry.catalog.entry import Entry, Renderer, new_vitals
from modularity_registry.clock import SystemClock
from modularity_registry.model.service import (
    CheckPlan,
    Drain,
    Fault,
    Registration,
    Service,
)

_RENDERER = Renderer(CheckPlan(5, 5))


def entry(
    service_id: str,
    status: str = "healthy",
    host: str = "10.0.0.1",
    port: int = 80,
    mode: Any = "http",
    scheme: str = "http",
    path: str = "",
    **fields: Any,
) -> Entry:
    """Return a service with this status, at a host and port."""
    now = SystemClock().now()
    scheme = scheme if mode == "http" else mode
    where = f"{scheme}://{host}:{port}{path}"
    registration = Registration(service_id, "A", ("c",), where, mode, **fields)
    fault = (Fault("check", "no answer", now),)
    service = Service(
        registration,
        now,
        now,
        faults=fault if status == "unhealthy" else (),
        warnings=fault if status == "warning" else (),
        drain=Drain("", now) if status == "draining" else None,
    )
    document = documents.encode(service)
    made = _RENDERER.entry(service, document, 1, new_vitals(service, 0.0))
    assert made.status == status
    return made
