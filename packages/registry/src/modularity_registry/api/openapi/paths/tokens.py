"""The calls about tokens."""

from modularity_registry.api.openapi.builders import (
    Json,
    example_of,
    listed,
    maybe_text,
    moment,
    record,
    ref,
    text,
    whole,
)
from modularity_registry.api.openapi.operation import ORIGIN_REFUSED, Taken, call
from modularity_registry.api.openapi.operation import shown as said
from modularity_registry.api.openapi.schemas import requests
from modularity_registry.model.rights import GLOB_PATTERN, NAME_PATTERN, Right

_TAG = "Tokens"
_NAME_RULES: Json = {"pattern": NAME_PATTERN}
_GLOB: Json = {
    "type": "string",
    "description": "A pattern; `*` stands for any characters.",
    "pattern": GLOB_PATTERN,
    "examples": ["weather-*"],
}
_RIGHT: Json = {
    "type": "string",
    "description": "A right; `admin` has all others in it.",
    "enum": [right.value for right in Right],
    "examples": ["register"],
}

_NAME = text(
    "How the token is called for good; what it registers is owned by this name.",
    "weather-team",
    **_NAME_RULES,
)
_GIVEN: dict[str, Json] = {
    "rights": listed(_RIGHT, "What it may do.", ["read", "register"]),
    "ids": listed(_GLOB, "Ids that it may register.", ["weather-*"]),
    "capabilities": listed(
        {**_GLOB, "examples": ["weather.*"]},
        "Capabilities that it may register.",
        ["weather.*"],
    ),
    "expires_at": maybe_text(
        "When it ends; null for never.",
        "2027-01-15T02:59:31.123456Z",
        format="date-time",
    ),
}
_TOKEN: dict[str, Json] = {
    "name": _NAME,
    **_GIVEN,
    "created_at": moment("When it was made.", "2026-10-17T02:59:31.123456Z"),
    "former_until": maybe_text(
        "Until when its text from before a rotation is good; null if it is not.",
        None,
        format="date-time",
    ),
}

SCHEMAS: dict[str, Json] = {
    "Token": record("A token, but for its text: that is not kept.", _TOKEN),
    "IssuedToken": record(
        "A token with its text, which is shown this once.",
        {
            "token": text("Its text, for `Authorization: Bearer`.", "mreg_Zk9…"),
            **_TOKEN,
        },
    ),
    "Tokens": record(
        "All tokens.",
        {
            "tokens": listed(
                ref("Token"),
                "The tokens, by name.",
                [{name: each["examples"][0] for name, each in _TOKEN.items()}],
            ),
            "count": whole("How many these are.", 1),
        },
    ),
    "OwnToken": record(
        "Who one is and what one may do.",
        {
            "name": maybe_text("The token's name; null without one.", "weather-team"),
            **_GIVEN,
        },
    ),
    "RevokedToken": record(
        "The token is no good any more.",
        {
            "status": text("What was done.", "revoked", const="revoked"),
            "name": _NAME,
        },
    ),
}
"""The schemas of tokens, by name."""

_REFUSED = (
    "invalid_request",
    "token_not_found",
    "token_conflict",
    "store_unavailable",
)

PATHS: dict[str, Json] = {
    "/api/tokens": {
        "get": call(
            "list_tokens",
            _TAG,
            "Lists tokens",
            {"200": said("The tokens.", "Tokens", example_of(SCHEMAS["Tokens"]))},
            ("invalid_request", "token_not_found"),
        ),
        "post": call(
            "create_token",
            _TAG,
            "Makes a token",
            {
                "201": said(
                    "It is good from now on.",
                    "IssuedToken",
                    example_of(SCHEMAS["IssuedToken"]),
                )
            },
            _REFUSED,
            (),
            Taken("TokenWish", example_of(requests.SCHEMAS["TokenWish"])),
        ),
    },
    "/api/tokens/{name}/rotate": {
        "post": call(
            "rotate_token",
            _TAG,
            "Gives a token another text",
            {
                "200": said(
                    "The new text is good from now on.",
                    "IssuedToken",
                    example_of(SCHEMAS["IssuedToken"]),
                )
            },
            _REFUSED,
            ("TokenName",),
            Taken("Rotation", example_of(requests.SCHEMAS["Rotation"]), required=False),
            description="Its name stays, and all that it owns.",
        )
    },
    "/api/tokens/{name}": {
        "delete": call(
            "revoke_token",
            _TAG,
            "Revokes a token",
            {
                "200": said(
                    "It is no good any more.",
                    "RevokedToken",
                    example_of(SCHEMAS["RevokedToken"]),
                )
            },
            (*_REFUSED, ORIGIN_REFUSED),
            ("TokenName",),
            description="The last token of an admin can't be revoked here.",
        )
    },
    "/api/whoami": {
        "get": call(
            "read_own_token",
            _TAG,
            "Says who one is and what one may do",
            {"200": said("The rights.", "OwnToken", example_of(SCHEMAS["OwnToken"]))},
            ("invalid_request", "unauthorized", "token_not_found"),
        )
    },
}
"""The calls about tokens, by path and method."""
