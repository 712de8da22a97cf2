"""Rendezvous hashing: every observer picks the same candidate for a key."""

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


Candidate = TypeVar("Candidate", bound=Identified)


def pick(key: str, candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate that ``key`` belongs to; ``candidates`` must not be empty.

    Highest random weight (Thaler and Ravishankar, 1998): every observer picks the
    same one, and when a candidate leaves, only its own keys move.
    """
    prefix = hashlib.blake2b(key.encode(), digest_size=8)

    def score(candidate: Candidate) -> bytes:
        digest = prefix.copy()
        digest.update(candidate.id.encode())
        return digest.digest()

    return max(candidates, key=score)
