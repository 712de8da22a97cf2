"""Reports calls between services to the registry, in the background and in batches."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from modularity_client import calls
from modularity_client.errors import (
    Forbidden,
    InvalidRequest,
    RegistryError,
    RegistryUnreachable,
    Unauthorized,
    Unavailable,
    UnknownNamespace,
)
from modularity_client.http.transport import AsyncDriver
from modularity_client.types.registry import CallReport, RecordedCalls

log = logging.getLogger("modularity_client")

QUEUE = 2_000
"""Reports that wait to be sent; when there are more, the new ones are dropped."""

INTERVAL = 0.25
"""Seconds for which reports are collected before they are sent."""

BATCH = 500
"""Reports in one call. Sending takes interpreter time from the callers."""

SINGLE_CALLS = 100
"""Calls in a row to a registry that takes only one report in each."""

UPGRADE = 300.0
"""Seconds after which such a registry may be a newer one, and gets a batch again."""

TIMEOUT = 2.0

_NO_MORE = (
    RegistryUnreachable,
    Unavailable,
    Unauthorized,
    Forbidden,
    UnknownNamespace,
)
"""After these the registry takes no other report either."""


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
        self._single_until = 0.0
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
        while self._queue:
            await self._send()

    def _begin(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        """Send some of the queued reports, and have the others sent later."""
        try:
            if asyncio.get_running_loop().time() < self._single_until:
                await self._send_singly()
            else:
                await self._send_batch()
        except _NO_MORE as error:
            self._warn(error)
            self._remove(len(self._queue), recorded=0)
        # In this order: a report that comes in between is seen, or wakes this again.
        self._woken = False
        if self._queue and not self._woken:
            self._woken = True
            self._wake(INTERVAL, self._begin)

    async def _send_batch(self) -> None:
        batch = list(islice(self._queue, BATCH))
        recorded = 0
        try:
            recorded = await self._report(batch)
        except _NO_MORE:
            raise
        except RegistryError as error:
            if error.status in (404, 405):
                # An older registry. The batch is still queued.
                self._single_until = asyncio.get_running_loop().time() + UPGRADE
                return
            log.debug("the registry refused reports: %s", error)
        self._remove(len(batch), recorded)

    async def _report(self, batch: Sequence[CallReport]) -> int:
        """Send a batch, without its malformed reports; return how many count."""
        try:
            return (await self._run(batch)).recorded
        except InvalidRequest as error:
            good = _without_malformed(batch, error)
            if not good or len(good) == len(batch):
                raise
            log.debug("the registry refused reports: %s", error)
        return (await self._run(good)).recorded

    async def _send_singly(self) -> None:
        # One after the other: a burst would take the interpreter from the callers.
        for report in list(islice(self._queue, SINGLE_CALLS)):
            recorded = 1
            try:
                await self._driver.run(calls.track_invocation(**report), TIMEOUT)
            except _NO_MORE:
                raise
            except RegistryError as error:
                recorded = 0
                log.debug("the registry refused a report: %s", error)
            self._remove(1, recorded)

    async def _run(self, batch: Sequence[CallReport]) -> RecordedCalls:
        return await self._driver.run(calls.track_invocations(batch), TIMEOUT)

    def _remove(self, count: int, recorded: int) -> None:
        """Remove the oldest reports from the queue, and count those that were lost."""
        for _ in range(count):
            self._queue.popleft()
        self.dropped += count - recorded

    def _warn(self, error: RegistryError) -> None:
        if isinstance(error, Unauthorized | Forbidden) and not self._refused:
            self._refused = True
            log.warning(
                "calls are not reported: the token needs the right 'track': %s",
                error.detail,
            )


def _without_malformed(
    batch: Sequence[CallReport], error: InvalidRequest
) -> list[CallReport]:
    """Return the reports that ``error`` does not name (``invocations.3.success``)."""
    places = {each.field.split(".")[1] for each in error.errors if "." in each.field}
    return [report for place, report in enumerate(batch) if str(place) not in places]
