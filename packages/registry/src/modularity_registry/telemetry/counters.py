"""What the registry counts and times. `api.metrics` exports it by Prometheus' names.

Each part adds to plain numbers, which costs a tenth of a counter of the client
library. Under the interpreter's lock nothing interrupts an addition to an attribute or
an item of a list, so none is lost.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from operator import add
from typing import Final

BOUNDS: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""Upper bounds of the buckets of all durations, in seconds."""


class Timings:
    """A histogram of durations. ``total`` is in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    @classmethod
    def sum(cls, parts: Iterable["Timings"]) -> "Timings":
        """Return the durations of all ``parts`` together."""
        whole = cls()
        for part in parts:
            whole.counts = list(map(add, whole.counts, part.counts))
            whole.total += part.total
        return whole

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)


class Metrics:
    """The counters of one registry. Each part adds to its own, any thread reads.

    Those of a namespace share with ``whole`` what is timed of the process: requests,
    propagation and the store.
    """

    def __init__(self, whole: "Metrics | None" = None) -> None:
        self.propagation = Timings()
        self.requests: dict[tuple[str, int], Timings] = {}
        self.store: dict[str, Timings] = {}
        self.store_errors: Counter[str] = Counter()
        if whole is not None:
            self.propagation, self.requests = whole.propagation, whole.requests
            self.store, self.store_errors = whole.store, whole.store_errors
        self.checks = {"success": Timings(), "failure": Timings()}
        self.late_checks = 0
        self.registered = 0
        self.replaced = 0
        self.unregistered = 0
        self.expired = 0
        self.heartbeats = 0
        self.dns_replies = {"udp": 0, "tcp": 0}
        self.dns_truncated = {"size": 0, "new_sender": 0, "rate": 0}

    def request(self, route: str, status: int) -> Timings:
        """Return the timings of a route's replies with this status."""
        timings = self.requests.get((route, status))
        if timings is None:
            timings = self.requests.setdefault((route, status), Timings())
        return timings

    def operation(self, name: str) -> Timings:
        """Return the timings of one of the store's operations."""
        timings = self.store.get(name)
        if timings is None:
            timings = self.store.setdefault(name, Timings())
        return timings
