"""What the registry shows of itself and of calls: the schemas of its replies."""

import json

from modularity_registry.api.openapi.builders import (
    Json,
    a,
    example_of,
    field,
    listed,
    maybe_text,
    moment,
    record,
    ref,
    text,
    whole,
)
from modularity_registry.api.openapi.schemas.services import REVISION, SERVICE_ID
from modularity_registry.model.service import MODES, STATUSES

_RATE: Json = {"minimum": 0, "maximum": 1}
_LATENCY = field(
    ("number", "null"),
    "The mean latency in milliseconds; null when no call told its own.",
    12.5,
)
_SUCCESS_RATE = field("number", "The share of calls that went well.", 0.98, **_RATE)
_CAPABILITY = text("What was called for.", "greet")
_WARNING = (
    "anyone who can reach 0.0.0.0:5000 may register, change and remove everything; add"
    " --auth, or listen on 127.0.0.1 alone"
)
_REPLICA = text("The replica that answered.", "host-b52c59")


def _counts(description: str, example: dict[str, int], names: list[str]) -> Json:
    """Return the schema of counts by name; other names than these if there are none."""
    return field(
        "object",
        description,
        example,
        additionalProperties={"type": "integer", "minimum": 0},
        **({"propertyNames": {"enum": names}} if names else {}),
    )


def _connection(side: str) -> Json:
    name = "web-shop" if side == "consumer" else "hello-service"
    return record(
        f"What is known of calls, by their {side}.",
        {
            f"{side}_id": text(f"The {side}'s id.", name),
            f"{side}_name": maybe_text(
                f"The {side}'s name; null if it is not registered.", "Hello"
            ),
            "capability": _CAPABILITY,
            "request_count": whole("How many calls were reported.", 120, minimum=1),
            "success_rate": _SUCCESS_RATE,
            "avg_latency_ms": _LATENCY,
            "first_seen": moment("The first call.", "2026-10-17T02:59:31.123456Z"),
            "last_seen": moment("The last call.", "2026-10-17T03:04:31.123456Z"),
        },
    )


REPLICA = record(
    "A replica, as the one that answers sees it.",
    {
        "id": text("Its id.", "host-b52c59"),
        "state": text(
            "Whether it gives signs of life.", "alive", enum=["alive", "lost"]
        ),
        "seen": field("number", "Seconds since its last sign of life.", 0.8),
        "host": text("The machine it runs on.", "host"),
        "version": text("Its version.", "0.1.0"),
        "started_at": moment("Since when it runs.", "2026-10-17T02:59:31.123456Z"),
        "self": field("boolean", "Whether it is the one that answers.", True),
    },
)
_REPLICAS = listed(
    ref("Replica"),
    "All replicas; none where the store belongs to one process.",
    [example_of(REPLICA)],
)
CONSUMED, PROVIDED = _connection("provider"), _connection("consumer")
NODE = record(
    "A service that takes part in calls.",
    {
        "id": SERVICE_ID,
        "name": maybe_text("Its name; null if it is not registered.", "Hello"),
        "status": maybe_text(
            "Its status; null if it is not registered.",
            "healthy",
            enum=[*STATUSES, None],
        ),
        "registered": field("boolean", "Whether it is registered.", True),
    },
)
EDGE = record(
    "Calls from one service to another.",
    {
        "from": text("Who calls.", "web-shop"),
        "to": text("Who is called.", "hello-service"),
        "capability": _CAPABILITY,
        "weight": whole("How many calls were reported.", 120, minimum=1),
        "avg_latency_ms": _LATENCY,
        "success_rate": _SUCCESS_RATE,
    },
)
CHECKS = record(
    "What the checks do.",
    {
        "watched": whole("So many services are looked after.", 2),
        "succeeded": whole("So many checks found all well, since the start.", 120),
        "failed": whole("So many did not.", 3),
    },
)
TARGET = record(
    "A service to scrape.",
    {
        "targets": listed(
            text("Its address.", "127.0.0.1:9001"),
            "Always one address.",
            ["127.0.0.1:9001"],
            minItems=1,
            maxItems=1,
        ),
        "labels": field(
            "object",
            "Its labels: `__meta_modularity_` and a name for what it registered with.",
            {"__meta_modularity_id": "hello-service", "__scheme__": "http"},
            additionalProperties={"type": "string"},
        ),
    },
)
_KINDS = [
    "connected",
    "service.registered",
    "service.updated",
    "service.unregistered",
    "service.status_changed",
    "capability.invoked",
    "resync",
]
_KIND = text(
    "What it is. `connected` is the first of a stream; after `resync` read the list"
    " again, something may be missing.",
    "service.registered",
    enum=_KINDS,
)
CHANGE = record(
    "An event's data.",
    {
        "event": _KIND,
        "timestamp": moment("When it was told.", "2026-10-17T03:04:31.123456Z"),
        "revision": field(
            ("integer", "null"), "The change's revision; null for calls.", 7
        ),
        "data": field(
            "object",
            "The service, with `old_status`, `new_status` and `reason` if its status"
            " changed; or the call; or what the stream says of itself.",
            {"id": "hello-service"},
        ),
    },
)
STREAMED_EVENT = record(
    "An event as Server-Sent Events have it: each field is a line.",
    {
        "id": text(
            "Send it as `Last-Event-ID` to go on from here; calls have none.",
            "3f9c0d-7",
        ),
        "event": _KIND,
        "data": text(
            "A line of JSON.",
            json.dumps(example_of(CHANGE)),
            contentMediaType="application/json",
            contentSchema=ref("Change"),
        ),
        "retry": whole("Milliseconds after which to come back; said once.", 1000),
    },
    ("id", "retry"),
)

SCHEMAS: dict[str, Json] = {
    "Replica": REPLICA,
    "Consumed": CONSUMED,
    "Provided": PROVIDED,
    "Node": NODE,
    "Edge": EDGE,
    "Checks": CHECKS,
    "Connections": record(
        "Whom a service calls and who calls it, as far as this replica was told.",
        {
            "service_id": SERVICE_ID,
            "service_name": maybe_text(
                "Its name; null if it is not registered.", "Hello"
            ),
            "consuming": listed(ref("Consumed"), "Whom it calls.", []),
            "providing": listed(
                ref("Provided"), "Who calls it.", [example_of(PROVIDED)]
            ),
        },
    ),
    "Graph": record(
        "Who calls whom, as far as this replica was told.",
        {
            "nodes": listed(
                ref("Node"), "Who takes part, or could.", [example_of(NODE)]
            ),
            "edges": listed(ref("Edge"), "Who calls whom.", [example_of(EDGE)]),
        },
    ),
    "Recorded": record(
        "The call was noted.",
        {"message": text("The same for people.", "Invocation recorded")},
    ),
    "Stats": record(
        "The registry in numbers.",
        {
            "total_services": whole("All services.", 2),
            "active_services": whole("The healthy ones.", 1),
            "inactive_services": whole("The others.", 1),
            "total_capabilities": whole("Capabilities that have a provider.", 3),
            "services_by_runtime": _counts(
                "Services by `metadata.runtime`, else `unknown`.", {"python": 2}, []
            ),
            "services_by_status": _counts(
                "Services by status.",
                {"healthy": 1, "unhealthy": 1, "draining": 0},
                list(STATUSES),
            ),
            "services_by_mode": _counts("By mode.", {"http": 2}, list(MODES)),
            "checks": a("Checks", "What the checks do.", example_of(CHECKS)),
            "watchers": whole("Streams and waits that are open.", 0),
            "replica": _REPLICA,
            "replicas": _REPLICAS,
            "uptime_seconds": field("number", "Seconds since the start.", 3600.5),
            "revision": REVISION,
        },
    ),
    "Health": record(
        "The process lives.",
        {
            "status": text(
                "`degraded` comes with reasons.",
                "healthy",
                enum=["healthy", "degraded"],
            ),
            "service": text(
                "Who answers.", "modularity-registry", const="modularity-registry"
            ),
            "timestamp": moment("Its clock.", "2026-10-17T03:04:31.123456Z"),
            "version": text("Its version.", "0.1.0"),
            "store": text("The kind of its store.", "memory"),
            "revision": REVISION,
            "replica": _REPLICA,
            "replicas": _REPLICAS,
            "stale_seconds": whole("How old its view is, while that is stale.", 0),
            "reasons": listed(
                text("One reason.", "the store does not answer"),
                "Why it is degraded.",
                ["the store does not answer"],
            ),
            "warnings": listed(
                text("One warning.", _WARNING),
                "What is dangerous about the address that it listens on.",
                [_WARNING],
            ),
        },
        ("replica", "replicas", "stale_seconds", "reasons", "warnings"),
    ),
    "Change": CHANGE,
    "StreamedEvent": STREAMED_EVENT,
    "Target": TARGET,
    "Targets": {
        "type": "array",
        "description": "Services to scrape, as Prometheus reads them.",
        "items": ref("Target"),
        "examples": [[example_of(TARGET)]],
    },
    "Ready": record(
        "It may take traffic.",
        {
            "status": text("It may.", "ready", const="ready"),
            "revision": REVISION,
        },
    ),
}
"""The schemas of replies about calls and about the registry itself, by name."""
