"""What the registry shows of services and capabilities: the schemas of its replies."""

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
from modularity_registry.api.openapi.schemas.requests import CAPABILITY, REGISTRATION
from modularity_registry.model.service import MODES, STATUSES

_DRAINED = "Service 'hello-service' gets no new calls"

SERVICE_ID = text("The service's id.", "hello-service")
REVISION = whole("The revision of the view that answered.", 7)
COUNT = whole("How many there are in this reply.", 1)
NEXT = text("There is more: ask again with this as `cursor`.", "aGVsbG8tc2VydmljZQ==")
STATUS = text("Its status.", "healthy", enum=list(STATUSES))
MODE = text("How it is reached.", "http", enum=list(MODES))

CHECK_PLAN = record(
    "The check that a service really gets.",
    {
        "interval": field("number", "Seconds between two checks.", 30),
        "timeout": field("number", "Seconds after which a check has failed.", 5),
        "path": text("Where to ask, with mode `http`.", "/_module/health"),
    },
    ("path",),
)
CHECK_PLAN["type"] = ["object", "null"]
CHECK_PLAN["description"] += " Null: it gets none."

_FIELDS: dict[str, Json] = {
    **{
        name: {key: value for key, value in schema.items() if key != "default"}
        for name, schema in REGISTRATION.items()
        if name not in ("health", "owner_key")
    },
    "metadata": field(
        "object", "What it said of itself beyond that.", {"runtime": "python"}
    ),
    "status": STATUS,
    "registered_at": moment("When it registered.", "2026-10-17T02:59:31.123456Z"),
    "last_seen": moment(
        "Its last heartbeat or good check.", "2026-10-17T03:04:31.123456Z"
    ),
    "failed_checks": whole("How many checks in a row have failed.", 0),
    "health": a("CheckPlan", "How it is checked.", example_of(CHECK_PLAN)),
    "owner": text(
        "Who alone may change it: a token's name, or `owner_key` for who has that."
        " Missing where everybody may.",
        "weather-team",
    ),
    "revision": whole("The revision of its last write.", 7),
}

FAULT = record(
    "A reason why a service is unhealthy.",
    {
        "reason": text("What is wrong.", "3 checks failed: connection refused"),
        "at": moment("Since when.", "2026-10-17T03:02:00.000000Z"),
        "source": text(
            "Who found it: a check, a lease that ran out, or its own report.",
            "check",
            enum=["check", "lease", "report"],
        ),
    },
)
DRAINED = record(
    "An order to send a service no more callers.",
    {
        "reason": text("Why; empty if nobody said.", "upgrade"),
        "at": moment("Since when.", "2026-10-17T03:02:00.000000Z"),
    },
)
EVIDENCE = record(
    "What the status rests on. What a check saw is known to the replica that made it.",
    {
        "checked_at": maybe_text(
            "When it was last checked.",
            "2026-10-17T03:04:31.123456Z",
            format="date-time",
        ),
        "latency_ms": field(
            ("number", "null"), "How long that took, in milliseconds.", 3.2
        ),
        "outcome": maybe_text("What came of it, as a word for programs.", "ok"),
        "message": maybe_text("What came of it, for people.", "200"),
        "since": moment("Since when the status holds.", "2026-10-17T02:59:31.123456Z"),
        "next_check": maybe_text(
            "When the next check is due.",
            "2026-10-17T03:05:01.123456Z",
            format="date-time",
        ),
        "checked_by": maybe_text("The replica that checks it.", "host-b52c59"),
        "faults": listed(ref("Fault"), "Why it is unhealthy, if it is.", []),
        "drain": {
            "anyOf": [ref("Drained"), {"type": "null"}],
            "description": "The order to drain it, if there is one.",
            "examples": [None],
        },
    },
)

SERVICE = record("A service, as every reply shows it.", _FIELDS, ("owner",))
SERVICE_WITH_EVIDENCE = record(
    "A service and what its status rests on.",
    {
        **_FIELDS,
        "evidence": a("Evidence", "What the status rests on.", example_of(EVIDENCE)),
    },
    ("owner",),
)
CAPABILITY_SUMMARY = record(
    "A capability and who provides it now.",
    {
        "capability": CAPABILITY,
        "providers": listed(
            SERVICE_ID, "The ids of its healthy providers.", ["hello-service"]
        ),
        "count": whole("How many these are.", 1, minimum=1),
    },
)
EXPLANATION = record(
    "Whether a provider may be picked.",
    {
        "service_id": SERVICE_ID,
        "name": text("Its name.", "Hello"),
        "status": STATUS,
        "returned": field("boolean", "Whether it may be picked.", False),
        "reasons": listed(
            text("One reason.", "it is draining: upgrade"),
            "Why it is not; empty if it may be picked.",
            ["it is draining: upgrade"],
        ),
    },
)
MATCH = record(
    "A service that provides all that was needed.",
    {
        "service": a("Service", "The service.", example_of(SERVICE)),
        "match_score": field(
            "number",
            "Its share of all that was asked for, needed and optional.",
            0.5,
            minimum=0,
            maximum=1,
        ),
        "provides_required": listed(
            CAPABILITY, "What it provides of what is needed.", ["greet"]
        ),
        "provides_optional": listed(
            CAPABILITY, "What it provides of what is optional.", []
        ),
    },
)


def _page(name: str, item: str, description: str, example: Json) -> Json:
    """Return the schema of a list in pages."""
    return record(
        description,
        {
            name: listed(ref(item), "The page, in order.", [example]),
            "count": COUNT,
            "revision": REVISION,
            "next": NEXT,
        },
        ("next",),
    )


SCHEMAS: dict[str, Json] = {
    "CheckPlan": CHECK_PLAN,
    "Fault": FAULT,
    "Drained": DRAINED,
    "Evidence": EVIDENCE,
    "Service": SERVICE,
    "ServiceWithEvidence": SERVICE_WITH_EVIDENCE,
    "CapabilitySummary": CAPABILITY_SUMMARY,
    "Explanation": EXPLANATION,
    "Match": MATCH,
    "Services": _page("services", "Service", "Services, by id.", example_of(SERVICE)),
    "Capabilities": _page(
        "capabilities",
        "CapabilitySummary",
        "Capabilities that have a healthy provider, by name.",
        example_of(CAPABILITY_SUMMARY),
    ),
    "Explanations": _page(
        "providers",
        "Explanation",
        "All providers of a capability, by id.",
        example_of(EXPLANATION),
    ),
    "Matches": record(
        "Services that fit, best score first, then by id.",
        {
            "matches": listed(ref("Match"), "Those that fit.", [example_of(MATCH)]),
            "count": COUNT,
            "revision": REVISION,
        },
    ),
    "Written": record(
        "A write that has happened: every read from now on sees it.",
        {
            "status": text(
                "What the service is now.",
                "draining",
                enum=["registered", "unregistered", *STATUSES],
            ),
            "service_id": SERVICE_ID,
            "revision": whole("The write's revision.", 7),
            "message": text("The same for people.", _DRAINED),
        },
    ),
    "Acknowledgement": record(
        "A heartbeat was taken.",
        {
            "status": text("It was taken.", "ok", const="ok"),
            "message": text("The same for people.", "Heartbeat received"),
            "ttl": field(
                ("number", "null"), "The service's lease in seconds, if any.", 30
            ),
        },
    ),
    "Verdict": record(
        "A status and when it began.",
        {
            "at": moment("When it began.", "2026-10-17T02:59:31.123456Z"),
            "status": STATUS,
            "reason": maybe_text("What was wrong, if anything was.", None),
        },
    ),
    "History": record(
        "How a service's status went in the last hour, oldest first.",
        {
            "service_id": SERVICE_ID,
            "history": listed(
                ref("Verdict"),
                "The changes; the last one is the present status.",
                [
                    {
                        "at": "2026-10-17T02:59:31.123456Z",
                        "status": "healthy",
                        "reason": None,
                    }
                ],
            ),
            "count": COUNT,
        },
    ),
}
"""The schemas of replies about services and capabilities, by name."""
