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
    """Return the service that ``key`` maps to; ``services`` must not be empty.

    Highest random weight (Thaler and Ravishankar, 1998), computed as the registry
    does, so that both pick the same: when a provider leaves, only its own keys move.
    """
    prefix = hashlib.blake2b(key.encode(), digest_size=8)

    def score(service: Service) -> bytes:
        digest = prefix.copy()
        digest.update(service.id.encode())
        return digest.digest()

    return max(services, key=score)


class Choice:
    """Services to choose from; never changes, thread-safe.

    Round robin starts at random: clients that start together don't all begin with the
    first service.
    """

    __slots__ = ("_last", "_thresholds", "services", "turn")

    def __init__(self, services: tuple[Service, ...]) -> None:
        self.services = services
        start = random.randrange(len(services)) if services else 0
        # A step of a cycle is atomic in the interpreter: no lock, no counter.
        self.turn: Callable[[], Service] = cycle(
            services[start:] + services[:start]
        ).__next__
        self._thresholds = list(accumulate(service.weight for service in services))
        self._last = len(services) - 1

    def chance(self) -> Service:
        """Return a random service."""
        return self.services[int(random.random() * len(self.services))]

    def weighted(self) -> Service:
        """Return one by weight; one of weight 0 only if there is no other."""
        total = self._thresholds[-1]
        if not total:
            return self.chance()
        # The product may round up to the total; hence the upper bound.
        at = random.random() * total
        return self.services[bisect_right(self._thresholds, at, 0, self._last)]

    def picker(self, strategy: Strategy) -> Callable[[], Service] | None:
        """Return a function that picks without arguments; None if a key is needed."""
        if strategy == "round_robin":
            return self.turn
        return {"random": self.chance, "weighted": self.weighted}.get(strategy)

    def pick(self, strategy: Strategy, key: str | None = None) -> Service:
        """Return one of the services, which must not be empty.

        Raises `ValueError` for an unknown strategy, or ``hash`` without a key.
        """
        picker = self.picker(strategy)
        if picker is not None:
            return picker()
        if strategy != "hash":
            raise ValueError(f"{strategy!r} is not one of {', '.join(STRATEGIES)}")
        if key is None:
            raise ValueError("strategy 'hash' needs a key=")
        return rendezvous(key, self.services)
