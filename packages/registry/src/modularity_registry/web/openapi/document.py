"""The whole document."""

from modularity_registry import __version__
from modularity_registry.web.openapi import (
    capability_paths,
    guarding,
    other_paths,
    refusals,
    service_paths,
    shown,
    summed,
    taken,
    token_paths,
)
from modularity_registry.web.openapi.notation import Json
from modularity_registry.web.openapi.operations import HEADERS
from modularity_registry.web.openapi.parameters import PARAMETERS

_ABOUT = """\
Services register what they can do; callers ask for a capability and get a healthy
service that provides it.

Bodies are JSON in UTF-8. Times are in UTC as in RFC 3339, durations are seconds unless
their name says otherwise. A parameter or field that is not known is refused by name.
A write has happened when its reply comes, and every read after it sees it; an error
means that nothing has changed."""

_TAGS = {
    "Services": "Register, read, drain, unregister; signs of life.",
    "Capabilities": "Who provides what, and who should be called now.",
    "Events": "What changes, as it happens.",
    "Calls between services": "Who calls whom: reported by services, summed up here.",
    "Tokens": "Who may do what, where the registry asks for tokens.",
    "The registry": "Whether it lives, whether it is ready, what it holds.",
    "Pages": "For people, in a browser.",
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
        # The one that this came from, under whatever name it was asked.
        "servers": [{"url": "/", "description": "This registry"}],
        "tags": [
            {"name": name, "description": description}
            for name, description in _TAGS.items()
        ],
        "paths": guarding.guarded(
            {
                **service_paths.PATHS,
                **capability_paths.PATHS,
                **other_paths.PATHS,
                **token_paths.PATHS,
            }
        ),
        "components": {
            "securitySchemes": guarding.SECURITY_SCHEMES,
            "schemas": {
                **taken.SCHEMAS,
                **shown.SCHEMAS,
                **summed.SCHEMAS,
                **token_paths.SCHEMAS,
                **refusals.SCHEMAS,
            },
            "parameters": PARAMETERS,
            "headers": HEADERS,
        },
    }
