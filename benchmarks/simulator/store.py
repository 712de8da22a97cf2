"""The store: so many writes a second, a round trip, and times in which it is away."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.simulator.virtual_time import VirtualTime
from modularity_registry.stores.base import Write

Done = Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class StoreModel:
    """A store's speed (seconds), and when it is ``away``: from, until.

    ``bandwidth`` is how many bytes a second it can send to all replicas together.
    """

    batch: float
    write: float
    bandwidth: float = 1.25e9
    away: tuple[float, float] | None = None


class SimulatedStore:
    """Carries out one batch after the other, and has replicas see the changes.

    A write may stand for several: those that replicas make which are not simulated one
    by one. ``writes`` counts them by second.
    """

    def __init__(self, time: VirtualTime, model: StoreModel) -> None:
        self._time = time
        self._model = model
        self._free_at = 0.0
        self.writes: defaultdict[int, float] = defaultdict(float)
        self.watches: list[Callable[[Sequence[Write], Sequence[float]], None]] = []

    @property
    def is_away(self) -> bool:
        """Whether it answers nobody now."""
        away = self._model.away
        return away is not None and away[0] <= self._time.monotonic() < away[1]

    def commit(
        self, batch: Sequence[Write], weights: Sequence[float], done: Done
    ) -> None:
        """Carry ``batch`` out and call ``done``; ``weights`` say how many each is."""
        if self.is_away:
            at = self._time.monotonic() + self._model.batch
            self._time.at(at, lambda: done(False))
            return
        end = self._work(sum(weights)) + self._model.batch
        self._time.at(end, lambda: self._committed(batch, weights, done))

    def load(self, writes: float) -> None:
        """Carry out writes that nobody waits for here."""
        if not self.is_away:
            self.writes[int(self._work(writes))] += writes

    def _work(self, writes: float) -> float:
        begin = max(self._free_at, self._time.monotonic())
        self._free_at = begin + writes * self._model.write
        return self._free_at

    def _committed(
        self, batch: Sequence[Write], weights: Sequence[float], done: Done
    ) -> None:
        if self.is_away:
            done(False)
            return
        self.writes[int(self._time.monotonic())] += sum(weights)
        for send in list(self.watches):
            send(batch, weights)
        done(True)
