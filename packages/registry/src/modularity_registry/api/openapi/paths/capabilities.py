"""The calls that start from a capability."""

from modularity_registry.api.openapi.builders import Json, example_of
from modularity_registry.api.openapi.operation import (
    WATCHING,
    WRITING,
    RequestBody,
    call,
    lookup,
    read,
    reply,
)
from modularity_registry.api.openapi.parameters import FILTERS, LISTS
from modularity_registry.api.openapi.schemas.replies import SCHEMAS
from modularity_registry.api.openapi.schemas.requests import SCHEMAS as REQUESTS

_TAG = "Capabilities"
_SPLIT = REQUESTS["Split"]["examples"][0]
_ENDED = SCHEMAS["SplitWritten"]["examples"][0] | {
    "status": "ended",
    "message": "The calls of 'greet' are no longer split",
}
_LIST_ERRORS = ("invalid_request", *WATCHING)


def _page(description: str, schema: str) -> dict[str, Json]:
    """Return the replies to a read of a list; the example is its last page."""
    return read(description, schema, example_of(SCHEMAS[schema], "next"))


PATHS: dict[str, Json] = {
    "/api/capabilities": {
        "get": call(
            "list_capabilities",
            _TAG,
            "List capabilities with a provider to call",
            _page("A page of capabilities, sorted by name.", "Capabilities"),
            _LIST_ERRORS,
            (*LISTS, "IfNoneMatch"),
        )
    },
    "/api/capabilities/{name}": {
        "get": call(
            "pick_provider",
            _TAG,
            "Pick a provider of a capability to call",
            lookup("The provider to call.", "Service"),
            (
                "invalid_request",
                "capability_not_found",
                "not_found",
                "no_healthy_provider",
            ),
            (
                *("CapabilityName", *FILTERS, "Strategy", "Key", "PreferHealthy"),
                *("Near", "CallerZone", "IfNoneMatch", "LocalOnly"),
            ),
            description="The provider is healthy. If none is, it is one with a warning,"
            " and if none of these is there, you get 503. A name that ends in"
            " `/services` or `/explain` leads to the two calls below instead; so does"
            " `/split`, unless a service offers a capability of that name.",
        )
    },
    "/api/capabilities/{name}/services": {
        "get": call(
            "list_providers",
            _TAG,
            "List all providers of a capability, healthy or not",
            _page(
                "A page of providers, sorted by id; empty if there are none.",
                "Providers",
            ),
            (*_LIST_ERRORS, "not_found"),
            ("CapabilityName", *LISTS, "IfNoneMatch"),
        )
    },
    "/api/capabilities/{name}/explain": {
        "get": call(
            "explain",
            _TAG,
            "Explain which providers of a capability callers get, and why",
            _page("A page of providers, sorted by id.", "Explanations"),
            (*_LIST_ERRORS, "capability_not_found", "not_found"),
            (
                *("CapabilityName", *LISTS, "PreferHealthy"),
                *("IfNoneMatch", "LocalOnly"),
            ),
            description="The reply lists every provider. One that a filter excludes"
            " has that as a reason.",
        )
    },
    "/api/capabilities/{name}/split": {
        "get": call(
            "read_split",
            _TAG,
            "Read how the calls of a capability are split",
            read("The weight of each group.", "Split", _SPLIT),
            ("invalid_request", "split_not_found", "not_found"),
            ("CapabilityName", "IfNoneMatch"),
        ),
        "put": call(
            "split_calls",
            _TAG,
            "Split the calls of a capability among groups of its providers",
            {
                "200": reply("The split took the place of another.", "SplitWritten"),
                "201": reply("The split is in effect.", "SplitWritten"),
            },
            (
                *("invalid_request", "not_found", "revision_mismatch"),
                *("registry_full", *WRITING),
            ),
            ("SplitCapability", "IfMatch", "IfNew"),
            RequestBody("Split"),
            description="A provider is in the group with the name of its"
            " `metadata.tag`, or else of its version or the first parts of that. The"
            " split stays until `DELETE`, also when providers come and go.",
        ),
        "delete": call(
            "end_split",
            _TAG,
            "Split the calls of a capability no more",
            {"200": reply("The split ended.", "SplitWritten", _ENDED)},
            (
                *("invalid_request", "split_not_found", "not_found"),
                *("revision_mismatch", *WRITING),
            ),
            ("CapabilityName", "IfMatch"),
        ),
    },
    "/api/splits": {
        "get": call(
            "list_splits",
            _TAG,
            "List the capabilities whose calls are split",
            _page("A page of splits, sorted by capability.", "Splits"),
            ("invalid_request",),
            ("Limit", "Cursor", "IfNoneMatch"),
        )
    },
    "/api/discover": {
        "post": call(
            "discover",
            _TAG,
            "Find services that provide several capabilities",
            read(
                "The services that match: healthy ones first, then those with a"
                " warning; of these, the highest score first, then those near to the"
                " caller, then by id.",
                "Matches",
            ),
            ("invalid_request",),
            (*FILTERS, "PreferHealthy", "Near", "CallerZone", "IfNoneMatch"),
            RequestBody("DiscoveryRequest"),
        )
    },
}
"""The calls that start from a capability, by path and method."""
