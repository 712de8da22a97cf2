"""The calls about tokens, which an admin's token takes, and what they answer."""

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
    """A token as the registry has it, which does not know its text.

    ``name`` is None, with ``own_token``, for who has shown none and may do something
    all the same. ``ids`` and ``capabilities`` are patterns of what may be registered.
    ``former_until`` is how long the text before a rotation is still good.
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
        """Return the token that a reply shows."""
        return cls(
            data["name"],
            tuple(data["rights"]),
            tuple(data["ids"]),
            tuple(data["capabilities"]),
            _moment(data.get("created_at")),
            _moment(data.get("expires_at")),
            _moment(data.get("former_until")),
        )


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token and its ``text``, which nobody can ask for again."""

    token: Token
    text: str = field(repr=False)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Return the token that a reply hands out."""
        return cls(Token.from_json(data), str(data["token"]))


def tokens() -> Call[tuple[Token, ...]]:
    """List all tokens by name."""

    def parse(data: Any, _: Reply) -> tuple[Token, ...]:
        return tuple(map(Token.from_json, data["tokens"]))

    return Call("GET", PATH, parse)


def own_token() -> Call[Token]:
    """Say what the token is good for that this client shows.

    Raises `Unauthorized` when it is good for nothing, `TokenNotFound` where there are
    no tokens and everybody may do everything.
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
    """Make a token; ``expires_in`` is in seconds.

    Raises `TokenConflict` when the name is taken. Not repeated when the reply was
    lost, since the text was in it: revoke that one, or rotate it.
    """
    wish: dict[str, Any] = {
        "name": name,
        "rights": string_list(rights),
        "ids": string_list(ids),
        "capabilities": string_list(capabilities),
    }
    if expires_in is not None:
        wish["expires_in"] = expires_in
    return call_with_body("POST", PATH, wish, parser_of(IssuedToken), repeat=False)


def rotate_token(name: str, *, grace: float = 0.0) -> Call[IssuedToken]:
    """Give a token another text; the former one is good for ``grace`` seconds still.

    Raises `TokenNotFound`. Not repeated, as `create_token`.
    """
    path = f"{PATH}/{_segment(name)}/rotate"
    return call_with_body(
        "POST", path, {"grace": grace}, parser_of(IssuedToken), repeat=False
    )


def revoke_token(name: str) -> Call[str]:
    """Make a token worthless, at once; returns its name.

    Raises `TokenNotFound`, but not for a second try whose first did it, and
    `TokenConflict` for the last that an admin has.
    """

    def parse(data: Any, _: Reply) -> str:
        return str(data["name"])

    return Call("DELETE", f"{PATH}/{_segment(name)}", parse, gone=name)


def _segment(name: str) -> str:
    if name in ("", ".", ".."):  # which would lead to another call
        raise ValueError(f"{name!r} can't be the name of a token here")
    return quote(name, safe="")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
