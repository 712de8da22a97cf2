"""The rates that are set, each for any number of clients."""

import logging

import limits

from modularity_registry.clock import Clock
from modularity_registry.config import OFF, Settings
from modularity_registry.errors import TooManyRequests
from modularity_registry.ratelimit.counters import IN_MEMORY, Ledger, open_ledger

log = logging.getLogger(__name__)

FAILURES = "30/minute"
"""So many tokens that are no good are answered with 401 to one address, then 429."""


SLACK = 0.01
"""Seconds that a wait may be off: Redis counts in milliseconds, floats in steps."""


class Rate:
    """One rate: so many calls of a kind in a time, for each client.

    Sliding: what the last window held counts on in proportion, so that no client can
    make twice as many calls around the moment where one window follows another.
    """

    def __init__(self, text: str, kind: str, ledger: Ledger) -> None:
        self._item = limits.parse(text)
        self._text = text
        self._kind = kind
        self._ledger = ledger

    def takes(self, client: str) -> bool:
        """Count a call of ``client`` and say yes, or count nothing and say no."""
        return self._ledger.take(self._item, self._kind, client)

    def take(self, client: str) -> None:
        """Count a call of ``client``; raise `TooManyRequests` if it is over the rate.

        The error has after how many whole seconds another one is taken, should the
        client make none meanwhile.
        """
        if self.takes(client):
            return
        wait = self._ledger.wait(self._item, self._kind, client)
        # At the very moment there is no room yet, and clocks are a little off.
        seconds = int(wait + SLACK) + 1
        raise TooManyRequests(
            f"{client} makes more {self._kind} than the {self._text} that are allowed"
            f" here; ask again in {seconds} s",
            seconds,
        )


class Rates:
    """All rates of this process; None for those that are not set."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Raises `BadSetting` as `open_ledger` does."""
        self._ledger = open_ledger(settings.rate_store, clock.monotonic)
        self.writes = self._rate(settings.write_rate, "writes")
        self.reads = self._rate(settings.read_rate, "reads")
        self.failures = Rate(FAILURES, "calls with bad tokens", self._ledger)

    @property
    def fault(self) -> str | None:
        """Why nothing is counted at the moment; None while it is.

        Without a call to count, nobody else would find out that it is again.
        """
        self._ledger.look()
        return self._ledger.fault

    def close(self) -> None:
        """Give up the connections. Idempotent."""
        self._ledger.close()

    def _rate(self, text: str, kind: str) -> Rate | None:
        return None if text == OFF else Rate(text, kind, self._ledger)


def warn_of_workers(settings: Settings) -> None:
    """Log it if every worker counts for itself, which makes a rate as many times it."""
    set_ones = {settings.write_rate, settings.read_rate} - {OFF}
    if settings.workers > 1 and settings.rate_store == IN_MEMORY and set_ones:
        log.warning(
            "each of the %d workers counts rates alone, so a client may get through"
            " with %d times as many calls; give --rate-store redis://... to count"
            " them together",
            settings.workers,
            settings.workers,
        )
