"""The rate limits that are set, for any number of clients."""

import logging

import limits

from modularity_registry.clock import Clock
from modularity_registry.config import OFF, Settings
from modularity_registry.errors import TooManyRequests
from modularity_registry.ratelimit.counters import (
    IN_MEMORY,
    CallCounters,
    open_counters,
)

log = logging.getLogger(__name__)

FAILURES = "30/minute"
"""How many calls of one address with a bad token get 401; further ones get 429."""


SLACK = 0.01
"""Seconds by which a wait may be off: Redis counts in milliseconds."""


class Rate:
    """One rate: a number of calls of one kind in a time, for each client.

    The window slides: calls of the window before count in proportion, so that no
    client can make twice as many calls around the end of a window.
    """

    def __init__(self, text: str, kind: str, counters: CallCounters) -> None:
        self._item = limits.parse(text)
        self._text = text
        self._kind = kind
        self._counters = counters

    @property
    def waits(self) -> bool:
        """Whether counting waits for another program's answer."""
        return self._counters.remote

    def takes(self, client: str) -> bool:
        """Return whether a call of ``client`` is within the rate; count it if so."""
        return self._counters.take(self._item, self._kind, client)

    def take(self, client: str) -> None:
        """Count a call of ``client``; raise `TooManyRequests` if it is over the rate.

        The error says after how many whole seconds the next call is accepted, if the
        client makes none meanwhile.
        """
        if not self.takes(client):
            raise self._over(client, self._wait(client))

    def check(self, client: str) -> None:
        """Raise `TooManyRequests` as `take` does, but count nothing.

        Where counting `waits`, all calls pass.
        """
        wait = 0.0 if self.waits else self._wait(client)
        if wait > 0:
            raise self._over(client, wait)

    def _wait(self, client: str) -> float:
        return self._counters.wait(self._item, self._kind, client)

    def _over(self, client: str, wait: float) -> TooManyRequests:
        # At that very moment the call is still over the rate, and clocks differ.
        seconds = int(wait + SLACK) + 1
        return TooManyRequests(
            f"{client} is over the limit of {self._text} for {self._kind}; retry in"
            f" {seconds} s",
            seconds,
        )


class Rates:
    """All rates of this process; None if a rate is not set."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Raises `BadSetting` as `open_counters` does."""
        self._counters = open_counters(settings.rate_store, clock.monotonic)
        self.writes = self._rate(settings.write_rate, "writes")
        self.reads = self._rate(settings.read_rate, "reads")
        self.failures = Rate(FAILURES, "calls with bad tokens", self._counters)

    @property
    def fault(self) -> str | None:
        """Why calls are not counted at the moment; None while they are.

        It also retries: without calls to count, nothing else would.
        """
        self._counters.look()
        return self._counters.fault

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._counters.close()

    def _rate(self, text: str, kind: str) -> Rate | None:
        return None if text == OFF else Rate(text, kind, self._counters)


def warn_of_workers(settings: Settings) -> None:
    """Log a warning if each worker counts alone, which multiplies every rate."""
    set_ones = {settings.write_rate, settings.read_rate} - {OFF}
    if settings.workers > 1 and settings.rate_store == IN_MEMORY and set_ones:
        log.warning(
            "each of the %d workers counts calls alone, so a client may make %d times"
            " as many; set --rate-store redis://... to count them together",
            settings.workers,
            settings.workers,
        )
