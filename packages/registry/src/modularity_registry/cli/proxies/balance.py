"""Which providers of a capability get calls, and how many of them each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from modularity_client import Service
from modularity_client.locality import NOWHERE, ZONE_THRESHOLD, Place, nearest
from modularity_client.splits import divide, getting_calls

ACTIVE = ("healthy", "warning")
"""The statuses of services that get calls, the best one first."""


class Weighted(NamedTuple):
    """A provider that gets calls, and its part of them."""

    service: Service
    weight: int


def weighted(
    providers: Sequence[Service],
    split: Mapping[str, int] | None,
    largest: int,
    place: Place = NOWHERE,
) -> list[Weighted]:
    """Return who gets calls, in the order of ``providers``, as a lookup chooses.

    That is the healthy ones with the best priority; of these, those near to ``place``;
    each group by the split. Weights are from 1 to ``largest``: as registered where that
    can be.
    """
    groups = divide(providers, split) if split else {}
    best = {name: _best(members, place) for name, members in groups.items()}
    weights = getting_calls(split or {}, [name for name in best if best[name]])
    if not weights:
        members = _best(providers, place)
        parts = {each.id: float(each.weight) for each in _with_weight(members)}
        exact = all(each.weight <= largest for each in members)
    else:
        parts, exact = {}, False
        for name, weight in weights.items():
            parts |= _divided(_with_weight(best[name]), weight)
    highest = max(parts.values(), default=0) or 1
    scale = 1 if exact else largest / highest
    return [
        Weighted(each, max(1, round(parts[each.id] * scale)))
        for each in providers
        if each.id in parts
    ]


def _best(providers: Sequence[Service], place: Place) -> tuple[Service, ...]:
    """Return who of these may get calls, as if there were no weights."""
    for status in ACTIVE:
        members = [each for each in providers if each.status == status]
        if members:
            first = min(each.priority for each in members)
            best = tuple(each for each in members if each.priority == first)
            return nearest(best, providers, place, ZONE_THRESHOLD)
    return ()


def _with_weight(members: Sequence[Service]) -> Sequence[Service]:
    """Return those with a weight, or all if none has one."""
    return [each for each in members if each.weight] or members


def _divided(members: Sequence[Service], weight: int) -> dict[str, float]:
    """Return the part that each of a group has of the weight of the group."""
    total = sum(each.weight for each in members)
    return {
        each.id: weight * (each.weight / total if total else 1 / len(members))
        for each in members
    }
