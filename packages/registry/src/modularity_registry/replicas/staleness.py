"""Whether the view is current, and if not, since when."""

import logging
import threading
from collections.abc import Callable

from modularity_registry.clock import Clock

log = logging.getLogger(__name__)

PERIOD = 0.25
"""Seconds between two looks."""

Doubt = Callable[[], str | None]


class Freshness:
    """What all who may doubt the view say of it. Read from any thread.

    ``since`` is when (monotonic) the view went stale, None while it is fresh: one
    attribute, because every read looks at it.
    """

    def __init__(self, clock: Clock, doubts: tuple[Doubt, ...]) -> None:
        self.since: float | None = None
        self.reason: str | None = None
        self._clock = clock
        self._doubts = doubts
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="freshness", daemon=True)

    @property
    def stale_seconds(self) -> int | None:
        """For how long the view has been stale, in whole seconds; None if fresh."""
        since = self.since
        return None if since is None else int(self._clock.monotonic() - since)

    def look(self) -> None:
        """Ask everyone now."""
        with self._lock:
            reasons = (doubt() for doubt in self._doubts)
            reason = next((each for each in reasons if each is not None), None)
            since, now = self.since, self._clock.monotonic()
            if reason is None:
                self.since = None
            elif since is None:
                self.since = now
            self.reason = reason
        if since is None and reason is not None:
            log.warning("the view may be out of date: %s", reason)
        elif since is not None and reason is None:
            log.info("the view is current again after %.1f s", now - since)

    def start(self) -> None:
        """Go on looking, in a thread of its own."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Stop looking. Idempotent."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            self.look()
