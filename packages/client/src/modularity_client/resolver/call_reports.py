"""Tells the registry of calls between services: later, in batches, or not at all."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from modularity_client import calls
from modularity_client.errors import (
    Forbidden,
    RegistryError,
    RegistryUnreachable,
    Unauthorized,
    Unavailable,
)
from modularity_client.http.transport import AsyncDriver

log = logging.getLogger("modularity_client")

QUEUE = 2_000
"""So many calls are kept to be told of; when there are more, some are never told."""

EVERY = 0.25
"""Seconds for which calls are gathered before they are told of."""

BATCH = 100
"""So many are told of in one go: what is done here takes from the callers' time."""

TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Report:
    """One call, as its caller saw it."""

    consumer_id: str
    provider_id: str
    capability: str
    success: bool
    latency_ms: float | None


class Reports:
    """What is still to be told; ``wake`` runs something in the loop later."""

    def __init__(
        self, driver: AsyncDriver, wake: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self.dropped = 0
        self._wake = wake
        self._queue: deque[Report] = deque()
        self._woken = False
        self._refused = False
        self._sending: asyncio.Task[None] | None = None
        self._driver = driver

    def note(self, report: Report) -> None:
        """Queue a report, from any thread; returns at once."""
        if len(self._queue) >= QUEUE:
            self.dropped += 1
            return
        self._queue.append(report)
        if not self._woken:
            self._woken = True  # of two threads both may wake it, which does no harm
            self._wake(EVERY, self._begin)

    async def flush(self) -> None:
        """Send all there is. In the loop."""
        if self._sending is not None:
            await asyncio.wait({self._sending})
        await self._send(QUEUE)

    def _begin(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send(BATCH))

    async def _send(self, limit: int) -> None:
        # One after the other: a burst would keep the interpreter from the callers.
        for _ in range(limit):
            if not self._queue:
                break
            if not await self._tell(self._queue.popleft()):
                self.dropped += 1 + len(self._queue)
                self._queue.clear()
                break
        # In this order: who queues one between the two wakes it, or is seen.
        self._woken = False
        if self._queue and not self._woken:
            self._woken = True
            self._wake(EVERY, self._begin)

    async def _tell(self, report: Report) -> bool:
        """Send one; return whether there is somebody to tell."""
        call = calls.track_invocation(
            consumer_id=report.consumer_id,
            provider_id=report.provider_id,
            capability=report.capability,
            success=report.success,
            latency_ms=report.latency_ms,
        )
        try:
            await self._driver.run(call, TIMEOUT)
        except (RegistryUnreachable, Unavailable):
            return False
        except (Unauthorized, Forbidden) as error:
            if not self._refused:
                said = "calls are not reported, which takes the right to track"
                log.warning("%s: %s", said, error.detail)
            self._refused = True
            return False
        except RegistryError as error:
            self.dropped += 1
            log.debug("the registry does not take a report: %s", error)
        return True
