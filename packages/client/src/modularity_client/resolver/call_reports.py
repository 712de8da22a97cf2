"""Reports calls between services to the registry, in the background and in batches."""

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
"""Reports that wait to be sent; when there are more, the new ones are dropped."""

INTERVAL = 0.25
"""Seconds for which reports are collected before they are sent."""

BATCH = 100
"""Reports sent in one go. Sending takes interpreter time from the callers."""

TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class CallReport:
    """The outcome of one call, as its caller saw it."""

    consumer_id: str
    provider_id: str
    capability: str
    success: bool
    latency_ms: float | None


class CallReporter:
    """Queues reports and sends them. ``wake`` runs a function in the loop later."""

    def __init__(
        self, driver: AsyncDriver, wake: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self.dropped = 0
        self._wake = wake
        self._queue: deque[CallReport] = deque()
        self._woken = False
        self._refused = False
        self._sending: asyncio.Task[None] | None = None
        self._driver = driver

    def add(self, report: CallReport) -> None:
        """Queue a report, from any thread; returns at once."""
        if len(self._queue) >= QUEUE:
            self.dropped += 1
            return
        self._queue.append(report)
        if not self._woken:
            self._woken = True  # two threads may both wake it, which does no harm
            self._wake(INTERVAL, self._begin)

    async def flush(self) -> None:
        """Send all queued reports. Call it in the loop."""
        if self._sending is not None:
            await asyncio.wait({self._sending})
        await self._send(QUEUE)

    def _begin(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send(BATCH))

    async def _send(self, limit: int) -> None:
        # One after the other: a burst would take the interpreter from the callers.
        for _ in range(limit):
            if not self._queue:
                break
            if not await self._send_one(self._queue.popleft()):
                self.dropped += 1 + len(self._queue)
                self._queue.clear()
                break
        # In this order: a report that comes in between is seen, or wakes this again.
        self._woken = False
        if self._queue and not self._woken:
            self._woken = True
            self._wake(INTERVAL, self._begin)

    async def _send_one(self, report: CallReport) -> bool:
        """Send one report; return whether the registry can take more."""
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
                log.warning(
                    "calls are not reported: the token needs the right 'track': %s",
                    error.detail,
                )
            self._refused = True
            return False
        except RegistryError as error:
            self.dropped += 1
            log.debug("the registry refused a report: %s", error)
        return True
