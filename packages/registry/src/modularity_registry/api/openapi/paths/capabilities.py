"""The calls that start from a capability."""

from modularity_registry.api.openapi.builders import Json, example_of
from modularity_registry.api.openapi.operation import (
    WATCHING,
    RequestBody,
    call,
    lookup,
    read,
)
from modularity_registry.api.openapi.parameters import FILTERS, LISTS
from modularity_registry.api.openapi.schemas.replies import SCHEMAS

_TAG = "Capabilities"
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
            " `/services` or `/explain` leads to the two calls below instead.",
        )
    },
    "/api/capabilities/{name}/services": {
        "get": call(
            "list_providers",
            _TAG,
            "List all providers of a capability, healthy or not",
            _page(
                "A page of providers, sorted by id; empty if there are none.",
                "Services",
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
