"""Which of the registry's URLs to connect to next, and when."""

import random
from collections.abc import Callable, Iterable

RETRY = 1.0
"""Seconds of the first pause, unless the server asks for another."""

LONGEST = 15.0
"""No pause is longer than this many seconds, unless the server asks for it."""

SWITCH_WITHIN = 0.1
"""Seconds within which the watchers of a lost replica connect to the next one."""


class ReconnectSchedule:
    """Remembers when to try each URL again. Times are monotonic seconds.

    Pauses grow with the failures in a row and have full jitter, so that clients that
    lost the same registry do not all reconnect at the same moment.
    """

    def __init__(
        self, urls: Iterable[str], chance: Callable[[], float] = random.random
    ) -> None:
        self.retry = RETRY
        self._chance = chance
        self._failures = dict.fromkeys(urls, 0)
        self._not_before = dict.fromkeys(self._failures, 0.0)
        if not self._failures:
            raise ValueError("a registry needs at least one URL")
        self._switch_soon = False
        self._current = ""

    def next(self, now: float) -> tuple[str, float]:
        """Return the next URL, and the seconds to wait before connecting."""
        waits = {url: max(0.0, at - now) for url, at in self._not_before.items()}
        # Of the URLs that are due, prefer the one that worked, else the given order.
        url = min(waits, key=lambda url: (waits[url], url != self._current))
        wait = waits[url]
        if self._switch_soon and wait == 0.0:
            wait = SWITCH_WITHIN * self._chance()
        return url, wait

    def connected(self, url: str) -> None:
        """Note that the stream opened."""
        self._failures[url] = 0
        self._not_before[url] = 0.0
        self._current = url
        self._switch_soon = False

    def failed(self, url: str, now: float, retry_after: float | None = None) -> None:
        """Note a failure; ``retry_after`` is the pause (seconds) it asked for."""
        pause = min(LONGEST, self.retry * 2 ** min(self._failures[url], 10))
        self._failures[url] += 1
        wait = max(pause * self._chance(), retry_after or 0.0)
        self._not_before[url] = now + wait
        self._current = ""
        self._switch_soon = True
