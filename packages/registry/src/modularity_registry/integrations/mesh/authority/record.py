"""What the store keeps of the authority. Decides by the time, and touches nothing."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from modularity_registry import schema
from modularity_registry.errors import StoreCorrupt

PREFIX: Final = "mesh/"
KEY: Final = "mesh/authority"


class Root(msgspec.Struct, frozen=True):
    """A root certificate and its key, both in PEM; the key may be encrypted.

    It is trusted from the start, signs from ``signs_from`` on, and is trusted no more
    at ``trusted_until``; None for one that has no successor.
    """

    certificate: str
    key: str
    signs_from: datetime
    trusted_until: datetime | None = None


class Authority(msgspec.Struct, frozen=True):
    """The roots, the oldest one first, and the trust domain that they are for."""

    trust_domain: str
    roots: tuple[Root, ...]

    def signing(self, now: datetime, careful: float | None = None) -> Root:
        """Return the root that signs now: the newest one that may.

        With ``careful``, there may be sidecars that have not heard of that one: then
        it is the oldest one that is trusted for so many seconds more.
        """
        if careful is not None:
            enough = now + timedelta(seconds=careful)
            for root in self.roots:
                if root.trusted_until is None or root.trusted_until >= enough:
                    return root
        ready = [root for root in self.roots if root.signs_from <= now]
        return ready[-1] if ready else self.roots[0]

    def trusted(self, now: datetime) -> list[Root]:
        """Return the roots whose certificates are accepted now."""
        return [
            root
            for root in self.roots
            if root.trusted_until is None or now < root.trusted_until
        ]

    def rotating(self, now: datetime) -> datetime | None:
        """Return when a rotation is complete that is under way; None if none is."""
        ends = [root.trusted_until for root in self.roots if root.trusted_until]
        return max((end for end in ends if end > now), default=None)

    def rotated(
        self,
        new: Callable[[datetime], Root],
        now: datetime,
        overlap: float,
        last: float,
    ) -> "Authority":
        """Return the same with a new root, which signs in ``overlap`` seconds.

        The present one is trusted ``last`` seconds longer than that.
        """
        signs_from = now + timedelta(seconds=overlap)
        until = signs_from + timedelta(seconds=last)
        kept = [
            msgspec.structs.replace(root, trusted_until=root.trusted_until or until)
            for root in self.trusted(now)
        ]
        return Authority(self.trust_domain, (*kept, new(signs_from)))


class StoredAuthority(msgspec.Struct, frozen=True):
    """An authority, and the revision of the write that stored it."""

    authority: Authority
    revision: int


_decode = msgspec.json.Decoder(Authority).decode


def encode(authority: Authority) -> bytes:
    """Return the record to store."""
    return schema.encode(authority)


def decode(value: bytes) -> Authority:
    """Return the authority in a record; raise `StoreCorrupt` if it holds none."""
    try:
        authority = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreCorrupt(f"{KEY} does not hold an authority: {error}") from None
    if not authority.roots:
        raise StoreCorrupt(f"{KEY} holds an authority without a root")
    return authority
