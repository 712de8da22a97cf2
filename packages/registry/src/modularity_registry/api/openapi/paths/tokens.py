"""The calls about tokens."""

from modularity_registry.api.openapi.builders import Json
from modularity_registry.api.openapi.operation import (
    ORIGIN_REFUSED,
    RequestBody,
    call,
    reply,
)

_TAG = "Tokens"
_ERRORS = (
    "invalid_request",
    "token_not_found",
    "token_conflict",
    "store_unavailable",
    "outcome_unknown",
)

PATHS: dict[str, Json] = {
    "/api/tokens": {
        "get": call(
            "list_tokens",
            _TAG,
            "List tokens",
            {"200": reply("The tokens.", "Tokens")},
            ("invalid_request", "token_not_found"),
        ),
        "post": call(
            "create_token",
            _TAG,
            "Create a token",
            {"201": reply("The token, valid from now on.", "IssuedToken")},
            _ERRORS,
            body=RequestBody("TokenWish"),
        ),
    },
    "/api/tokens/{name}/rotate": {
        "post": call(
            "rotate_token",
            _TAG,
            "Replace a token's secret",
            {
                "200": reply(
                    "The token with its new secret, valid from now on.", "IssuedToken"
                )
            },
            _ERRORS,
            ("TokenName",),
            RequestBody("Rotation", required=False),
            description="The token keeps its name and the services it owns.",
        )
    },
    "/api/tokens/{name}": {
        "delete": call(
            "revoke_token",
            _TAG,
            "Revoke a token",
            {"200": reply("The token is no longer valid.", "RevokedToken")},
            (*_ERRORS, ORIGIN_REFUSED),
            ("TokenName",),
            description="You can't revoke the last admin's token here.",
        )
    },
    "/api/whoami": {
        "get": call(
            "read_own_token",
            _TAG,
            "Show your own token and rights",
            {"200": reply("Your token and rights.", "OwnToken")},
            ("invalid_request", "unauthorized", "token_not_found"),
        )
    },
}
"""The calls about tokens, by path and method."""
