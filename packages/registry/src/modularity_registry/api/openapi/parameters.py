"""The parameters of calls: filters, pages, waits, conditions."""

from modularity_registry.api.openapi.builders import Json, ref
from modularity_registry.api.openapi.schemas.requests import REGISTRATION
from modularity_registry.api.query import MAX_KEY, MAX_LIMIT, MAX_RANGE, MAX_WAIT
from modularity_registry.catalog.selection import STRATEGIES
from modularity_registry.model.rights import NAME_PATTERN
from modularity_registry.model.service import MODES, STATUSES

# A version as it is, or a range as in PEP 440.
_CLAUSE = r"(~=\s*[0-9]+\.[0-9]+|[<>]=?\s*[0-9]+|[!=]=\s*[0-9]+)(\.[0-9]+)*"
_VERSION = rf"^(?!\s*[<>=!~])|^\s*{_CLAUSE}\s*(,\s*{_CLAUSE}\s*)*$"


# In the schema an example is only shown; beside it, the page for trying calls out
# would fill it in, and every optional parameter would be sent.


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
        "Keeps services whose metadata has these values, as `metadata.region=eu`: text"
        " bare, anything else as JSON.",
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
    "CapabilityName": _path(
        "name",
        "The capability's name; write a slash within it as `%2F` or as it is.",
        {"type": "string", "pattern": "^[^/]"},
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
        "The `owner_key` that the service was registered with, if it was with one.",
        "a-long-and-secret-text",
    ),
    "AssetName": _path("name", "The file's name.", _TEXT, "main.js"),
    "Status": _query(
        "status",
        "Keeps services with this status; `active` means healthy, `inactive` the"
        " others; several are alternatives.",
        _several({"type": "string", "enum": [*STATUSES, "active", "inactive"]}),
        ["healthy"],
    ),
    "Capability": _query(
        "capability",
        "Keeps services that provide it; of several, all.",
        _several(_TEXT),
        ["greet"],
    ),
    "Mode": _query(
        "mode",
        "Keeps services of this mode; several are alternatives.",
        _several({"type": "string", "enum": list(MODES)}),
        ["http"],
    ),
    "Name": _query("name", "Keeps services with exactly this name.", _TEXT, "Hello"),
    "Version": _query(
        "version",
        "Keeps services of exactly this version, or in a range.",
        {"type": "string", "pattern": _VERSION, "maxLength": MAX_RANGE},
        ">=1.2,<2",
    ),
    "Metadata": _METADATA,
    "Limit": _query(
        "limit",
        "At most so many.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
        100,
    ),
    "Cursor": _query(
        "cursor",
        "Go on where the page before ended: its `next`.",
        {"type": "string", "format": "cursor"},
        "aGVsbG8tc2VydmljZQ==",
    ),
    "Wait": _query(
        "wait",
        "Answer when something that is listed has changed after `revision`, which has"
        f" to be given, or after so many seconds; more than {MAX_WAIT:g} count as"
        f" {MAX_WAIT:g}.",
        {"type": "number", "minimum": 0, "maximum": 999_999_999},
        30,
    ),
    "Revision": _query(
        "revision",
        "With `wait`: the `revision` of the last reply.",
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
        7,
    ),
    "Strategy": _query(
        "strategy",
        "How to pick one of several.",
        {"type": "string", "enum": list(STRATEGIES), "default": "round_robin"},
        "round_robin",
    ),
    "Key": _query(
        "key",
        "With `strategy=hash`, where it is required: the same key gets the same"
        " provider while that one is healthy.",
        {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
        "user-42",
    ),
    "WatchedCapability": _query(
        "capability",
        "Tells of services that provide it; of several parameters, any.",
        _several(_TEXT),
        ["greet"],
    ),
    "WatchedService": _query(
        "service",
        "Tells of this service; of several parameters, any.",
        _several(_TEXT),
        ["hello-service"],
    ),
    "IfMatch": _header(
        "If-Match",
        "Only if the service is at this revision, or `*`: if it is registered.",
        '"7"',
    ),
    "IfNoneMatch": _header(
        "If-None-Match",
        "The `ETag` of a reply: 304 if nothing was written since.",
        'W/"7"',
    ),
    "IfNew": _header("If-None-Match", "`*`: only if the service is new.", "*"),
    "LastEventId": _header(
        "Last-Event-ID",
        "The `id` of the last event that was read: the stream goes on after it.",
        "3f9c0d-7",
    ),
}
"""The parameters, by name."""

FILTERS = ("Status", "Capability", "Mode", "Name", "Version", "Metadata")
PAGES = ("Limit", "Cursor")
WAITS = ("Wait", "Revision")
LISTS = (*FILTERS, *PAGES, *WAITS)


def parameters(*names: str) -> list[Json]:
    """Return references to parameters."""
    return [ref(name, "parameters") for name in names]
