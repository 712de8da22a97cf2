"""Long work on the event loop, a little at a time."""

import asyncio
import logging
from collections.abc import Callable, Iterator

from modularity_registry.tasks import SLICE

log = logging.getLogger(__name__)


class Slices:
    """Runs what ``work`` yields from, in slices, until there is no more of it."""

    def __init__(
        self, work: Callable[[], Iterator[None]], monotonic: Callable[[], float]
    ) -> None:
        self._work = work
        self._monotonic = monotonic
        self._running: Iterator[None] | None = None

    def wake(self) -> None:
        """Begin at the loop's next turn, unless it has begun."""
        if self._running is None:
            self._running = self._work()
            asyncio.get_running_loop().call_soon(self._turn, self._running)

    def abandon(self) -> None:
        """Give up the work that has begun."""
        self._running = None

    def _turn(self, running: Iterator[None]) -> None:
        if running is not self._running:
            return
        until = self._monotonic() + SLICE
        try:
            for _ in running:
                if running is not self._running:
                    return
                if self._monotonic() >= until:
                    asyncio.get_running_loop().call_soon(self._turn, running)
                    return
        except Exception:
            log.exception("some work failed")
            self._running = None
            self.wake()  # for the rest
            return
        if running is self._running:
            self._running = None
