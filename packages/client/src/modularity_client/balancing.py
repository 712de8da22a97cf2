"""Which of several providers gets the next call."""

import hashlib
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, cycle
from typing import Literal, get_args

from modularity_client.types.services import Service

Strategy = Literal["round_robin", "random", "weighted", "hash"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def rendezvous(key: str, services: Sequence[Service]) -> Service:
    """Return the service that ``key`` belongs to; there must be one.

    Highest random weight (Thaler and Ravishankar, 1998), computed as the registry
    does, so that both pick the same: when a provider leaves, only its own keys move.
    """
    prefix = hashlib.blake2b(key.encode(), digest_size=8)

    def score(service: Service) -> bytes:
        each = prefix.copy()
        each.update(service.id.encode())
        return each.digest()

    return max(services, key=score)


class Choice:
    """Services to choose from, never changed once made; safe to share by threads.

    Turns begin anywhere: callers that start together don't all begin with the first.
    """

    __slots__ = ("_last", "_thresholds", "services", "turn")

    def __init__(self, services: tuple[Service, ...]) -> None:
        self.services = services
        start = random.randrange(len(services)) if services else 0
        # One step of a cycle is one step of the interpreter: no lock, no counter.
        self.turn: Callable[[], Service] = cycle(
            services[start:] + services[:start]
        ).__next__
        self._thresholds = list(accumulate(each.weight for each in services))
        self._last = len(services) - 1

    def chance(self) -> Service:
        """Return any."""
        return self.services[int(random.random() * len(self.services))]

    def weighted(self) -> Service:
        """Return one by its weight; one of weight 0 only when there are no others."""
        total = self._thresholds[-1]
        if not total:
            return self.chance()
        # A product may round up to the total itself; hence the last as upper bound.
        at = random.random() * total
        return self.services[bisect_right(self._thresholds, at, 0, self._last)]

    def picker(self, strategy: Strategy) -> Callable[[], Service] | None:
        """Return what picks without being told anything; None where a key is needed."""
        if strategy == "round_robin":
            return self.turn
        return {"random": self.chance, "weighted": self.weighted}.get(strategy)

    def pick(self, strategy: Strategy, key: str | None = None) -> Service:
        """Return one of the services, of which there must be one.

        Raises `ValueError` for an unknown strategy, or ``hash`` without a key.
        """
        picker = self.picker(strategy)
        if picker is not None:
            return picker()
        if strategy != "hash":
            raise ValueError(f"{strategy!r} is not one of {', '.join(STRATEGIES)}")
        if key is None:
            raise ValueError("strategy 'hash' picks by key=; give one")
        return rendezvous(key, self.services)
