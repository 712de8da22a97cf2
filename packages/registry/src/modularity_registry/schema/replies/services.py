"""Replies about services and capabilities."""

from typing import Annotated

from msgspec import UNSET, Raw, Struct, UnsetType

from modularity_registry.model.checks import CHECK_KINDS
from modularity_registry.model.service import STATUSES
from modularity_registry.model.split import GROUP_PATTERN
from modularity_registry.schema.patterns import CAPABILITY_PATTERN
from modularity_registry.schema.replies.field import LATER, count, doc, time

_SINCE = "2026-10-17T03:02:00.000000Z"

ServiceId = Annotated[str, doc("The service's id.", "hello-service")]
ServiceStatus = Annotated[
    str, doc("The service's status.", "healthy", enum=list(STATUSES))
]
Revision = Annotated[int, count("The revision of the view that answered.", 7)]
Count = Annotated[int, count("The number of items in this reply.", 1)]
Next = Annotated[
    str | UnsetType,
    doc(
        "Send this as `cursor` to get the next page. Missing on the last page.",
        "aGVsbG8tc2VydmljZQ==",
    ),
]
Capability = Annotated[
    str,
    doc(
        "The name of a capability.",
        "greet",
        pattern=CAPABILITY_PATTERN,
        minLength=1,
        maxLength=128,
    ),
]


Weights = Annotated[
    dict[str, int],
    doc(
        "The weight of each group of providers.",
        {"v1": 90, "v2": 10},
        propertyNames={"pattern": GROUP_PATTERN},
    ),
]
ListedSplit = Annotated[
    dict[str, int] | UnsetType,
    doc(
        "The weight of each group of providers. Missing if the calls are not split.",
        {"v1": 90, "v2": 10},
    ),
]


class CheckPlan(Struct):
    """The check that the registry runs against a service."""

    interval: Annotated[float, doc("Seconds between two checks.", 5)]
    timeout: Annotated[float, doc("Seconds after which a check fails.", 5)]
    path: Annotated[
        str | UnsetType,
        doc("The path to request, with mode `http`.", "/_module/health"),
    ] = UNSET


class StoredService(Struct):
    """What a service's reply says of it between two writes.

    Fields that a registration has too are described there.
    """

    id: str
    name: str
    version: str
    capabilities: tuple[str, ...]
    location: str
    mode: str
    status: ServiceStatus
    metadata: Annotated[
        Raw,
        doc(
            "Anything else that the service registered with.",
            {"runtime": "python"},
            type="object",
            additionalProperties=True,
        ),
    ]
    registered_at: Annotated[str, time("When the service registered.")]
    weight: int
    ttl: float | None
    health: Annotated[
        CheckPlan | None,
        doc(
            "How the registry checks the service; null if it does not.",
            {"interval": 5, "timeout": 5, "path": "/_module/health"},
        ),
    ]
    revision: Annotated[int, count("The revision of the service's last write.", 7)]
    checks: Raw | UnsetType = UNSET
    owner: Annotated[
        str | UnsetType,
        doc(
            "Who can change the service: the name of a token, or `owner_key` for the"
            " holder of that key. Missing if every caller can.",
            "weather-team",
        ),
    ] = UNSET
    instances: Annotated[
        tuple[str, ...] | UnsetType,
        doc(
            "The processes that have registered the service with an `instance` and not"
            " left. Missing if there is none.",
            ["web-7f3a", "web-91c2"],
        ),
    ] = UNSET

    zone: Annotated[
        str | UnsetType,
        doc("The zone that the service runs in. Missing if it has none.", "eu-1a"),
    ] = UNSET
    region: Annotated[
        str | UnsetType,
        doc("The region that the zone is in. Missing if it has none.", "eu-1"),
    ] = UNSET
    priority: Annotated[
        int | UnsetType,
        doc("The service's priority. Missing if it is 0.", 10),
    ] = UNSET
    status_reason: Annotated[
        str | UnsetType,
        doc(
            "Why the service is not healthy. Missing if it is.",
            "connection refused; 3 checks in a row failed",
        ),
    ] = UNSET
    status_since: Annotated[
        str | UnsetType,
        time("When the status began. Missing if the service is healthy."),
    ] = UNSET


class Service(StoredService, kw_only=True):
    """A service."""

    last_seen: Annotated[
        str, time("The time of the last heartbeat or successful check.", LATER)
    ]
    failed_checks: Annotated[int, count("How many checks in a row have failed.", 0)]


class Fault(Struct):
    """A reason why a service is unhealthy, or warns."""

    reason: Annotated[
        str, doc("What is wrong.", "connection refused; 3 checks in a row failed")
    ]
    at: Annotated[str, time("When it began.", _SINCE)]
    source: Annotated[
        str,
        doc(
            "What found it: a check, an expired lease, or the service's own report.",
            "check",
            enum=["check", "lease", "report"],
        ),
    ]
    check: Annotated[
        str | UnsetType,
        doc("The name of the check that found it, if it has one.", "db"),
    ] = UNSET


class Opinion(Struct):
    """What another replica found when it made the same check."""

    replica: Annotated[str, doc("The replica that made the check.", "host-7d8e9f")]
    failing: Annotated[bool, doc("Whether the check failed from there too.", False)]
    message: Annotated[str, doc("The result, for people.", "HTTP 200")]


class SecondOpinion(Struct):
    """What other replicas say of a check that can't connect."""

    state: Annotated[
        str,
        doc(
            "What follows. `held` gives no verdict; `confirmed` is a failure from"
            " another replica too; `alone` says that no other replica answers.",
            "held",
            enum=["confirmed", "held", "alone"],
        ),
    ]
    message: Annotated[
        str,
        doc(
            "Which replicas reach the service and which don't, for people.",
            "unreachable from replica host-b52c59, reachable from host-7d8e9f",
        ),
    ]
    opinions: Annotated[
        list[Opinion], doc("What each of the replicas found that have answered.")
    ]


class NamedCheck(Struct):
    """What one of the service's `checks` has found.

    Only the replica that makes the check knows more of it than its fault.
    """

    name: Annotated[str, doc("The check's name.", "db")]
    kind: Annotated[
        str, doc("How the service is checked.", "http", enum=list(CHECK_KINDS))
    ]
    critical: Annotated[
        bool,
        doc("Whether the check can make the service unhealthy, not only warn.", True),
    ]
    status: Annotated[
        str,
        doc(
            "What the check says of the service. `warning` is a check that warns, or"
            " one that fails but is not critical; `unknown` one that this replica has"
            " not seen yet.",
            "healthy",
            enum=["healthy", "unhealthy", "warning", "unknown"],
        ),
    ]
    failed_checks: Annotated[int, count("How many in a row have failed.", 0)]
    checked_at: Annotated[str | None, time("The time of the last one.", LATER)]
    latency_ms: Annotated[
        float | None, doc("The duration of the last one in milliseconds.", 3.2)
    ]
    outcome: Annotated[
        str | None, doc("The result of the last one, for programs.", "ok")
    ]
    message: Annotated[
        str | None, doc("The result of the last one, for people.", "HTTP 200")
    ]
    next_check: Annotated[
        str | None, time("When the next one is due.", "2026-10-17T03:05:01.123456Z")
    ]
    second_opinion: Annotated[
        SecondOpinion | UnsetType, doc("Missing unless other replicas were asked.")
    ] = UNSET


class Drained(Struct):
    """An order to send a service no new calls."""

    reason: Annotated[str, doc("The reason; empty if none was given.", "upgrade")]
    at: Annotated[str, time("When the drain began.", _SINCE)]


class Facts(Struct):
    """What is known of a module, each with the last time that it was true.

    Times of checks are known to the replica that makes them.
    """

    registered: Annotated[str, time("When it registered.")]
    reachable: Annotated[
        str | None, time("When a check last had an answer from it.", LATER)
    ]
    verified: Annotated[
        str | None, time("When a check of kind `module` last succeeded.", LATER)
    ]


class Evidence(Struct):
    """Why the service has its status.

    Only the replica that checks the service knows the details of the last check.
    """

    checked_at: Annotated[str | None, time("The time of the last check.", LATER)]
    latency_ms: Annotated[
        float | None, doc("The duration of the last check in milliseconds.", 3.2)
    ]
    outcome: Annotated[
        str | None, doc("The result of the last check, for programs.", "ok")
    ]
    message: Annotated[
        str | None, doc("The result of the last check, for people.", "200")
    ]
    since: Annotated[str, time("When the status began.")]
    next_check: Annotated[
        str | None, time("When the next check is due.", "2026-10-17T03:05:01.123456Z")
    ]
    checked_by: Annotated[
        str | None, doc("The replica that checks the service.", "host-b52c59")
    ]
    faults: Annotated[
        list[Fault], doc("The reasons why the service is unhealthy, if any.", [])
    ]
    drain: Annotated[
        Drained | None, doc("The order to drain the service, if any.", None)
    ]
    second_opinion: Annotated[
        SecondOpinion | UnsetType,
        doc("Missing unless the check can't connect and other replicas were asked."),
    ] = UNSET
    warnings: Annotated[
        list[Fault] | UnsetType,
        doc("The reasons for a warning. Missing without any."),
    ] = UNSET
    checks: Annotated[
        list[NamedCheck] | UnsetType,
        doc("What each of the service's `checks` has found. Missing without any."),
    ] = UNSET
    facts: Annotated[
        Facts | UnsetType, doc("Missing without a check of kind `module`.")
    ] = UNSET


class ServiceWithEvidence(Service, kw_only=True):
    """A service, and why it has its status."""

    evidence: Annotated[Evidence, doc("Why the service has its status.")]


class CapabilitySummary(Struct):
    """A capability and the providers that lookups may return."""

    capability: Capability
    providers: Annotated[
        list[ServiceId], doc("The ids of the providers.", ["hello-service"])
    ]
    count: Annotated[int, count("The number of these providers.", 1, minimum=1)]


class Explanation(Struct):
    """Whether the registry returns a provider to callers, and if not, why."""

    service_id: ServiceId
    name: Annotated[str, doc("The service's name.", "Hello")]
    status: ServiceStatus
    returned: Annotated[bool, doc("Whether callers get this provider.", False)]
    reasons: Annotated[
        list[Annotated[str, doc("One reason.", "it is draining: upgrade")]],
        doc("Why callers don't get it; empty if they do.", ["it is draining: upgrade"]),
    ]
    second_opinion: Annotated[
        str | UnsetType,
        doc(
            "Which replicas reach the service and which don't. Missing unless the"
            " replica that answers checks it, can't connect, and has asked the others.",
            "unreachable from replica host-b52c59, reachable from host-7d8e9f",
        ),
    ] = UNSET
    group: Annotated[
        str | UnsetType | None,
        doc(
            "The provider's group in the split; null if it is in none. Missing if the"
            " calls are not split.",
            "v1",
        ),
    ] = UNSET


class Match(Struct):
    """A service that provides every required capability."""

    service: Annotated[Service, doc("The service.")]
    match_score: Annotated[
        int,
        count("How many of the required and optional capabilities it provides.", 1),
    ]
    provides_required: Annotated[
        list[Capability],
        doc("The required capabilities that the service provides.", ["greet"]),
    ]
    provides_optional: Annotated[
        list[Capability],
        doc("The optional capabilities that the service provides.", []),
    ]


class Services(Struct):
    """A page of services, sorted by id."""

    services: Annotated[list[Service], doc("The services.")]
    count: Count
    revision: Revision
    next: Next = UNSET


class Providers(Services):
    """A page of a capability's providers, sorted by id."""

    split: ListedSplit = UNSET


class Capabilities(Struct):
    """A page of capabilities, sorted by name: those that lookups find."""

    capabilities: Annotated[list[CapabilitySummary], doc("The capabilities.")]
    count: Count
    revision: Revision
    next: Next = UNSET


class Explanations(Struct):
    """A page of a capability's providers, sorted by id."""

    providers: Annotated[list[Explanation], doc("The providers.")]
    count: Count
    revision: Revision
    next: Next = UNSET
    split: ListedSplit = UNSET
    upstreams: Annotated[
        list[str] | UnsetType,
        doc(
            "What each upstream has. Missing for a registry without any.",
            ["the upstream west has 1 provider"],
        ),
    ] = UNSET


class CapabilitySplit(Struct):
    """A capability whose calls are split."""

    capability: Capability
    split: Weights
    revision: Annotated[int, count("The revision of the split's last write.", 7)]


class Splits(Struct):
    """A page of splits, sorted by capability."""

    splits: Annotated[list[CapabilitySplit], doc("The splits.")]
    count: Count
    revision: Revision
    next: Next = UNSET


class SplitWritten(Struct):
    """A completed write of a split. Every later read sees it."""

    status: Annotated[
        str, doc("What became of the split.", "split", enum=["split", "ended"])
    ]
    capability: Capability
    split: Weights
    revision: Annotated[
        int, count("The revision of the write, or of the one that did the same.", 7)
    ]
    message: Annotated[
        str, doc("The result, for people.", "The calls of 'greet' are split")
    ]


class Matches(Struct):
    """The services that match: healthy ones, best score first, then warning ones."""

    matches: Annotated[list[Match], doc("The services that match.")]
    count: Count
    revision: Revision


class Written(Struct):
    """A completed write. Every later read sees it."""

    status: Annotated[
        str,
        doc(
            "The service's status after the write.",
            "draining",
            enum=["registered", "unregistered", "left", *STATUSES],
        ),
    ]
    service_id: ServiceId
    revision: Annotated[int, count("The revision of the write.", 7)]
    message: Annotated[
        str,
        doc("The result, for people.", "Service 'hello-service' gets no new calls"),
    ]
    displaced: Annotated[
        str | UnsetType,
        doc(
            "The location of a healthy provider whose id this registration took.",
            "http://127.0.0.1:9002",
        ),
    ] = UNSET


class Acknowledgement(Struct):
    """The registry received the heartbeat, or the report of a check."""

    status: Annotated[str, doc("Always `ok`.", "ok", const="ok")]
    message: Annotated[str, doc("The result, for people.", "Heartbeat received")]
    ttl: Annotated[
        float | None, doc("Seconds of the lease, or of the check's `ttl`, if any.", 30)
    ]


class Verdict(Struct):
    """A status and the time when it began."""

    at: Annotated[str, time("When the status began.")]
    status: ServiceStatus
    reason: Annotated[str | None, doc("What was wrong, if anything.", None)]


class History(Struct):
    """The changes of a service's status in the last hour, oldest first."""

    service_id: ServiceId
    history: Annotated[
        list[Verdict],
        doc("The changes. The last one is the current status."),
    ]
    count: Count
