"""Rendezvous hashing: every observer picks the same member for a key."""

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec


class Identified(Protocol):
    """Anything with an id."""

    @property
    def id(self) -> str: ...


class Named(msgspec.Struct, frozen=True, gc=False):
    """An id, and nothing else to it."""

    id: str


Member = TypeVar("Member", bound=Identified)


def pick(key: str, members: Sequence[Member]) -> Member:
    """Return the member that ``key`` belongs to; ``members`` must not be empty.

    Highest random weight (Thaler and Ravishankar, 1998): every observer picks the
    same one, and when a member leaves, only its own keys move.
    """
    prefix = hashlib.blake2b(key.encode(), digest_size=8)

    def score(member: Member) -> bytes:
        digest = prefix.copy()
        digest.update(member.id.encode())
        return digest.digest()

    return max(members, key=score)
