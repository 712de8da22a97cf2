"""Replies about tokens."""

from typing import Annotated

from msgspec import Struct

from modularity_registry.schema.replies.field import count, doc, time

CreatedAt = Annotated[str, time("When the token was created.")]
ExpiresAt = Annotated[
    str | None,
    time("When the token expires; null for never.", "2027-01-15T02:59:31.123456Z"),
]
FormerUntil = Annotated[
    str | None,
    time("When the secret from before a rotation expires; null if it already has."),
]


class Token(Struct):
    """A token without its secret, which the registry does not keep.

    Fields that a token's request has too are described there.
    """

    name: str
    rights: list[str]
    ids: list[str]
    capabilities: list[str]
    created_at: CreatedAt
    expires_at: ExpiresAt
    former_until: FormerUntil


class IssuedToken(Struct):
    """A token with its secret, which is shown only once."""

    token: Annotated[
        str, doc("The secret. Send it as `Authorization: Bearer`.", "mreg_Zk9…")
    ]
    name: str
    rights: list[str]
    ids: list[str]
    capabilities: list[str]
    created_at: CreatedAt
    expires_at: ExpiresAt
    former_until: FormerUntil


class Tokens(Struct):
    """All tokens."""

    tokens: Annotated[list[Token], doc("The tokens, sorted by name.")]
    count: Annotated[int, count("The number of tokens.", 1)]


class OwnToken(Struct):
    """The caller's token and rights."""

    name: Annotated[
        str | None, doc("The token's name; null without a token.", "weather-team")
    ]
    rights: list[str]
    ids: list[str]
    capabilities: list[str]
    expires_at: ExpiresAt


class RevokedToken(Struct):
    """The token is revoked."""

    status: Annotated[str, doc("Always `revoked`.", "revoked", const="revoked")]
    name: str
