"""Makes, rotates and revokes tokens, wherever they are kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from modularity_registry.errors import TokenConflict, TokenNotFound
from modularity_registry.model.rights import Right, Token, Wish, digest_of, new_text
from modularity_registry.tokens.store_backend import Shelf

FIRST = "admin"
"""The name of the token that a registry makes when it has none."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A token and its text, which is known now and never again."""

    token: Token
    text: str


def create(shelf: Shelf, wish: Wish, now: datetime) -> Issued:
    """Make a token; raises `TokenConflict` when its name is taken."""
    text = new_text()
    token = Token(
        name=wish.name,
        digest=digest_of(text),
        rights=tuple(sorted(wish.rights)),
        created_at=now,
        ids=wish.ids,
        capabilities=wish.capabilities,
        expires_at=None if wish.lifetime is None else now + wish.lifetime,
    )
    shelf.put(token, expected=0)
    return Issued(token, text)


def first(shelf: Shelf, now: datetime) -> Issued | None:
    """Make a token for an admin where there is no token at all; None where there is.

    Of several that start at once, one makes it.
    """
    if shelf.all():
        return None
    try:
        return create(shelf, Wish(FIRST, frozenset({Right.ADMIN})), now)
    except TokenConflict:
        return None


def rotate(shelf: Shelf, name: str, grace: timedelta, now: datetime) -> Issued:
    """Give a token another text; the former one is good for ``grace`` still.

    Its name stays, and with it all that it owns. A former one that was in its grace
    is no good any more. Raises `TokenNotFound`, `TokenConflict`.
    """
    token, revision = _find(shelf, name)
    text = new_text()
    rotated = msgspec.structs.replace(
        token,
        digest=digest_of(text),
        former=token.digest if grace else None,
        former_until=now + grace if grace else None,
    )
    shelf.put(rotated, expected=revision)
    return Issued(rotated, text)


def revoke(shelf: Shelf, name: str, last_admin: bool = False) -> Token:
    """Remove a token, at once; return what it was.

    Raises `TokenNotFound`, and `TokenConflict` for the last that an admin has, unless
    ``last_admin`` says that it is meant.
    """
    token, revision = _find(shelf, name)
    others = (each for each, _ in shelf.all().values() if each.name != name)
    if (
        Right.ADMIN in token.rights
        and not last_admin
        and not any(Right.ADMIN in each.rights for each in others)
    ):
        raise TokenConflict(
            f"{name!r} is the last token of an admin, and without one nobody can make"
            " another; make one first, or rotate this one"
        )
    shelf.delete(name, expected=revision)
    return token


def _find(shelf: Shelf, name: str) -> tuple[Token, int]:
    found = shelf.all().get(name)
    if found is None:
        raise TokenNotFound(f"there is no token {name!r}")
    return found
