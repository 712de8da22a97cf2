"""Replies about the registry itself and the call graph, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NotRequired, Self, TypedDict

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of services and capabilities; ``raw`` is the whole reply."""

    total_services: int
    active_services: int
    inactive_services: int
    total_capabilities: int
    services_by_runtime: dict[str, int] = field(hash=False)
    raw: dict[str, Any] = field(hash=False, repr=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the counts of a reply."""
        return cls(
            data["total_services"],
            data["active_services"],
            data["inactive_services"],
            data["total_capabilities"],
            dict(data["services_by_runtime"]),
            dict(data),
        )


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace, and how many services and capabilities it has."""

    name: str
    services: int
    capabilities: int

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return a namespace of a reply."""
        return cls(data["name"], data["services"], data["capabilities"])


@dataclass(frozen=True, slots=True)
class Health:
    """The registry's health: ``healthy``, or ``degraded`` for ``reasons``."""

    status: str
    service: str
    timestamp: datetime
    version: str | None
    store: str | None
    revision: int | None
    reasons: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the health of a reply."""
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
    """The registry can take calls."""

    status: str
    revision: int | None


class CallReport(TypedDict):
    """A call that a service made to another, as its caller saw it.

    ``success`` is true by default; ``latency_ms`` may be unknown.
    """

    consumer_id: str
    provider_id: str
    capability: str
    success: NotRequired[bool]
    latency_ms: NotRequired[float | None]


@dataclass(frozen=True, slots=True)
class RecordedCalls:
    """How many calls were ``recorded``, and which providers are not registered."""

    recorded: int
    unknown: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return what a reply says."""
        return cls(data["recorded"], tuple(data["unknown"]))


@dataclass(frozen=True, slots=True)
class Connection:
    """The calls between two services; a field is None if it is unknown."""

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
        """Return the connection to the service on the other ``side``."""
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
    """The services that one has called (``consuming``) and those that called it."""

    service_id: str
    service_name: str | None
    consuming: tuple[Connection, ...]
    providing: tuple[Connection, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the connections of a reply."""
        return cls(
            data["service_id"],
            data["service_name"],
            tuple(Connection.from_json(row, "provider") for row in data["consuming"]),
            tuple(Connection.from_json(row, "consumer") for row in data["providing"]),
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A service in the graph; one that only calls may be unregistered."""

    id: str
    name: str | None
    status: str | None
    registered: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """The calls from a consumer to a provider; ``weight`` is their number.

    ``calls_per_second`` is an average over about the last minute; None from a registry
    before 0.2.
    """

    consumer_id: str
    provider_id: str
    capability: str
    weight: int
    avg_latency_ms: float | None
    success_rate: float | None
    calls_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """The call graph."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the graph of a reply."""
        nodes = tuple(
            Node(node["id"], node["name"], node["status"], node["registered"])
            for node in data["nodes"]
        )
        edges = tuple(
            Edge(
                edge["from"],
                edge["to"],
                edge["capability"],
                edge["weight"],
                edge["avg_latency_ms"],
                edge["success_rate"],
                edge.get("calls_per_second"),
            )
            for edge in data["edges"]
        )
        return cls(nodes, edges)
