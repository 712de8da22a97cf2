"""The parameters of calls: filters, pages, waits, conditions."""

from modularity_registry.api.openapi.builders import Json, ref
from modularity_registry.api.openapi.schemas.requests import REGISTRATION
from modularity_registry.api.query import MAX_KEY, MAX_LIMIT, MAX_RANGE, MAX_WAIT
from modularity_registry.catalog.selection import STRATEGIES
from modularity_registry.events import KINDS
from modularity_registry.model.rights import NAME_PATTERN
from modularity_registry.model.service import MODES, STATUSES
from modularity_registry.schema.patterns import (
    CAPABILITY_PATTERN,
    CHECK_NAME_PATTERN,
    ID_PATTERN,
    LONGEST_CAPABILITY,
    PLACE_PATTERN,
)

# A version as it is, or a range as in PEP 440.
_CLAUSE = r"(~=\s*[0-9]+\.[0-9]+|[<>]=?\s*[0-9]+|[!=]=\s*[0-9]+)(\.[0-9]+)*"
_VERSION = rf"^(?!\s*[<>=!~])|^\s*{_CLAUSE}\s*(,\s*{_CLAUSE}\s*)*$"


# An example in the schema is only displayed. Swagger UI would fill in one beside the
# schema, and send every optional parameter.


def _query(name: str, description: str, schema: Json, example: object) -> Json:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {**schema, "examples": [example]},
    }


def _several(items: Json) -> Json:
    return {"type": "array", "items": items}


def _path(name: str, description: str, schema: Json, example: str) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


def _header(name: str, description: str, example: str) -> Json:
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string", "examples": [example]},
    }


_ID_RULES = ("type", "pattern", "minLength", "maxLength")
_TEXT: Json = {"type": "string"}
_METADATA: Json = {
    **_query(
        "metadata",
        "Only services whose metadata has these values, as `metadata.region=eu`. Write"
        " text as it is and other values as JSON.",
        {
            "type": "object",
            "patternProperties": {r"^metadata\.[\s\S]+$": {}},
            "additionalProperties": False,
        },
        {"metadata.region": "eu"},
    ),
    # Each of the object's fields is a parameter of its own.
    "style": "form",
    "explode": True,
    "example": {},
}

PARAMETERS: dict[str, Json] = {
    "ServiceId": _path(
        "service_id",
        "The service's id.",
        {key: REGISTRATION["id"][key] for key in _ID_RULES},
        "hello-service",
    ),
    "CheckName": _path(
        "name",
        "The check's name.",
        {"type": "string", "pattern": CHECK_NAME_PATTERN},
        "jobs",
    ),
    "CapabilityName": _path(
        "name",
        "The capability's name. You can write a slash in it as `/` or `%2F`.",
        {"type": "string", "pattern": "^[^/]"},
        "greet",
    ),
    "SplitCapability": _path(
        "name",
        "The capability's name. Nobody has to offer it yet.",
        {
            "type": "string",
            "pattern": CAPABILITY_PATTERN,
            "minLength": 1,
            "maxLength": LONGEST_CAPABILITY,
        },
        "greet",
    ),
    "TokenName": _path(
        "name",
        "The token's name.",
        {"type": "string", "pattern": NAME_PATTERN},
        "weather-team",
    ),
    "OwnerKey": _header(
        "X-Owner-Key",
        "The `owner_key` that the service was registered with, if any.",
        "a-long-and-secret-text",
    ),
    "AssetName": _path("name", "The file's name.", _TEXT, "main.js"),
    "Status": _query(
        "status",
        "Only services with one of these statuses. `active` means healthy or"
        " warning, `inactive` any other.",
        _several({"type": "string", "enum": [*STATUSES, "active", "inactive"]}),
        ["healthy"],
    ),
    "Capability": _query(
        "capability",
        "Only services that provide all of these capabilities.",
        _several(_TEXT),
        ["greet"],
    ),
    "Mode": _query(
        "mode",
        "Only services with one of these modes.",
        _several({"type": "string", "enum": list(MODES)}),
        ["http"],
    ),
    "Name": _query("name", "Only services with exactly this name.", _TEXT, "Hello"),
    "Version": _query(
        "version",
        "Only services with this version, or in this range of versions.",
        {"type": "string", "pattern": _VERSION, "maxLength": MAX_RANGE},
        ">=1.2,<2",
    ),
    "Zone": _query("zone", "Only services in this zone.", _TEXT, "eu-1a"),
    "Region": _query("region", "Only services in this region.", _TEXT, "eu-1"),
    "Verified": _query(
        "verified",
        "Only services of which a check of kind `module` has succeeded, and not failed"
        " since; with `false`, only the others.",
        {"type": "boolean"},
        True,
    ),
    "Near": _query(
        "near",
        "The caller's zone, or its region and zone. Providers in the same zone come"
        " first, then those in the same region, then all others.",
        {"type": "string", "pattern": PLACE_PATTERN},
        "eu-1/eu-1a",
    ),
    "CallerZone": {
        **_header("X-Zone", "As `near`, which wins over it; none if empty.", "eu-1a"),
        "schema": {
            "type": "string",
            "pattern": f"^$|{PLACE_PATTERN}",
            "examples": ["eu-1a"],
        },
    },
    "Metadata": _METADATA,
    "Limit": _query(
        "limit",
        "The maximum number of items to return.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
        100,
    ),
    "Cursor": _query(
        "cursor",
        "The `next` of the page before.",
        {"type": "string", "format": "cursor"},
        "aGVsbG8tc2VydmljZQ==",
    ),
    "Wait": _query(
        "wait",
        "Wait for a change of the list after `revision`, which is required, for at"
        f" most this many seconds. The maximum is {MAX_WAIT:g}; larger values count as"
        f" {MAX_WAIT:g}.",
        {"type": "number", "minimum": 0, "exclusiveMaximum": 10**9},
        30,
    ),
    "Revision": _query(
        "revision",
        "With `wait`: the `revision` of the last reply.",
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
        7,
    ),
    "Instance": _query(
        "instance",
        "Take out only this instance. The service is unregistered with the last one.",
        {"type": "string", "pattern": ID_PATTERN},
        "web-7f3a",
    ),
    "Strategy": _query(
        "strategy",
        "How to pick one of several providers.",
        {"type": "string", "enum": list(STRATEGIES), "default": "round_robin"},
        "round_robin",
    ),
    "Key": _query(
        "key",
        "Required with `strategy=hash`: the same key gets the same provider while that"
        " provider is healthy.",
        {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
        "user-42",
    ),
    "PreferHealthy": _query(
        "prefer_healthy",
        "Whether providers with a warning come only after all healthy ones.",
        {"type": "boolean", "default": True},
        False,
    ),
    "WatchedCapability": _query(
        "capability",
        "Events of services that provide one of these capabilities.",
        _several(_TEXT),
        ["greet"],
    ),
    "WatchedService": _query(
        "service",
        "Events of these services.",
        _several(_TEXT),
        ["hello-service"],
    ),
    "EventType": _query(
        "type",
        "Only events of these types. You can also separate them with commas.",
        _several({"type": "string", "enum": list(KINDS)}),
        ["service.registered"],
    ),
    "IfMatch": _header(
        "If-Match",
        "Write only over what is at this revision; `*`: only if there is something.",
        '"7"',
    ),
    "IfNoneMatch": _header(
        "If-None-Match",
        "The `ETag` of an earlier reply. You get 304 if nothing has changed since.",
        'W/"7"',
    ),
    "IfNew": _header("If-None-Match", "`*`: write only if there is nothing yet.", "*"),
    "LocalOnly": _header(
        "X-Registry-Local-Only",
        "With any value, no upstream is asked.",
        "1",
    ),
    "LastEventId": _header(
        "Last-Event-ID",
        "The `id` of the last event you received. The stream resumes after it.",
        "3f9c0d-7",
    ),
}
"""The parameters, by name."""

FILTERS = (
    *("Status", "Capability", "Mode", "Name", "Version", "Zone", "Region"),
    "Verified",
    "Metadata",
)
PAGES = ("Limit", "Cursor")
WAITS = ("Wait", "Revision")
LISTS = (*FILTERS, *PAGES, *WAITS)


def parameters(*names: str) -> list[Json]:
    """Return references to parameters."""
    return [ref(name, "parameters") for name in names]
