"""Services and snapshots as the command line gets them from a registry."""

from collections.abc import Mapping
from typing import Any

from modularity_client import Event, Service
from modularity_registry.cli.proxies.snapshot import Snapshot

AT = "2026-11-29T12:00:00Z"


def service(service_id: str, **changes: Any) -> Service:
    """A healthy provider of ``greet``."""
    fields = {
        "id": service_id,
        "name": service_id,
        "version": "1.0.0",
        "capabilities": ["greet"],
        "location": "http://10.0.0.5:8080",
        "mode": "http",
        "status": "healthy",
        "metadata": {},
        "weight": 1,
        "ttl": None,
        "health": None,
        "revision": 1,
        "registered_at": AT,
        "last_seen": AT,
        "failed_checks": 0,
    }
    return Service.from_json({**fields, **changes})


def snapshot(
    *services: Service, splits: Mapping[str, Mapping[str, int]] | None = None
) -> Snapshot:
    """What a registry with these services holds at revision 10."""
    return Snapshot(services, splits, 10)


def event(kind: str, revision: int, found: Service | None = None, **data: Any) -> Event:
    """An event of the stream."""
    return Event(str(revision), kind, None, revision, found, data)
