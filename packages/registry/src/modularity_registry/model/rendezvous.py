"""Rendezvous hashing: every observer picks the same candidate for a key."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    return max(candidates, key=_scores(key))


def is_picked(key: str, candidate: Identified, others: Iterable[Identified]) -> bool:
    """Return whether `pick` chooses ``candidate`` among it and ``others``.

    Stops at the first that scores higher: for random keys and n candidates after
    ln n + 1 of them on average, where `pick` looks at all.
    """
    score = _scores(key)
    own = score(candidate)
    return all(score(other) < own for other in others)


def _scores(key: str) -> Callable[[Identified], bytes]:
    prefix = hashlib.blake2b(key.encode(), digest_size=8)

    def score(candidate: Identified) -> bytes:
        digest = prefix.copy()
        digest.update(candidate.id.encode())
        return digest.digest()

    return score


def pick_weighted(key: str, weights: Mapping[str, int]) -> str:
    """Return the name that ``key`` belongs to; there must be one, and all weights > 0.

    Each gets its share of the keys. If a weight changes or a name leaves, only as many
    keys move as the shares do (weighted rendezvous hashing: Schindelhauer and
    Schomaker, 2005, the logarithmic method).
    """
    prefix = hashlib.blake2b(key.encode(), digest_size=8, person=b"group")

    def score(name: str) -> float:
        digest = prefix.copy()
        digest.update(name.encode())
        # Above 0 and below 1, so that the logarithm is a finite number other than 0.
        chance = ((int.from_bytes(digest.digest()) >> 12) + 0.5) / 2**52
        return -math.log(chance) / weights[name]

    return min(weights, key=score)
