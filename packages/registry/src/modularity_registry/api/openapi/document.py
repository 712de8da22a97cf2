"""The whole document."""

from modularity_registry import __version__
from modularity_registry.api.openapi import errors, security
from modularity_registry.api.openapi.builders import Json
from modularity_registry.api.openapi.operation import HEADERS
from modularity_registry.api.openapi.parameters import PARAMETERS
from modularity_registry.api.openapi.paths import (
    capabilities,
    operations,
    tokens,
)
from modularity_registry.api.openapi.paths import (
    services as service_paths,
)
from modularity_registry.api.openapi.schemas import (
    registry,
    requests,
)
from modularity_registry.api.openapi.schemas import (
    services as shown,
)

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
        "paths": security.guarded(
            {
                **service_paths.PATHS,
                **capabilities.PATHS,
                **operations.PATHS,
                **tokens.PATHS,
            }
        ),
        "components": {
            "securitySchemes": security.SECURITY_SCHEMES,
            "schemas": {
                **requests.SCHEMAS,
                **shown.SCHEMAS,
                **registry.SCHEMAS,
                **tokens.SCHEMAS,
                **errors.SCHEMAS,
            },
            "parameters": PARAMETERS,
            "headers": HEADERS,
        },
    }
