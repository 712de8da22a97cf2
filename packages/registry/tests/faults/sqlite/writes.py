"""Writes that were made, and what a store may hold after it was cut off."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

Held = Mapping[str, str]
"""What is held under each key."""


class Write(NamedTuple):
    """One write of ``value`` under ``key``, None for a removal.

    ``sent`` and ``answered`` in nanoseconds, monotonic; ``answered`` is None without a
    reply, and then the write may have been made or not. ``refused``: it was not made.
    """

    key: str
    value: str | None
    sent: int
    answered: int | None
    refused: bool = False

    def is_acknowledged(self, at: int) -> bool:
        return self.answered is not None and self.answered <= at and not self.refused


def acknowledged(writes: Iterable[Write], at: int) -> int:
    """Return how many writes had a good reply by then."""
    return sum(write.is_acknowledged(at) for write in writes)


def mistakes(writes: Iterable[Write], held: Held, at: int) -> list[str]:
    """Return what is wrong with ``held`` after a cut ``at`` a time; empty for nothing.

    Each key has one writer, which waits for each reply. So a key holds what the last
    acknowledged write left, or what one that was sent later and not refused would.
    """
    by_key = sorted(writes, key=lambda write: (write.key, write.sent))
    found, keys = [], set()
    for key, of_key in itertools.groupby(by_key, lambda write: write.key):
        keys.add(key)
        allowed = list(_allowed(of_key, at))
        if held.get(key) not in allowed:
            found.append(f"{key} holds {held.get(key)}, and not one of {allowed}")
    return found + [f"{key} was never written" for key in held.keys() - keys]


def _allowed(writes: Iterable[Write], at: int) -> Iterator[str | None]:
    values: list[str | None] = [None]
    for write in writes:
        if write.sent > at or write.refused:
            continue
        if write.is_acknowledged(at):
            values = []
        values.append(write.value)
    return iter(values)
