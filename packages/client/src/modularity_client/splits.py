"""Traffic splits: which group of providers gets a call, as the registry chooses it."""

import hashlib
import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from modularity_client.balancing import Choice, Strategy
from modularity_client.types.services import Service

Groups = Mapping[str, int]
"""The weight of each group of providers, by its name."""


def group_of(service: Service, groups: Iterable[str]) -> str | None:
    """Return the group of a provider; None if it is in none.

    That is the group with the name of its ``metadata["tag"]``, else the one whose name
    is the longest beginning of its version, in whole parts between dots.
    """
    tag, parts = service.metadata.get("tag"), _parts(service.version)
    longest, found = 0, None
    for name in sorted(groups):
        if name == tag:
            return name
        begin = _parts(name)
        if len(begin) > longest and parts[: len(begin)] == begin:
            longest, found = len(begin), name
    return found


def _parts(version: str) -> list[str]:
    return version.removeprefix("v").split(".")


def divide(
    services: Iterable[Service], groups: Groups
) -> dict[str, tuple[Service, ...]]:
    """Return the providers in each group that has some, in order of its name."""
    members: dict[str, list[Service]] = {}
    for service in services:
        name = group_of(service, groups)
        if name is not None:
            members.setdefault(name, []).append(service)
    return {name: tuple(members[name]) for name in sorted(members)}


def getting_calls(groups: Groups, present: Iterable[str]) -> dict[str, int]:
    """Return the groups among those ``present`` that get calls, with their weights.

    Groups of weight 0 are left out, unless there are no others; then all have 1.
    """
    weights = {name: groups[name] for name in present}
    weighty = {name: weight for name, weight in weights.items() if weight}
    return weighty or dict.fromkeys(weights, 1)


def group_of_key(key: str, weights: Groups) -> str:
    """Return the group that a key belongs to; ``weights`` must be above 0.

    Weighted rendezvous hashing, computed as the registry does: if weights change, only
    as many keys move as the shares do.
    """
    prefix = hashlib.blake2b(key.encode(), digest_size=8, person=b"group")

    def score(name: str) -> float:
        digest = prefix.copy()
        digest.update(name.encode())
        chance = ((int.from_bytes(digest.digest(), "big") >> 12) + 0.5) / 2**52
        return -math.log(chance) / weights[name]

    return min(weights, key=score)


class SplitChoice(Choice):
    """Services to choose from, in groups: one is chosen by weight, then one of it."""

    __slots__ = ("_choices", "_names", "_totals", "_weights")

    def __init__(self, members: Mapping[str, Sequence[Service]], weights: Groups):
        super().__init__(tuple(each for name in weights for each in members[name]))
        self._weights = weights
        self._names = list(weights)
        self._choices = [Choice(tuple(members[name])) for name in weights]
        self._totals = list(accumulate(weights.values()))

    def picker(self, strategy: Strategy) -> Callable[[], Service] | None:
        """Return a function that picks without arguments; None if a key is needed."""
        pickers = [choice.picker(strategy) for choice in self._choices]
        totals, last = self._totals, len(pickers) - 1

        def pick() -> Service:
            # The product may round up to the total; hence the upper bound.
            at = bisect_right(totals, random.random() * totals[-1], 0, last)
            picker = pickers[at]
            assert picker is not None  # all have one, or none
            return picker()

        return None if pickers[0] is None else pick

    def pick(self, strategy: Strategy, key: str | None = None) -> Service:
        """Return one of the services; as `Choice.pick`."""
        if strategy != "hash" or key is None:
            return super().pick(strategy, key)
        name = group_of_key(key, self._weights)
        return self._choices[self._names.index(name)].pick(strategy, key)


def choice_of(
    tiers: Sequence[tuple[Service, ...]],
    providers: Sequence[Service],
    groups: Groups | None,
    near: Callable[[tuple[Service, ...], Sequence[Service]], tuple[Service, ...]],
) -> Choice:
    """Return the choice among ``providers``, of which those in ``tiers`` are usable.

    The first tier is the best one: in each group, as without groups, the others are for
    when it has nobody. A split chooses the group first; then come those of it that are
    ``near``. Those in no group count only if nobody usable is in one.
    """
    members: dict[str, tuple[Service, ...]] = {}
    for tier in tiers:
        for name, services in divide(tier, groups or {}).items():
            members.setdefault(name, services)
    if not groups or not members:
        return Choice(near(tiers[0] if tiers else (), providers))
    weights = getting_calls(groups, sorted(members))
    of_all = divide(providers, groups)
    return SplitChoice(
        {name: near(members[name], of_all[name]) for name in weights}, weights
    )
