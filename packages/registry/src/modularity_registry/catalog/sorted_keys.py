"""Keys in order, for one writer and readers in other threads."""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

LARGEST_CHUNK: Final = 512

RUN: Final = 10_000
"""Keys that `SortedKeys.fill` sorts at once: that takes a few milliseconds."""


class SortedKeys:
    """A sorted set of texts in chunks that are replaced, never changed.

    So a reader's reference stays as it is, and a change costs a few microseconds,
    however many keys there are.
    """

    def __init__(self) -> None:
        self._chunks: list[list[str]] = []
        self._joined: tuple[list[list[str]], list[str]] = self._chunks, []

    def all(self) -> list[str]:
        """Return the keys in order; not to be changed by the caller."""
        chunks = self._chunks
        joined = self._joined
        if joined[0] is not chunks:
            self._joined = joined = chunks, list(chain.from_iterable(chunks))
        return joined[1]

    def chunks(self) -> list[list[str]]:
        """Return the keys in order, in short lists; none is to be changed."""
        return self._chunks

    def fill(self, keys: list[str]) -> Iterator[None]:
        """Replace all keys by these, each there once. For the writer.

        Yields after each step, for others to have a turn; the keys are there at the
        end. A key takes a tenth of the time of `add`.
        """
        runs = []
        for start in range(0, len(keys), RUN):
            runs.append(sorted(keys[start : start + RUN]))
            yield
        merged = heapq.merge(*runs)
        chunks: list[list[str]] = []
        while chunk := list(islice(merged, LARGEST_CHUNK // 2)):
            chunks.append(chunk)
            yield
        self._chunks = chunks

    def add(self, key: str) -> None:
        """Add ``key``, unless it is there. For the writer."""
        if not self._chunks:
            self._chunks = [[key]]
            return
        at, chunk, place = self._find(key)
        if place == len(chunk) or chunk[place] != key:
            self._replace(at, [*chunk[:place], key, *chunk[place:]])

    def remove(self, key: str) -> None:
        """Remove ``key`` if it is there. For the writer."""
        if self._chunks:
            at, chunk, place = self._find(key)
            if place < len(chunk) and chunk[place] == key:
                self._replace(at, chunk[:place] + chunk[place + 1 :])

    def _find(self, key: str) -> tuple[int, list[str], int]:
        """Return the chunk of ``key``, its number, and the place of ``key`` in it."""
        at = max(0, bisect_right(self._chunks, key, key=_first) - 1)
        chunk = self._chunks[at]
        return at, chunk, bisect_left(chunk, key)

    def _replace(self, at: int, chunk: list[str]) -> None:
        chunks = [chunk] if chunk else []
        if len(chunk) > LARGEST_CHUNK:
            half = len(chunk) // 2
            chunks = [chunk[:half], chunk[half:]]
        self._chunks = [*self._chunks[:at], *chunks, *self._chunks[at + 1 :]]


def _first(chunk: list[str]) -> str:
    return chunk[0]
