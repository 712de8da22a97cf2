"""Who may do what: rights, tokens, callers, owners. Decides, and touches nothing."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

import msgspec

from modularity_registry.errors import Forbidden, OwnedByAnother, Unauthorized

PREFIX = "mreg_"
"""What every token's text begins with, so that one that leaked can be searched for."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9.-]{0,63}$"
MOST_WILDCARDS = 8
"""In a pattern of a token that is created."""

GLOB_PATTERN = r"^[A-Za-z0-9._:/*\-]{1,128}$"


class Right(StrEnum):
    """What a caller may do. ``admin`` has all the others in it."""

    READ = "read"
    REGISTER = "register"
    TRACK = "track"
    ADMIN = "admin"


ALL = frozenset(Right)


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a token: never its text, only the SHA-256 of that.

    A token's text holds 256 bits of chance, so a plain hash of it can't be guessed
    back. ``ids`` and ``capabilities`` bound what may be registered: ``*`` stands for
    any characters. ``former`` is the hash of the text before a rotation, good until
    ``former_until``. ``namespace`` is for a file with the tokens of several: empty for
    those of the default one.
    """

    name: str
    digest: str
    rights: tuple[Right, ...]
    created_at: datetime
    ids: tuple[str, ...] = ("*",)
    capabilities: tuple[str, ...] = ("*",)
    expires_at: datetime | None = None
    former: str | None = None
    former_until: datetime | None = None
    namespace: str = ""


def new_text() -> str:
    """Return the text of a new token."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(text: str) -> str:
    """Return what is kept of a token's text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token to issue; ``lifetime`` is None if it never expires."""

    name: str
    rights: frozenset[Right]
    ids: tuple[str, ...] = ("*",)
    capabilities: tuple[str, ...] = ("*",)
    lifetime: timedelta | None = None


@dataclass(frozen=True)
class Patterns:
    """Names that are allowed: ``*`` in a pattern stands for any characters."""

    texts: tuple[str, ...] = ("*",)

    @cached_property
    def _parts(self) -> list[list[str]]:
        return [text.split("*") for text in self.texts]

    def match(self, name: str) -> bool:
        """Say whether one of them allows this name."""
        return "*" in self.texts or any(_fits(name, parts) for parts in self._parts)


def _fits(name: str, parts: Sequence[str]) -> bool:
    """Say whether ``name`` is ``parts`` with anything in between.

    Each part is looked for once, behind the one before it: a regular expression would
    try all other places as well, for ever longer.
    """
    if len(parts) == 1:
        return name == parts[0]
    first, *middle, last = parts
    start, end = len(first), len(name) - len(last)
    if not (start <= end and name.startswith(first) and name.endswith(last)):
        return False
    for part in middle:
        start = name.find(part, start, end)
        if start < 0:
            return False
        start += len(part)
    return True


ANY_NAME = Patterns()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, and what they may do.

    ``name`` is that of their token, None without one, and ``namespace`` the namespace
    in which it was made: empty for the default one. ``open`` says that there are no
    tokens here at all. ``refused`` is why a token that was shown is worth nothing.
    """

    name: str | None = None
    rights: frozenset[Right] = frozenset()
    ids: Patterns = ANY_NAME
    capabilities: Patterns = ANY_NAME
    expires_at: datetime | None = None
    digest: str | None = None
    open: bool = False
    refused: str | None = None
    namespace: str = ""

    @classmethod
    def of(
        cls,
        token: Token,
        digest: str,
        expires_at: datetime | None,
        namespace: str = "",
    ) -> "Caller":
        """Return who shows ``token``, whose text has this ``digest``."""
        rights = frozenset(token.rights)
        return cls(
            name=token.name,
            rights=ALL if Right.ADMIN in rights else rights,
            ids=Patterns(token.ids),
            capabilities=Patterns(token.capabilities),
            expires_at=expires_at,
            digest=digest,
            namespace=namespace,
        )

    @property
    def label(self) -> str | None:
        """What no other token is called: ``team-a/ci``, the name in the default one."""
        if self.name is None or not self.namespace:
            return self.name
        return f"{self.namespace}/{self.name}"

    @property
    def is_admin(self) -> bool:
        """Whether they may do everything, by a token that says so."""
        return Right.ADMIN in self.rights and not self.open

    def may(self, right: Right) -> bool:
        """Say whether the caller has the right."""
        return right in self.rights

    def require(self, right: Right) -> None:
        """Raise `Unauthorized` or `Forbidden` unless the caller has the right."""
        if right in self.rights:
            return
        if self.refused is not None:
            raise Unauthorized(self.refused, shown=True)
        if self.name is None:
            raise Unauthorized(
                f"this needs a token with the right {right.value!r}; send it as"
                " Authorization: Bearer <token>"
            )
        raise Forbidden(
            f"the token {self.name!r} does not have the right {right.value!r}; an"
            " admin can make one that does"
        )

    def require_service(
        self, service_id: str, capabilities: Iterable[str] = ()
    ) -> None:
        """Raise as `require` does unless the caller may write this service."""
        self.require(Right.REGISTER)
        if self.is_admin:
            return
        if not self.ids.match(service_id):
            raise Forbidden(
                f"the token {self.name!r} does not allow the id {service_id!r}; see its"
                " ids"
            )
        for name in capabilities:
            if not self.capabilities.match(name):
                raise Forbidden(
                    f"the token {self.name!r} does not allow the capability {name!r};"
                    " see its capabilities"
                )


OPEN = Caller(rights=ALL, open=True)
"""Everybody, where there are no tokens."""


KEY_OWNER = "key:"
"""How the owner of a service begins whose registration had an ``owner_key``."""

OWNER_PATTERN = r"^(|[a-z0-9][a-z0-9.-]{0,63}|key:[0-9a-f]{64})$"
"""Whoever may stand as a service's owner: nobody, a token's name, a hashed key."""

OWNER_KEY = "owner_key"
"""What is shown as such an owner; no token can have this name."""


def shown_owner(owner: str) -> str | None:
    """Return an owner as everybody may see it: of a key not even the hash."""
    return OWNER_KEY if owner.startswith(KEY_OWNER) else owner or None


def token_of(owner: str) -> str:
    """Return the name of the token that an owner is; empty for any other owner.

    Whoever registers may choose an ``owner_key`` for each service: it names nobody.
    """
    return "" if owner.startswith(KEY_OWNER) else owner


@dataclass(frozen=True, slots=True)
class Claim:
    """On whose behalf a service is written: a caller, and the key that they showed."""

    caller: Caller = OPEN
    key: str | None = None

    def owner(self, service_id: str) -> str:
        """Return the owner of what they register; empty for nobody."""
        if self.key is not None:
            return KEY_OWNER + _key_digest(self.key, service_id)
        return self.caller.name or ""

    def check(self, owner: str, service_id: str) -> None:
        """Raise `OwnedByAnother` unless what ``owner`` owns is theirs to change."""
        if not owner or self.caller.is_admin:
            return
        if owner.startswith(KEY_OWNER):
            key = self.key
            theirs = key is not None and hmac.compare_digest(
                _key_digest(key, service_id), owner[len(KEY_OWNER) :]
            )
            how = "the owner_key that it was registered with"
        else:
            theirs = self.caller.open or self.caller.name == owner
            how = "the token that it was registered with"
        if not theirs:
            raise OwnedByAnother(
                f"the id {service_id!r} belongs to another owner; to change it, use"
                f" {how}, or an admin's token"
            )


def _key_digest(key: str, service_id: str) -> str:
    # With the id in it, services of one owner can't be told by their equal digests.
    return hmac.new(
        key.encode("utf-8", "surrogateescape"), service_id.encode(), hashlib.sha256
    ).hexdigest()


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return what counts as one caller's of the addresses; the text if it is none.

    Of IPv6 that is a /64, which is what one host gets to choose from.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ip_network((ip, 64), strict=False))
