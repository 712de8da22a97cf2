"""The calls about tokens, most of which need an admin token, and their results."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

from modularity_client.http.call import (
    Call,
    Reply,
    call_with_body,
    parser_of,
    string_list,
)
from modularity_client.types.services import Json

PATH = "/api/tokens"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the registry stores it, without its text.

    ``name`` is None if ``own_token`` is called without a token, where that is allowed.
    ``ids`` and ``capabilities`` are patterns of what the token may register.
    ``former_until`` is until when the text before a rotation stays valid.
    """

    name: str | None
    rights: tuple[str, ...]
    ids: tuple[str, ...]
    capabilities: tuple[str, ...]
    created_at: datetime | None
    expires_at: datetime | None
    former_until: datetime | None

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the token of a reply."""
        return cls(
            data["name"],
            tuple(data["rights"]),
            tuple(data["ids"]),
            tuple(data["capabilities"]),
            _parse_time(data.get("created_at")),
            _parse_time(data.get("expires_at")),
            _parse_time(data.get("former_until")),
        )


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token and its ``text``, which can't be read again later."""

    token: Token
    text: str = field(repr=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the new token of a reply."""
        return cls(Token.from_json(data), str(data["token"]))


def tokens() -> Call[tuple[Token, ...]]:
    """List all tokens by name."""

    def parse(data: Any, _: Reply) -> tuple[Token, ...]:
        return tuple(map(Token.from_json, data["tokens"]))

    return Call("GET", PATH, parse)


def own_token() -> Call[Token]:
    """Read the rights of this client's own token.

    Raises `Unauthorized` if it is invalid, `TokenNotFound` if the registry uses no
    tokens, so that every call is allowed.
    """
    return Call("GET", "/api/whoami", parser_of(Token))


def create_token(
    name: str,
    *,
    rights: Iterable[str],
    ids: Iterable[str] = ("*",),
    capabilities: Iterable[str] = ("*",),
    expires_in: float | None = None,
) -> Call[IssuedToken]:
    """Create a token; ``expires_in`` is in seconds.

    Raises `TokenConflict` if the name is taken. Not repeated after a lost reply, which
    had the text: revoke or rotate that token.
    """
    body: dict[str, Any] = {
        "name": name,
        "rights": string_list(rights),
        "ids": string_list(ids),
        "capabilities": string_list(capabilities),
    }
    if expires_in is not None:
        body["expires_in"] = expires_in
    return call_with_body("POST", PATH, body, parser_of(IssuedToken), repeat=False)


def rotate_token(name: str, *, grace: float = 0.0) -> Call[IssuedToken]:
    """Give a token a new text; the former text stays valid for ``grace`` seconds.

    Raises `TokenNotFound`. Not repeated, like `create_token`.
    """
    path = f"{PATH}/{_path_segment(name)}/rotate"
    return call_with_body(
        "POST", path, {"grace": grace}, parser_of(IssuedToken), repeat=False
    )


def revoke_token(name: str) -> Call[str]:
    """Revoke a token at once; returns its name.

    Raises `TokenNotFound`, but not if a retry after a lost reply finds it revoked, and
    `TokenConflict` for the last admin token.
    """

    def parse(data: Any, _: Reply) -> str:
        return str(data["name"])

    return Call("DELETE", f"{PATH}/{_path_segment(name)}", parse, gone=name)


def _path_segment(name: str) -> str:
    if name in ("", ".", ".."):  # this path would be another call
        raise ValueError(f"{name!r} is not a valid name of a token")
    return quote(name, safe="")


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
