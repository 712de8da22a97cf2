"""The request bodies: every field with its limits, its description and an example.

`parse` validates with these models, and OpenAPI's schemas are generated from them.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    WithJsonSchema,
)

from modularity_registry.model.rights import (
    GLOB_PATTERN,
    MOST_WILDCARDS,
    NAME_PATTERN,
    Right,
)
from modularity_registry.model.service import Mode
from modularity_registry.model.split import (
    GROUP_PATTERN,
    MOST_GROUPS,
    MOST_WEIGHT,
    version_parts,
)
from modularity_registry.schema.body import (
    STRICT,
    Interval,
    Seconds,
    Timeout,
    doc,
    whole,
)
from modularity_registry.schema.check_models import MAX_CHECKS, Check, health_path
from modularity_registry.schema.patterns import (
    CAPABILITY_PATTERN,
    HEALTH_PATH_PATTERN,
    ID_PATTERN,
    KEY_PATTERN,
    LONGEST_CAPABILITY,
    TEXT_PATTERN,
    ZONE_PATTERN,
    is_blank,
)
from modularity_registry.schema.strict_json import encode

MAX_METADATA_BYTES = 16 * 1024
MAX_CAPABILITIES = 256
MAX_INVOCATIONS = 1000
MAX_NOTE = 1024
MAX_GLOBS = 64
MAX_LIFETIME = 10 * 366 * 86_400
MAX_GRACE = 30 * 86_400


# As JSON has it: an escape, which no other backslash precedes.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def _metadata(value: object) -> bytes:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    try:
        encoded = encode(value)
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    except (RecursionError, OverflowError):
        raise ValueError(
            "is nested too deeply or contains a number that is too large"
        ) from None
    if _NUL.search(encoded):
        raise ValueError(
            "must not contain the character NUL (\\u0000), which not every database"
            " can hold"
        )
    if len(encoded) > MAX_METADATA_BYTES:
        raise ValueError(
            f"must be at most {MAX_METADATA_BYTES} bytes as JSON, not {len(encoded)}"
        )
    return encoded


def _visible(value: str) -> str:
    if is_blank(value):
        raise ValueError("must have a character that can be seen")
    return value


# The lengths stand in the patterns too; the document says them for people.
_LENGTHS: dict[str, Any] = {"minLength": 1, "maxLength": 128}
Id = Annotated[
    str, StringConstraints(pattern=ID_PATTERN), Field(json_schema_extra=_LENGTHS)
]
Capability = Annotated[
    str,
    StringConstraints(pattern=CAPABILITY_PATTERN, max_length=LONGEST_CAPABILITY),
    doc("The name of a capability.", "greet", **_LENGTHS),
]
Text = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, max_length=MAX_NOTE)]

Instance = Annotated[
    Id | None,
    doc(
        "One of several processes that register the same service: the service stays"
        " until the last of them has left.",
        "web-7f3a",
        **_LENGTHS,
    ),
]


_ZONE_LENGTHS: dict[str, Any] = {"minLength": 1, "maxLength": 63}
Zone = Annotated[str, StringConstraints(pattern=ZONE_PATTERN)]


class Body(BaseModel):
    model_config = STRICT


class HealthCheck(Body):
    """How the registry checks the service.

    A field that is null or left out takes the registry's default.
    """

    path: Annotated[
        Annotated[str, StringConstraints(max_length=512), AfterValidator(health_path)]
        | None,
        doc(
            "The path to request, after the location. For mode `http` only.",
            "/healthz",
            pattern=HEALTH_PATH_PATTERN,
        ),
    ] = None
    interval: Interval = None
    timeout: Timeout = None
    enabled: Annotated[
        bool,
        doc(
            "Whether the registry makes this check. Without it, the service is healthy"
            " unless one of its `checks`, its lease or its own report says otherwise.",
            True,
        ),
    ] = True


class RegistrationBody(Body):
    """A service to register."""

    id: Annotated[
        Id,
        doc(
            "The service's id: a letter or digit, then letters, digits and `. _ : -`.",
            "hello-service",
            **_LENGTHS,
        ),
    ]
    name: Annotated[
        str,
        StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=256),
        AfterValidator(_visible),
        doc("A name for people, without control characters.", "Hello"),
    ]
    version: Annotated[
        str,
        StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=128),
        AfterValidator(_visible),
        doc(
            "The service's version. You can filter PEP 440 versions by range.", "1.2.0"
        ),
    ] = "1.0.0"
    capabilities: Annotated[
        list[Capability],
        Field(max_length=MAX_CAPABILITIES),
        doc("What the service provides. A repeated name counts once.", ["greet"]),
    ]
    location: Annotated[
        str,
        StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=2048),
        AfterValidator(_visible),
        doc(
            "The service's address. Its form depends on `mode`: `http://` or `https://`"
            " for `http`, `tcp://host:port` for `tcp`, `grpc://host:port` for `grpc`."
            " For modes that are not checked, any text.",
            "http://127.0.0.1:9001",
        ),
    ]
    mode: Annotated[
        Mode, doc("How to reach the service, and how the registry checks it.", "http")
    ]
    metadata: Annotated[
        bytes,
        BeforeValidator(_metadata),
        WithJsonSchema({"type": "object", "additionalProperties": True}),
        doc(
            "Anything else about the service, at most 16 KiB as JSON.",
            {"runtime": "python", "region": "eu"},
            default={},
        ),
    ] = b"{}"
    weight: Annotated[
        int,
        Field(ge=0, le=65_535),
        BeforeValidator(whole),
        doc("The service's share of calls with `strategy=weighted`.", 1),
    ] = 1
    ttl: Annotated[
        Seconds | None,
        Field(ge=1, le=7 * 86_400),
        doc("The length of the lease in seconds. Each heartbeat renews it.", 30),
    ] = None
    health: Annotated[
        HealthCheck | None,
        doc("How the registry checks the service.", {"interval": 10}),
    ] = None
    checks: Annotated[
        list[Check],
        Field(max_length=MAX_CHECKS),
        doc(
            "More checks of the service, each with its own name.",
            [{"name": "db", "kind": "http", "path": "/ready/db"}],
        ),
    ] = []
    owner_key: Annotated[
        Annotated[
            str, StringConstraints(pattern=KEY_PATTERN, min_length=16, max_length=256)
        ]
        | None,
        doc(
            "A secret that protects the service: only a caller that sends it, or an"
            " admin, can change the service. The registry keeps a hash of it and never"
            " shows it.",
            "a-long-and-secret-text",
        ),
    ] = None
    instance: Instance = None
    zone: Annotated[
        Zone | None,
        doc(
            "The zone that the service runs in. Callers in it are given this service"
            " before those of other zones. Without a zone and a region, it gets those"
            " of the registry's settings.",
            "eu-1a",
            **_ZONE_LENGTHS,
        ),
    ] = None
    region: Annotated[
        Zone | None,
        doc("The region that the zone is in.", "eu-1", **_ZONE_LENGTHS),
    ] = None
    priority: Annotated[
        int,
        Field(ge=0, le=65_535),
        doc(
            "Callers get services of the lowest number first. Those of a higher one are"
            " backups: callers get them only while none of a lower number is healthy.",
            0,
        ),
    ] = 0


class DrainBody(Body):
    """Why a service is drained."""

    reason: Annotated[Text, doc("The reason, for people.", "upgrade")] = ""


class HeartbeatBody(Body):
    """How a service reports its health. Without a body, it is healthy."""

    status: Annotated[
        Literal["healthy", "warning", "unhealthy", "active", "inactive"],
        doc(
            "The service's health. `active` means healthy, `inactive` unhealthy.",
            "unhealthy",
        ),
    ] = "healthy"
    note: Annotated[Text, doc("The reason, for people.", "disk full")] = ""
    instance: Instance = None


class CheckReportBody(Body):
    """What a service reports of one of its checks. Without a body, it is healthy."""

    status: Annotated[
        Literal["healthy", "warning", "unhealthy"],
        doc("What the service says.", "unhealthy"),
    ] = "healthy"
    note: Annotated[Text, doc("The reason, for people.", "disk full")] = ""


class DiscoverBody(Body):
    """The capabilities that a caller needs."""

    capabilities: Annotated[
        list[Capability],
        Field(max_length=MAX_CAPABILITIES),
        doc("The service must provide all of these; without any, all fit.", ["greet"]),
    ] = []
    optional: Annotated[
        list[Capability],
        Field(max_length=MAX_CAPABILITIES),
        doc(
            "Services that provide these score higher. A capability in both lists is"
            " required.",
            ["translate"],
        ),
    ] = []


class InvocationBody(Body):
    """One call from a service to another, reported by its caller."""

    consumer_id: Annotated[
        Id, doc("The caller. It need not be registered.", "web-shop", **_LENGTHS)
    ]
    provider_id: Annotated[
        Id,
        doc("The service called. It must be registered.", "hello-service", **_LENGTHS),
    ]
    capability: Annotated[
        Capability, doc("The capability that was called.", "greet", **_LENGTHS)
    ]
    success: Annotated[bool, doc("Whether the call succeeded.", True)] = True
    latency_ms: Annotated[
        Seconds | None,
        Field(ge=0, le=86_400_000),
        doc("The duration in milliseconds; null if it was not measured.", 12.5),
    ] = None


class InvocationsBody(Body):
    """Several calls between services, reported at once."""

    invocations: Annotated[
        list[InvocationBody],
        Field(
            min_length=1,
            max_length=MAX_INVOCATIONS,
            description="The calls. None is recorded if one is malformed.",
        ),
    ]


def _usable(groups: dict[str, int]) -> dict[str, int]:
    if not any(groups.values()):
        raise ValueError("must give one group at least a weight above 0")
    names: dict[str, str] = {}
    for name in groups:
        other = names.setdefault(".".join(version_parts(name)), name)
        if other != name:
            raise ValueError(
                f"names the same version twice, as {other} and {name}; leave one out"
            )
    return groups


class SplitBody(
    RootModel[
        Annotated[
            dict[
                Annotated[str, StringConstraints(pattern=GROUP_PATTERN)],
                Annotated[int, Field(ge=0, le=MOST_WEIGHT), BeforeValidator(whole)],
            ],
            Field(min_length=1, max_length=MOST_GROUPS),
            AfterValidator(_usable),
        ]
    ]
):
    """The weight of each group of providers, at least one of them above 0.

    A group's name is a value of `metadata.tag`, or a version or its first parts.
    """

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "additionalProperties": False,
            "examples": [{"v1": 90, "v2": 10}],
        },
    )


TokenName = Annotated[
    str,
    StringConstraints(pattern=NAME_PATTERN),
    doc(
        "The token's permanent name. It owns what the token registers.", "weather-team"
    ),
]


def _few_wildcards(value: str) -> str:
    if value.count("*") > MOST_WILDCARDS:
        raise ValueError(f"must have at most {MOST_WILDCARDS} times *")
    return value


Glob = Annotated[
    str,
    StringConstraints(pattern=GLOB_PATTERN),
    AfterValidator(_few_wildcards),
    doc("A pattern in which `*` stands for any characters.", "weather-*"),
]
Globs = Annotated[list[Glob], Field(min_length=1, max_length=MAX_GLOBS)]
RightWord = Annotated[
    Literal["read", "register", "track", "admin"],
    doc("A right. `admin` includes all others.", "register"),
]


class TokenBody(Body):
    """A token to create."""

    name: TokenName
    rights: Annotated[
        list[RightWord],
        Field(min_length=1, max_length=len(Right)),
        doc("What the token's holder may do.", ["read", "register"]),
    ]
    ids: Annotated[
        Globs, doc("The service ids that the token may register.", ["weather-*"])
    ] = ["*"]
    capabilities: Annotated[
        Globs, doc("The capabilities that the token may register.", ["weather.*"])
    ] = ["*"]
    expires_in: Annotated[
        Seconds | None,
        Field(ge=1, le=MAX_LIFETIME),
        doc("Seconds until the token expires; null for never.", 7_776_000),
    ] = None


class RotationBody(Body):
    """How to rotate a token."""

    grace: Annotated[
        Seconds,
        Field(ge=0, le=MAX_GRACE),
        doc("Seconds for which the previous secret stays valid.", 3600),
    ] = 0.0
