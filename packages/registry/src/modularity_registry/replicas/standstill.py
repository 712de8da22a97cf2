"""Notices when this process stood still, so that nobody else is blamed for it."""

import asyncio
import logging
import math
from collections.abc import Callable

from modularity_registry.clock import Clock

log = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between two looks at the clock, when nothing else is due."""

MAX_STALL = 5.0
"""Two turns of the loop that are further apart (seconds) missed too much.

Undisturbed, they are `BEAT` apart at most.
"""


BACKLOG = 1.0
"""Seconds after a standstill in which a call may be one that waited all the while."""


class Standstill:
    """Measures the time between two turns of the event loop.

    It calls ``give_full_terms`` when they were too far apart: the process was paused,
    or something kept its loop busy, and it took no heartbeats meanwhile. ``count`` is
    how often that was.
    """

    def __init__(self, clock: Clock, give_full_terms: Callable[[], None]) -> None:
        self._clock = clock
        self._give_full_terms = give_full_terms
        self.count = 0
        self._ended = -math.inf
        self._last_turn: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Look at the clock. To be called before anyone is judged by it.

        After a standstill, all that came due runs at once, in no particular order.
        """
        if self._last_turn is None:
            return
        now = self._clock.monotonic()
        gap = now - self._last_turn
        self._last_turn = now
        if gap > MAX_STALL:
            log.warning(
                "the registry stood still for %.0f s; all leases get a full term", gap
            )
            self.count += 1
            self._ended = now
            self._give_full_terms()

    def is_over(self) -> bool:
        """Look, and return whether calls that come now did not wait in a standstill."""
        self.look()
        return self._clock.monotonic() - self._ended >= BACKLOG

    async def start(self) -> None:
        """Look at the clock every `BEAT` from now on."""
        self._last_turn = self._clock.monotonic()
        self._beat()

    async def stop(self) -> None:
        """Look no more. Idempotent."""
        self._last_turn = None
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self.look()
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)
