"""Decides the outcomes of a batch of writes, before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import Change, Outcome, Write


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that go to the disk, and the outcome of every write."""

    changes: Sequence[Change]
    outcomes: Sequence[Outcome]


def plan(batch: Sequence[Write], revisions: Mapping[str, int], newest: int) -> Plan:
    """Return what ``batch`` does to records with these ``revisions``, by key.

    Its own revisions follow ``newest``.
    """
    changes: list[Change] = []
    outcomes: list[Outcome] = []
    for key, value, expected in batch:
        actual = revisions.get(key, 0)
        if expected is not None and expected != actual:
            outcomes.append(StoreConflict(key, actual))
        elif value is None and not actual:
            outcomes.append(None)
        else:
            newest += 1
            changes.append(Change(key, value, newest))
            outcomes.append(newest)
    return Plan(changes, outcomes)
