"""Builds the description of one call."""

from typing import Any, NamedTuple

from modularity_registry.api.openapi.builders import JSON, Json, content, header, ref
from modularity_registry.api.openapi.parameters import parameters

ORIGIN_REFUSED = "origin_refused"
"""What every call but `GET` may answer with to a web page of elsewhere."""

WRITING = (ORIGIN_REFUSED, "store_unavailable", "store_corrupt")
"""What a call that writes may answer with, whatever it writes."""

BODY = (
    ORIGIN_REFUSED,
    "body_incomplete",
    "body_too_large",
    "unsupported_media_type",
    "too_many_uploads",
)
"""What a call with a body may answer with because of that."""

WATCHING = ("too_many_watchers", "too_many_watchers_of_client")
"""What a call that may wait may answer with because of that."""

REGISTERING = ("invalid_request", "address_refused", "name_not_resolved")

_HEADERS: dict[str, Json] = {
    "ETag": header(
        "The tag of what is shown, for `If-None-Match`.",
        {"type": "string", "pattern": '^W/"[0-9-]+"$', "examples": ['W/"7"']},
    ),
    "X-Registry-Revision": header(
        "The revision of the view that answered.",
        {"type": "integer", "minimum": 0, "examples": [7]},
    ),
    "X-Registry-Stale": header(
        "Seconds since the view was current, while the store is away.",
        {"type": "integer", "minimum": 0, "examples": [12]},
        required=False,
    ),
}
HEADERS = {name.replace("-", ""): each for name, each in _HEADERS.items()}
"""The headers of reads, by their names as components."""

_ON_READS = {name: ref(name.replace("-", ""), "headers") for name in _HEADERS}


CODES = "codes"
"""Where a call's errors stand until `guarding` has added those of access."""


class Taken(NamedTuple):
    """A request body: its schema, an example, whether there has to be one."""

    schema: str
    example: Json
    required: bool = True


def shown(description: str, schema: str, example: Any) -> Json:
    """Return a reply in JSON."""
    return {"description": description, "content": content(ref(schema), example)}


def read(description: str, schema: str, example: Any) -> dict[str, Json]:
    """Return the replies to a read: what is shown, or that nothing has changed."""
    return {
        "200": {**shown(description, schema, example), "headers": _ON_READS},
        "304": {
            "description": "Nothing was written since.",
            "headers": _ON_READS,
        },
    }


def call(
    name: str,
    tag: str,
    summary: str,
    replies: dict[str, Json],
    codes: tuple[str, ...] = (),
    takes: tuple[str, ...] = (),
    body: Taken | None = None,
    description: str = "",
) -> Json:
    """Return the description of a call, which `guarding` completes.

    ``replies`` are those of success by status, ``codes`` those of all errors,
    ``takes`` the names of parameters.
    """
    operation: Json = {"operationId": name, "tags": [tag], "summary": summary}
    if description:
        operation["description"] = description
    if takes:
        operation["parameters"] = parameters(*takes)
    if body is not None:
        operation["requestBody"] = {
            "required": body.required,
            "content": content(ref(body.schema), body.example, JSON),
        }
    # Some are in two of these.
    said = dict.fromkeys((*codes, *(BODY if body else ()), "internal_error"))
    operation["responses"] = replies
    operation[CODES] = tuple(said)
    return operation
