"""The schemas of request bodies, with the limits of `schema`."""

from modularity_registry import schema
from modularity_registry.api.openapi.builders import (
    Json,
    a,
    field,
    listed,
    record,
    text,
)
from modularity_registry.model.service import MODES

ID_RULES: Json = {
    "pattern": schema.ID_PATTERN,
    "minLength": 1,
    "maxLength": 128,
}
CAPABILITY: Json = {
    "type": "string",
    "description": "The name of a capability.",
    "pattern": schema.CAPABILITY_PATTERN,
    "minLength": 1,
    "maxLength": 128,
    "examples": ["greet"],
}
TEXT_RULES: Json = {"pattern": schema.TEXT_PATTERN, "maxLength": schema.MAX_NOTE}
# Locations and health paths as `location` reads them: paths are percent-encoded and
# have no . or .. parts. Which names and addresses there are, a pattern can't say.
_PCHAR = r"[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2}"
_NO_DOTS = r"(?![^?]*/(\.|%2[eE]){1,2}(/|\?|$))"
_HEALTH_PATH = rf"^{_NO_DOTS}/({_PCHAR}|/)*(\?({_PCHAR}|[/?])*)?$"
_HTTP = rf"^https?://[^/?#@\s]+{_NO_DOTS}(/({_PCHAR}|/)*)?$"
_UNCHECKED: list[str] = [mode for mode in MODES if mode not in ("http", "tcp", "grpc")]

# What takes part in a registration, and is shown again in every reply.
REGISTRATION: dict[str, Json] = {
    "id": text(
        "The service's id: letters, digits and . _ : - after a letter or digit.",
        "hello-service",
        **ID_RULES,
    ),
    "name": text(
        "What people call it; no control characters.",
        "Hello",
        pattern=schema.TEXT_PATTERN,
        minLength=1,
        maxLength=256,
    ),
    "version": text(
        "Its version; one as in PEP 440 can be filtered by range.",
        "1.2.0",
        pattern=schema.TEXT_PATTERN,
        minLength=1,
        maxLength=128,
        default="1.0.0",
    ),
    "capabilities": listed(
        CAPABILITY,
        "What it can do. A name that stands here twice counts once.",
        ["greet"],
        maxItems=schema.MAX_CAPABILITIES,
    ),
    "location": text(
        "Where it is. Its form depends on `mode`: `http://` or `https://`,"
        " `tcp://host:port`, `grpc://host:port`, and any text for modes that are not"
        " checked.",
        "http://127.0.0.1:9001",
        pattern=schema.TEXT_PATTERN,
        minLength=1,
        maxLength=2048,
    ),
    "mode": text(
        "How it is reached, and so how it is checked.", "http", enum=list(MODES)
    ),
    "metadata": field(
        "object",
        "Anything more about it: at most 16 KiB as JSON.",
        {"runtime": "python", "region": "eu"},
        default={},
    ),
    "weight": field(
        "integer",
        "Its share of calls by `strategy=weighted`.",
        1,
        minimum=0,
        maximum=65_535,
        default=1,
    ),
    "ttl": field(
        ("number", "null"),
        "Seconds: a lease, which each heartbeat renews.",
        30,
        minimum=1,
        maximum=7 * 86_400,
        default=None,
    ),
}

OWNER_KEY = field(
    ("string", "null"),
    "A secret that makes the id its holder's: who shows it may change the service, and"
    " nobody else but an admin. It is kept as a hash and never shown.",
    "a-long-and-secret-text",
    pattern=schema.KEY_PATTERN,
    minLength=16,
    maxLength=256,
    default=None,
)

HEALTH: Json = {
    **record(
        "How the service wants to be checked; what is left out or null is as the"
        " registry is set.",
        {
            "path": field(
                ("string", "null"),
                "Where to ask, after the location; for mode `http` only.",
                "/healthz",
                pattern=_HEALTH_PATH,
                maxLength=512,
            ),
            "interval": field(
                ("number", "null"),
                "Seconds between two checks.",
                10,
                minimum=1,
                maximum=86_400,
            ),
            "timeout": field(
                ("number", "null"),
                "Seconds after which a check has failed.",
                2,
                minimum=0.1,
                maximum=300,
            ),
        },
        ("path", "interval", "timeout"),
        additionalProperties=False,
    ),
    "type": ["object", "null"],
    "default": None,
}


def _when(modes: list[str], **rules: Json) -> Json:
    return {
        "if": {"properties": {"mode": {"enum": modes}}, "required": ["mode"]},
        "then": {"properties": rules},
    }


_PATHLESS: Json = {"properties": {"path": {"type": "null"}}}
_BY_MODE = [
    _when(["http"], location={"pattern": _HTTP}),
    _when(
        ["tcp"],
        location={"pattern": "^tcp://[^/?#]+:[1-9][0-9]{0,4}$"},
        health=_PATHLESS,
    ),
    _when(
        ["grpc"],
        location={"pattern": "^grpc://[^/?#]+:[1-9][0-9]{0,4}$"},
        health=_PATHLESS,
    ),
    _when(_UNCHECKED, health={"type": "null"}),
]


def _registration(description: str, *optional: str) -> Json:
    health = a("HealthCheck", "How it wants to be checked.", {"interval": 10})
    fields = {**REGISTRATION, "health": health, "owner_key": OWNER_KEY}
    optional = (
        *optional, "version", "metadata", "weight", "ttl", "health", "owner_key"
    )  # fmt: skip
    return record(
        description, fields, optional, additionalProperties=False, allOf=_BY_MODE
    )


SCHEMAS: dict[str, Json] = {
    "HealthCheck": HEALTH,
    "Registration": _registration("A service, as it registers."),
    "RegistrationHere": _registration(
        "A service, as it registers at its own address. `id` may be left out; if it"
        " is there, it is the one in the address.",
        "id",
    ),
    "DrainOrder": record(
        "Why a service is taken out of discovery.",
        {"reason": text("For people.", "upgrade", default="", **TEXT_RULES)},
        ("reason",),
        additionalProperties=False,
    ),
    "Heartbeat": record(
        "What a service says of itself. No body at all means that it is well.",
        {
            "status": text(
                "`active` is another word for healthy, `inactive` for unhealthy.",
                "unhealthy",
                enum=["healthy", "unhealthy", "active", "inactive"],
                default="healthy",
            ),
            "note": text("Why, for people.", "disk full", default="", **TEXT_RULES),
        },
        ("status", "note"),
        additionalProperties=False,
    ),
    "DiscoveryRequest": record(
        "What a caller needs and would like.",
        {
            "capabilities": listed(
                CAPABILITY,
                "All of these are needed.",
                ["greet"],
                minItems=1,
                maxItems=schema.MAX_CAPABILITIES,
            ),
            "optional": listed(
                CAPABILITY,
                "These would be good to have; one that is needed as well is needed.",
                ["translate"],
                maxItems=schema.MAX_CAPABILITIES,
                default=[],
            ),
        },
        ("optional",),
        additionalProperties=False,
    ),
    "Invocation": record(
        "One call of a service to another, as its caller saw it.",
        {
            "consumer_id": text(
                "Who called; it need not be registered.", "web-shop", **ID_RULES
            ),
            "provider_id": text(
                "Who was called; it has to be registered.", "hello-service", **ID_RULES
            ),
            "capability": {**CAPABILITY, "description": "What it was called for."},
            "success": field("boolean", "Whether it went well.", True, default=True),
            "latency_ms": field(
                ("number", "null"),
                "How long it took, in milliseconds; null if nobody looked.",
                12.5,
                minimum=0,
                maximum=86_400_000,
                default=None,
            ),
        },
        ("success", "latency_ms"),
        additionalProperties=False,
    ),
}
"""The schemas of all request bodies, by name."""
