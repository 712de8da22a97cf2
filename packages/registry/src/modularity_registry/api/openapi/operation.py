"""Builds the description of one call."""

from typing import Any, NamedTuple

from modularity_registry.api.openapi.builders import JSON, Json, content, header, ref
from modularity_registry.api.openapi.parameters import parameters
from modularity_registry.api.openapi.schemas import requests
from modularity_registry.api.openapi.schemas.replies import SCHEMAS

ORIGIN_REFUSED = "origin_refused"
"""The error of every call but `GET` from a web page of another site."""

WRITING = (ORIGIN_REFUSED, "store_unavailable", "outcome_unknown", "store_corrupt")
"""The errors of every call that writes."""

BODY = (
    ORIGIN_REFUSED,
    "body_incomplete",
    "body_too_large",
    "unsupported_media_type",
    "too_many_uploads",
)
"""The errors of every call with a body."""

WATCHING = ("too_many_watchers", "too_many_watchers_of_client")
"""The errors of every call that may wait."""

REGISTERING = (
    "invalid_request",
    "address_refused",
    "name_not_resolved",
    "quota_exceeded",
    "registry_full",
)

_HEADERS: dict[str, Json] = {
    "ETag": header(
        "The tag of this reply, for `If-None-Match`.",
        {"type": "string", "pattern": '^W/"[0-9A-Za-z_-]+"$', "examples": ['W/"7"']},
    ),
    "X-Registry-Revision": header(
        "The revision of the view that answered.",
        {"type": "integer", "minimum": 0, "examples": [7]},
    ),
    "X-Registry-Stale": header(
        "Seconds since the view was current. Sent while the store is unreachable.",
        {"type": "integer", "minimum": 0, "examples": [12]},
        required=False,
    ),
}
_SOURCE = {
    "X-Registry-Source": header(
        "The upstream that has the provider. Sent if nobody healthy is here.",
        {"type": "string", "examples": ["west"]},
        required=False,
    ),
}
_HEADERS |= _SOURCE
HEADERS = {name.replace("-", ""): value for name, value in _HEADERS.items()}
"""The headers of reads, by their names as components."""

_ON_LOOKUPS = {name: ref(name.replace("-", ""), "headers") for name in _HEADERS}
_ON_READS = {name: _ON_LOOKUPS[name] for name in _HEADERS if name not in _SOURCE}


CODES = "codes"
"""The key of an operation's errors, until `security` replaces it with responses."""


class RequestBody(NamedTuple):
    """A request body: the name of its schema, and whether it must be sent."""

    schema: str
    required: bool = True


def reply(description: str, schema: str, example: Any = None) -> Json:
    """Return a reply in JSON; its example is by default that of its schema."""
    if example is None:
        example = SCHEMAS[schema]["examples"][0]
    return {"description": description, "content": content(ref(schema), example)}


def read(description: str, schema: str, example: Any = None) -> dict[str, Json]:
    """Return the replies to a read: 200, or 304 if nothing has changed."""
    return {
        "200": {**reply(description, schema, example), "headers": _ON_READS},
        "304": {"description": "Nothing has changed.", "headers": _ON_READS},
    }


def lookup(description: str, schema: str) -> dict[str, Json]:
    """Return the replies to a read that an upstream may answer."""
    replies = read(description, schema)
    return {
        status: {**reply, "headers": _ON_LOOKUPS} for status, reply in replies.items()
    }


def call(
    name: str,
    tag: str,
    summary: str,
    replies: dict[str, Json],
    codes: tuple[str, ...] = (),
    parameter_names: tuple[str, ...] = (),
    body: RequestBody | None = None,
    description: str = "",
) -> Json:
    """Return the description of a call, which `security` completes.

    ``replies`` are those of success by status, ``codes`` those of all errors.
    """
    operation: Json = {"operationId": name, "tags": [tag], "summary": summary}
    if description:
        operation["description"] = description
    if parameter_names:
        operation["parameters"] = parameters(*parameter_names)
    if body is not None:
        example = requests.SCHEMAS[body.schema]["examples"][0]
        operation["requestBody"] = {
            "required": body.required,
            "content": content(ref(body.schema), example, JSON),
        }
    operation["responses"] = replies
    # Some codes are in more than one of these.
    all_codes = (*codes, *(BODY if body else ()), "internal_error")
    operation[CODES] = tuple(dict.fromkeys(all_codes))
    return operation
