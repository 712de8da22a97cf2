"""Answers that are kept as bytes for as long as the catalog gives the same ones."""

from dataclasses import dataclass
from operator import eq
from typing import Final

from modularity_registry.dns import messages
from modularity_registry.dns.messages import Query, Rendered
from modularity_registry.dns.zone import Zone

MAX_ANSWERS: Final = 4096
MAX_RECORDS: Final = 65_536
"""Of all answers together. When there are more of either, the cache is cleared."""

_Question = tuple[tuple[bytes, ...], int]


@dataclass(slots=True)
class _Kept:
    answer: Rendered
    sources: tuple[object, ...]
    version: int


class Answers:
    """The answers of a zone. One loop's."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._kept: dict[_Question, _Kept] = {}
        self._records = 0

    def find(self, query: Query, limit: int) -> Rendered:
        """Return the answer to ``query`` now; its reply may have ``limit`` bytes."""
        question = query.labels, query.type
        plain = query.family == messages.CLASS_IN and not (
            query.edns and query.edns.version
        )
        kept = self._kept.get(question) if plain else None
        if kept is not None and kept.version == self._zone.version:
            return kept.answer
        sources = self._zone.sources(query)
        if kept is not None and _same(kept.sources, sources):
            kept.version = self._zone.version
            return kept.answer
        # To read the records of more than can fit would be in vain.
        crowd = min(messages.MOST, limit // messages.SHORTEST)
        answer = messages.render(self._zone.answer(query, crowd))
        if plain and not answer.chosen:
            self._keep(question, _Kept(answer, sources, self._zone.version))
        return answer

    def _keep(self, question: _Question, kept: _Kept) -> None:
        former = self._kept.pop(question, None)
        if former is not None:
            self._records -= len(former.answer.parts)
        self._records += len(kept.answer.parts)
        if len(self._kept) >= MAX_ANSWERS or self._records > MAX_RECORDS:
            self._kept.clear()
            self._records = len(kept.answer.parts)
        self._kept[question] = kept


def _same(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    """Return whether these are the same, at least one; each equals itself alone."""
    return len(some) == len(others) > 0 and all(map(eq, some, others))
