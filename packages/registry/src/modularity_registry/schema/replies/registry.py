"""Replies about calls between services and about the registry itself."""

from typing import Annotated, Any

from msgspec import UNSET, Struct, UnsetType
from msgspec import field as renamed

from modularity_registry.model.service import MODES, STATUSES
from modularity_registry.schema.replies.field import LATER, count, doc, time
from modularity_registry.schema.replies.services import Revision, ServiceId

_WARNING = (
    "anyone who can reach 0.0.0.0:5000 may register, change and remove everything; add"
    " --auth, or listen on 127.0.0.1 alone"
)
_NO_NAME = "The service's name; null if it is not registered."
Calls = Annotated[int, count("How many calls were reported.", 120, minimum=1)]
Called = Annotated[str, doc("The capability that was called.", "greet")]
SuccessRate = Annotated[
    float, doc("The share of calls that succeeded.", 0.98, minimum=0, maximum=1)
]
Latency = Annotated[
    float | None,
    doc("The mean latency in milliseconds; null if no call reported one.", 12.5),
]
ReplicaId = Annotated[str, doc("The replica that answered.", "host-b52c59")]
Number = Annotated[int, doc("A number of services.", 1, minimum=0)]


class Replica(Struct, frozen=True, gc=False):
    """A replica, as seen by the one that answers."""

    id: Annotated[str, doc("The replica's id.", "host-b52c59")]
    state: Annotated[
        str,
        doc(
            "Whether the replica still announces itself.",
            "alive",
            enum=["alive", "lost"],
        ),
    ]
    seen: Annotated[float, doc("Seconds since its last announcement.", 0.8)]
    host: Annotated[str, doc("The machine it runs on.", "host")]
    version: Annotated[str, doc("Its version.", "0.1.0")]
    started_at: Annotated[str, time("When it started.")]
    self: Annotated[bool, doc("Whether it is the replica that answered.", True)]
    address: Annotated[
        str | UnsetType,
        doc("Where it serves. Missing for versions before 0.2.", "10.0.0.5:5000"),
    ] = UNSET


class Namespace(Struct, frozen=True):
    """A namespace that the caller may read."""

    name: Annotated[str, doc("Its name, as in paths.", "team-a")]
    services: Annotated[int, doc("How many services it has.", 12, minimum=0)]
    capabilities: Annotated[int, doc("How many capabilities.", 7, minimum=0)]


class Namespaces(Struct, frozen=True):
    """The namespaces that the caller may read, the default one first."""

    namespaces: Annotated[
        list[Namespace], doc("The namespaces, in the order of the settings.")
    ]
    count: Annotated[int, doc("How many they are.", 1, minimum=0)]


class Upstream(Struct, frozen=True):
    """Another registry that is asked when nobody healthy is here."""

    name: Annotated[str, doc("Its name in the settings.", "west")]
    url: Annotated[str, doc("Where it is.", "http://127.0.0.1:5001")]
    state: Annotated[
        str,
        doc(
            "Whether it can be asked now.",
            "connected",
            enum=["connected", "unreachable"],
        ),
    ]
    since: Annotated[str, time("Since when.")]
    kept_lists: Annotated[
        int, count("Capabilities whose providers there are in memory.", 3)
    ]
    reason: Annotated[
        str | None, doc("Why it can't be asked; null if it can.", "connection refused")
    ]


Upstreams = Annotated[
    list[Upstream],
    doc("The upstreams, in the order in which they are asked. Missing without any."),
]


Replicas = Annotated[
    list[Replica],
    doc("All replicas; empty if the store belongs to a single process."),
]


FirstCall = Annotated[str, time("The time of the first call.")]
LastCall = Annotated[str, time("The time of the last call.", LATER)]


class Consumed(Struct):
    """The calls to one provider."""

    provider_id: ServiceId
    provider_name: Annotated[str | None, doc(_NO_NAME, "Hello")]
    capability: Called
    request_count: Calls
    success_rate: SuccessRate
    avg_latency_ms: Latency
    first_seen: FirstCall
    last_seen: LastCall


class Provided(Struct):
    """The calls from one consumer."""

    consumer_id: Annotated[str, doc("The caller's id.", "web-shop")]
    consumer_name: Annotated[
        str | None, doc("The caller's name; null if it is not registered.", "Hello")
    ]
    capability: Called
    request_count: Calls
    success_rate: SuccessRate
    avg_latency_ms: Latency
    first_seen: FirstCall
    last_seen: LastCall


class Node(Struct):
    """A service in the graph."""

    id: ServiceId
    name: Annotated[str | None, doc(_NO_NAME, "Hello")]
    status: Annotated[
        str | None,
        doc(
            "The service's status; null if it is not registered.",
            "healthy",
            enum=[*STATUSES, None],
        ),
    ]
    registered: Annotated[bool, doc("Whether the service is registered.", True)]


class Edge(Struct):
    """The calls from one service to another."""

    caller: Annotated[str, doc("The id of the caller.", "web-shop")] = renamed(
        name="from"
    )
    to: Annotated[str, doc("The id of the service called.", "hello-service")]
    capability: Called
    weight: Calls
    avg_latency_ms: Latency
    success_rate: SuccessRate
    calls_per_second: Annotated[
        float,
        doc("Calls per second, averaged over about the last minute.", 2.0, minimum=0),
    ]


class Checks(Struct):
    """The health checks."""

    watched: Annotated[int, count("How many services this replica checks.", 2)]
    succeeded: Annotated[
        int, count("How many checks have succeeded since the start.", 120)
    ]
    failed: Annotated[int, count("How many checks have failed since the start.", 3)]


class Quota(Struct):
    """How much of something is held, and may be."""

    held: Annotated[int, count("How much there is.", 2)]
    limit: Annotated[int | None, count("How much there may be; null: any.", 1_000_000)]


class Owner(Struct):
    """What one token owns."""

    name: Annotated[str, doc("The token's name.", "weather-team")]
    services: Annotated[int, count("Its services.", 2)]
    bytes: Annotated[int, count("Bytes of their registrations.", 612)]


class Quotas(Struct):
    """How much may be registered."""

    services: Annotated[Quota, doc("All services.")]
    bytes: Annotated[Quota, doc("Bytes of all registrations.")]
    services_per_token: Annotated[
        int | None, count("Services that one token may own; null: any.", 100)
    ]
    bytes_per_token: Annotated[
        int | None, count("Bytes that one token may own; null: any.", 1_048_576)
    ]
    owners: Annotated[
        list[Owner], doc("The tokens that own most services, at most 20.")
    ]


class Target(Struct):
    """A service for Prometheus to scrape."""

    targets: Annotated[
        list[Annotated[str, doc("The address.", "127.0.0.1:9001")]],
        doc(
            "The service's address. Always one.",
            ["127.0.0.1:9001"],
            minItems=1,
            maxItems=1,
        ),
    ]
    labels: Annotated[
        dict[str, str],
        doc(
            "The labels: `__meta_modularity_` and the name of a registration's field.",
            {"__meta_modularity_id": "hello-service", "__scheme__": "http"},
        ),
    ]


EventKind = Annotated[
    str,
    doc(
        "The kind of event. A stream starts with `connected`. After `resync`, read the"
        " list again: events may be missing.",
        "service.registered",
        enum=[
            "connected",
            "service.registered",
            "service.updated",
            "service.unregistered",
            "service.status_changed",
            "capability.split_changed",
            "capability.invoked",
            "resync",
        ],
    ),
]


class Change(Struct):
    """The data of an event."""

    event: EventKind
    timestamp: Annotated[str, time("When the event was sent.", LATER)]
    revision: Annotated[
        int | None, doc("The revision of the change; null for calls.", 7)
    ]
    data: Annotated[
        dict[str, Any],
        doc(
            "The service, with `old_status`, `new_status` and `reason` if its status"
            " changed; or the `capability` and its `split`, null when it has ended; or"
            " the call; or details of the stream.",
            {"id": "hello-service"},
        ),
    ]


class StreamedEvent(Struct):
    """A Server-Sent Event: each field is a line."""

    event: EventKind
    data: Annotated[
        str,
        doc(
            "The event's data as one line of JSON.",
            '{"event":"service.registered","timestamp":"2026-10-17T03:04:31.123456Z",'
            '"revision":7,"data":{"id":"hello-service"}}',
            contentMediaType="application/json",
            contentSchema={"$ref": "#/components/schemas/Change"},
        ),
    ]
    id: Annotated[
        str | UnsetType,
        doc(
            "Send this as `Last-Event-ID` to resume after this event. Missing for"
            " calls.",
            "3f9c0d-7",
        ),
    ] = UNSET
    retry: Annotated[
        int | UnsetType,
        count("Milliseconds to wait before reconnecting. Sent once.", 1000),
    ] = UNSET


class Connections(Struct):
    """The calls to and from a service that were reported to this replica."""

    service_id: ServiceId
    service_name: Annotated[str | None, doc(_NO_NAME, "Hello")]
    consuming: Annotated[list[Consumed], doc("The services it calls.", [])]
    providing: Annotated[list[Provided], doc("The services that call it.")]


class Graph(Struct):
    """The calls between services that were reported to this replica."""

    nodes: Annotated[
        list[Node], doc("The services that match, and the callers of these.")
    ]
    edges: Annotated[list[Edge], doc("The calls between them.")]


class Recorded(Struct):
    """The registry recorded the call."""

    message: Annotated[str, doc("The result, for people.", "Invocation tracked")]


class RecordedCalls(Struct):
    """The registry recorded the calls to registered providers."""

    status: Annotated[str, doc("Always `ok`.", "ok", const="ok")]
    message: Annotated[str, doc("The result, for people.", "2 invocations recorded")]
    recorded: Annotated[int, count("How many calls were recorded.", 2)]
    unknown: Annotated[
        list[str],
        doc(
            "The ids of providers that are not registered, each once, in the order of"
            " the request. Calls to them were not recorded.",
            ["old-service"],
        ),
    ]


class Stats(Struct):
    """Counts of what is registered and running."""

    total_services: Annotated[int, count("All services.", 2)]
    active_services: Annotated[int, count("The services that are healthy or warn.", 1)]
    inactive_services: Annotated[int, count("The other services.", 1)]
    total_capabilities: Annotated[int, count("The capabilities with a provider.", 3)]
    services_by_runtime: Annotated[
        dict[str, Number],
        doc("Services by `metadata.runtime`, or `unknown`.", {"python": 2}),
    ]
    services_by_status: Annotated[
        dict[str, Number],
        doc(
            "Services by status. `warning` is missing if no service has it.",
            {"healthy": 1, "unhealthy": 1, "draining": 0},
            propertyNames={"enum": list(STATUSES)},
        ),
    ]
    services_by_mode: Annotated[
        dict[str, Number],
        doc("Services by mode.", {"http": 2}, propertyNames={"enum": list(MODES)}),
    ]
    quotas: Annotated[Quotas, doc("What is registered of what may be.")]
    checks: Annotated[Checks, doc("The health checks.")]
    watchers: Annotated[int, count("Open event streams and waiting requests.", 0)]
    replica: ReplicaId
    replicas: Replicas
    uptime_seconds: Annotated[float, doc("Seconds since the start.", 3600.5)]
    revision: Revision
    upstreams: Upstreams | UnsetType = UNSET
    integrations: Annotated[
        dict[str, dict[str, Any]] | UnsetType,
        doc(
            "What there is to count of each integration that is switched on.",
            {"traefik": {"configurations_made": 7}},
        ),
    ] = UNSET


class Health(Struct):
    """The process is running."""

    status: Annotated[
        str,
        doc("`degraded` comes with reasons.", "healthy", enum=["healthy", "degraded"]),
    ]
    service: Annotated[
        str,
        doc(
            "The name of this program.",
            "modularity-registry",
            const="modularity-registry",
        ),
    ]
    timestamp: Annotated[str, time("The registry's current time.", LATER)]
    version: Annotated[str, doc("The registry's version.", "0.1.0")]
    store: Annotated[str, doc("The kind of store.", "memory")]
    revision: Revision
    replica: ReplicaId | UnsetType = UNSET
    replicas: Replicas | UnsetType = UNSET
    upstreams: Upstreams | UnsetType = UNSET
    stale_seconds: Annotated[
        int | UnsetType,
        count("Seconds since the view was current, if it is stale.", 0),
    ] = UNSET
    reasons: Annotated[
        list[str] | UnsetType,
        doc("Why the registry is degraded.", ["the store does not answer"]),
    ] = UNSET
    warnings: Annotated[
        list[str] | UnsetType,
        doc("The risks of the address that the registry listens on.", [_WARNING]),
    ] = UNSET


class Ready(Struct):
    """The registry can take traffic."""

    status: Annotated[str, doc("Always `ready`.", "ready", const="ready")]
    revision: Revision
