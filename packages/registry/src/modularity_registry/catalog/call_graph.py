"""Who calls whom: what services report of their calls, summed up and bounded."""

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime

from modularity_registry.clock import Clock
from modularity_registry.schema import Invocation

MAX_PAIRS = 20_000
"""So many (caller, provider, capability) are kept; the longest silent go first."""

KEPT_SECONDS = 3_600.0
"""A pair that has been silent for this long is forgotten."""

RATE_SECONDS = 60.0
"""Calls per second are an average over about this long; older calls fade from it."""


@dataclass(slots=True)
class Pair:
    """All calls of one consumer to one provider for one capability.

    ``latency_ms`` is the sum over all calls that told theirs, ``timed`` their number,
    and ``rate`` the calls per second when ``heard``.
    """

    consumer_id: str
    provider_id: str
    capability: str
    first_seen: datetime
    last_seen: datetime
    heard: float
    calls: int = 0
    successes: int = 0
    timed: int = 0
    latency_ms: float = 0.0
    rate: float = 0.0

    @property
    def success_rate(self) -> float:
        """The share of calls that succeeded, 0 to 1."""
        return round(self.successes / self.calls, 4)

    @property
    def avg_latency_ms(self) -> float | None:
        """The mean latency in milliseconds; None when no call told it."""
        return round(self.latency_ms / self.timed, 3) if self.timed else None

    def calls_per_second(self, now: float) -> float:
        """Return the rate as it has faded since the last call."""
        return self.rate * math.exp((self.heard - now) / RATE_SECONDS)


class Traffic:
    """The pairs heard of lately, in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pairs: OrderedDict[tuple[str, str, str], Pair] = OrderedDict()

    def note(self, *calls: Invocation) -> None:
        """Add calls. From any thread."""
        now, heard = self._clock.now(), self._clock.monotonic()
        with self._lock:
            for call in calls:
                self._add(call, now, heard)

    def _add(self, call: Invocation, now: datetime, heard: float) -> None:
        key = (call.consumer_id, call.provider_id, call.capability)
        pair = self._pairs.get(key)
        if pair is None or self._silent(pair, heard):
            pair = self._pairs[key] = Pair(*key, now, now, heard)
        self._pairs.move_to_end(key)
        pair.rate = pair.calls_per_second(heard) + 1 / RATE_SECONDS
        pair.last_seen, pair.heard = now, heard
        pair.calls += 1
        pair.successes += call.success
        if call.latency_ms is not None:
            pair.timed += 1
            pair.latency_ms += call.latency_ms
        if len(self._pairs) > MAX_PAIRS:
            self._pairs.popitem(last=False)

    def pairs(self, service_id: str | None = None) -> list[Pair]:
        """Return the pairs, or those of one service on either side, oldest first.

        Their rates are those of now.
        """
        heard = self._clock.monotonic()
        with self._lock:
            while self._pairs:
                oldest = next(iter(self._pairs.values()))
                if not self._silent(oldest, heard):
                    break
                self._pairs.popitem(last=False)
            found = [
                replace(pair, rate=round(pair.calls_per_second(heard), 2), heard=heard)
                for pair in self._pairs.values()
            ]
        if service_id is None:
            return found
        return [p for p in found if service_id in (p.consumer_id, p.provider_id)]

    def _silent(self, pair: Pair, now: float) -> bool:
        return now - pair.heard >= KEPT_SECONDS
