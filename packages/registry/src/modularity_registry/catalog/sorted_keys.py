"""Keys in order, for one writer and readers in other threads."""

from bisect import bisect_left, bisect_right
from itertools import chain
from typing import Final

LARGEST_CHUNK: Final = 512


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
