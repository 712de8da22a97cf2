"""Creates, rotates and revokes tokens, in any backend."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from modularity_registry.errors import TokenConflict, TokenNotFound
from modularity_registry.model.rights import (
    Right,
    Token,
    TokenRequest,
    digest_of,
    new_text,
)
from modularity_registry.tokens.store_backend import TokenBackend

FIRST = "admin"
"""The name of the token that a registry creates when it has none."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A token and its text, which is kept nowhere."""

    token: Token
    text: str


def create(backend: TokenBackend, request: TokenRequest, now: datetime) -> Issued:
    """Create a token; raises `TokenConflict` if its name is taken."""
    text = new_text()
    token = Token(
        name=request.name,
        digest=digest_of(text),
        rights=tuple(sorted(request.rights)),
        created_at=now,
        ids=request.ids,
        capabilities=request.capabilities,
        expires_at=None if request.lifetime is None else now + request.lifetime,
    )
    backend.put(token, expected=0)
    return Issued(token, text)


def first(backend: TokenBackend, now: datetime) -> Issued | None:
    """Create a token for an admin if there is no token at all; return None if there is.

    Of several replicas that start at once, one creates it.
    """
    if backend.all():
        return None
    try:
        return create(backend, TokenRequest(FIRST, frozenset({Right.ADMIN})), now)
    except TokenConflict:
        return None


def rotate(backend: TokenBackend, name: str, grace: timedelta, now: datetime) -> Issued:
    """Give a token a new text; the former text stays valid for ``grace``.

    The token keeps its name, and with it all that it owns. A text that was replaced
    before is no longer valid. Raises `TokenNotFound`, `TokenConflict`.
    """
    token, revision = _find(backend, name)
    text = new_text()
    rotated = msgspec.structs.replace(
        token,
        digest=digest_of(text),
        former=token.digest if grace else None,
        former_until=now + grace if grace else None,
    )
    backend.put(rotated, expected=revision)
    return Issued(rotated, text)


def revoke(backend: TokenBackend, name: str, last_admin: bool = False) -> Token:
    """Remove a token, with immediate effect; return it.

    Raises `TokenNotFound`, and `TokenConflict` for the last token with the right
    ``admin``, unless ``last_admin`` is true.
    """
    token, revision = _find(backend, name)
    others = (other for other, _ in backend.all().values() if other.name != name)
    if (
        Right.ADMIN in token.rights
        and not last_admin
        and not any(Right.ADMIN in other.rights for other in others)
    ):
        raise TokenConflict(
            f"{name!r} is the last token with the right admin, which is needed to"
            " create others; create another one first, or rotate this one"
        )
    backend.delete(name, expected=revision)
    return token


def _find(backend: TokenBackend, name: str) -> tuple[Token, int]:
    entry = backend.all().get(name)
    if entry is None:
        raise TokenNotFound(f"there is no token {name!r}")
    return entry
