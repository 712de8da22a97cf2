"""What the registry says of itself and of who calls whom, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of what the registry holds; ``raw`` is the whole reply."""

    total_services: int
    active_services: int
    inactive_services: int
    total_capabilities: int
    services_by_runtime: dict[str, int] = field(hash=False)
    raw: dict[str, Any] = field(hash=False, repr=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the counts that a reply shows."""
        return cls(
            data["total_services"],
            data["active_services"],
            data["inactive_services"],
            data["total_capabilities"],
            dict(data["services_by_runtime"]),
            dict(data),
        )


@dataclass(frozen=True, slots=True)
class Health:
    """The registry lives: ``healthy``, or ``degraded`` for ``reasons``."""

    status: str
    service: str
    timestamp: datetime
    version: str | None
    store: str | None
    revision: int | None
    reasons: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return what a reply says."""
        return cls(
            data["status"],
            data["service"],
            datetime.fromisoformat(data["timestamp"]),
            data.get("version"),
            data.get("store"),
            data.get("revision"),
            tuple(data.get("reasons", ())),
        )


@dataclass(frozen=True, slots=True)
class Ready:
    """The registry may take calls."""

    status: str
    revision: int | None


@dataclass(frozen=True, slots=True)
class Connection:
    """What was called between two services; None where nothing is known."""

    service_id: str
    service_name: str | None
    capability: str
    request_count: int
    success_rate: float | None
    avg_latency_ms: float | None
    first_seen: datetime
    last_seen: datetime

    @classmethod
    def from_json(cls, data: Json, side: str) -> Self:
        """Return the connection to the one on the other ``side``."""
        return cls(
            data[f"{side}_id"],
            data[f"{side}_name"],
            data["capability"],
            data["request_count"],
            data["success_rate"],
            data["avg_latency_ms"],
            datetime.fromisoformat(data["first_seen"]),
            datetime.fromisoformat(data["last_seen"]),
        )


@dataclass(frozen=True, slots=True)
class Connections:
    """Whom a service has called (``consuming``) and who has called it."""

    service_id: str
    service_name: str | None
    consuming: tuple[Connection, ...]
    providing: tuple[Connection, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the connections that a reply shows."""
        return cls(
            data["service_id"],
            data["service_name"],
            tuple(Connection.from_json(each, "provider") for each in data["consuming"]),
            tuple(Connection.from_json(each, "consumer") for each in data["providing"]),
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A service in the graph; one that only calls need not be ``registered``."""

    id: str
    name: str | None
    status: str | None
    registered: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """So many calls (``weight``) from a consumer to a provider."""

    consumer_id: str
    provider_id: str
    capability: str
    weight: int
    avg_latency_ms: float | None
    success_rate: float | None


@dataclass(frozen=True, slots=True)
class Graph:
    """Who calls whom."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the graph that a reply shows."""
        nodes = tuple(
            Node(each["id"], each["name"], each["status"], each["registered"])
            for each in data["nodes"]
        )
        edges = tuple(
            Edge(
                each["from"],
                each["to"],
                each["capability"],
                each["weight"],
                each["avg_latency_ms"],
                each["success_rate"],
            )
            for each in data["edges"]
        )
        return cls(nodes, edges)
