"""The calls that start from a capability."""

from modularity_registry.api.openapi.builders import Json, example_of
from modularity_registry.api.openapi.operation import WATCHING, Taken, call, read
from modularity_registry.api.openapi.parameters import FILTERS, LISTS
from modularity_registry.api.openapi.schemas import requests, services

_TAG = "Capabilities"
_LIST_ERRORS = ("invalid_request", *WATCHING)
_MATCHES = read(
    "Those that fit, best score first, then by id.",
    "Matches",
    example_of(services.SCHEMAS["Matches"]),
)

PATHS: dict[str, Json] = {
    "/api/capabilities": {
        "get": call(
            "list_capabilities",
            _TAG,
            "Lists capabilities that have a healthy provider, by name",
            read(
                "A page of capabilities.",
                "Capabilities",
                example_of(services.SCHEMAS["Capabilities"], "next"),
            ),
            _LIST_ERRORS,
            (*LISTS, "IfNoneMatch"),
        )
    },
    "/api/capabilities/{name}": {
        "get": call(
            "pick_provider",
            _TAG,
            "Picks one healthy provider of a capability",
            read("The one to call.", "Service", example_of(services.SERVICE)),
            (
                "invalid_request",
                "capability_not_found",
                "not_found",
                "no_healthy_provider",
            ),
            ("CapabilityName", *FILTERS, "Strategy", "Key", "IfNoneMatch"),
            description="A name that ends in `/services` or `/explain` leads to the"
            " two calls below instead.",
        )
    },
    "/api/capabilities/{name}/services": {
        "get": call(
            "list_providers",
            _TAG,
            "Lists all providers of a capability, healthy or not, by id",
            read(
                "A page of providers; empty where nobody offers it.",
                "Services",
                example_of(services.SCHEMAS["Services"], "next"),
            ),
            (*_LIST_ERRORS, "not_found"),
            ("CapabilityName", *LISTS, "IfNoneMatch"),
        )
    },
    "/api/capabilities/{name}/explain": {
        "get": call(
            "explain",
            _TAG,
            "Says for each provider of a capability whether it may be picked",
            read(
                "A page of providers.",
                "Explanations",
                example_of(services.SCHEMAS["Explanations"], "next"),
            ),
            (*_LIST_ERRORS, "capability_not_found", "not_found"),
            ("CapabilityName", *LISTS, "IfNoneMatch"),
            description="A filter keeps nobody out here: it becomes one of the"
            " reasons.",
        )
    },
    "/api/discover": {
        "post": call(
            "discover",
            _TAG,
            "Finds healthy services that provide several capabilities",
            _MATCHES,
            ("invalid_request",),
            (*FILTERS, "IfNoneMatch"),
            Taken("DiscoveryRequest", example_of(requests.SCHEMAS["DiscoveryRequest"])),
        )
    },
}
"""The calls that start from a capability, by path and method."""
