"""Services, made up as the registry shows them, and registered."""

from datetime import UTC, datetime
from typing import Any

from client_support.harness import RegistryProcess
from modularity_client import Registry, Service


def service(service_id: str, **changes: Any) -> Service:
    fields: dict[str, Any] = {
        "id": service_id,
        "name": service_id,
        "version": "1.0.0",
        "capabilities": ("greet",),
        "location": "here",
        "mode": "standalone",
        "status": "healthy",
        "metadata": {},
        "weight": 1,
        "ttl": None,
        "health": None,
        "revision": 1,
        "registered_at": datetime(2026, 1, 2, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, tzinfo=UTC),
        "failed_checks": 0,
    }
    return Service(**{**fields, **changes})


def register(registry: RegistryProcess, service_id: str, *names: str) -> None:
    with Registry(registry.url) as client:
        client.put(
            id=service_id,
            name=service_id,
            capabilities=names,
            location="here",
            mode="standalone",
        )
