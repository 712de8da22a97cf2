"""The whole document."""

from modularity_registry import __version__
from modularity_registry.api.openapi import errors, security
from modularity_registry.api.openapi.builders import Json
from modularity_registry.api.openapi.operation import HEADERS
from modularity_registry.api.openapi.parameters import PARAMETERS
from modularity_registry.api.openapi.paths import (
    capabilities,
    operations,
    services,
    tokens,
)
from modularity_registry.api.openapi.schemas import replies, requests

_ABOUT = """\
Services register the capabilities they provide. Callers ask for a capability and get a
healthy service that provides it.

Bodies are JSON in UTF-8. Times are in UTC as in RFC 3339. Durations are in seconds
unless their name says otherwise. The registry rejects unknown parameters and fields,
and its error names each of them. A write is complete when you get the reply, and every
later read sees it. An error means that nothing has changed, but for `outcome_unknown`:
read before you retry.

A registry may have namespaces. Every path under `/api/` but `/api/namespaces` is also
there under `/api/ns/{namespace}/`, for what is registered in that namespace alone:
`/api/ns/team-a/services` lists the services of `team-a`, `/api/services` those of the
namespace `default`. Where there is no such namespace, the error is
`unknown_namespace`."""

_TAGS = {
    "Services": "Register, read, drain and unregister services; send heartbeats.",
    "Capabilities": "Find the providers of a capability, and pick one to call.",
    "Events": "Watch changes as they happen.",
    "Calls between services": "Report calls, and see which services call which.",
    "Tokens": "Manage access, if the registry requires tokens.",
    "The registry": "Health, readiness, counts and metrics of the registry.",
    "Pages": "Pages for people, in a browser.",
}


def document() -> Json:
    """Return the API as an OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Modularity Registry",
            "version": __version__,
            "summary": "A registry of services and what they can do",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to the document: it holds under every name, port and prefix.
        "servers": [{"url": ".", "description": "This registry"}],
        "tags": [
            {"name": name, "description": description}
            for name, description in _TAGS.items()
        ],
        "paths": security.guarded(
            {
                **services.PATHS,
                **capabilities.PATHS,
                **operations.PATHS,
                **tokens.PATHS,
            }
        ),
        "components": {
            "securitySchemes": security.SECURITY_SCHEMES,
            "schemas": {
                **requests.SCHEMAS,
                **replies.SCHEMAS,
                **errors.SCHEMAS,
            },
            "parameters": PARAMETERS,
            "headers": HEADERS,
        },
    }
