"""Services that go when one of their checks has been critical for too long."""

import asyncio
import logging
from typing import Final

from modularity_registry import tasks
from modularity_registry.catalog.entry import Entry
from modularity_registry.errors import RegistryError
from modularity_registry.integrations.consul.tracker import Tracker
from modularity_registry.runtime import Registry

_log = logging.getLogger(__name__)

PERIOD: Final = 30.0
"""Seconds between two looks, as in Consul."""


class Departures:
    """Unregisters the services of one namespace that this replica watches over.

    Only what it has seen itself counts, by its own clock: a check that another replica
    watched over before gets its full time again.
    """

    def __init__(
        self, registry: Registry, tracker: Tracker, period: float = PERIOD
    ) -> None:
        self._registry = registry
        self._tracker = tracker
        self._period = period
        self._since: dict[tuple[str, str], float] = {}
        self._task: asyncio.Task[None] | None = None
        self.unregistered = 0

    def start(self) -> None:
        """Begin to look."""
        self._task = tasks.start("consul-departures", self._run())

    async def stop(self) -> None:
        """Stop looking. Idempotent."""
        await tasks.cancel(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            await self.look()

    async def look(self) -> None:
        """Unregister those whose time is over."""
        registry, critical = self._registry, set()
        if registry.view_health.stale_reason is not None:
            self._since.clear()
            return
        now = registry.clock.monotonic()
        async for service_id in tasks.in_slices(list(self._tracker.leaving)):
            entry = registry.catalog.service(service_id)
            if entry is None or entry.status not in ("unhealthy", "draining"):
                continue
            if not registry.membership.owns(service_id):
                continue
            failing = {fault.check for fault in entry.service.faults}
            for name, seconds in self._tracker.leaving.get(service_id, {}).items():
                if name not in failing:
                    continue
                critical.add((service_id, name))
                since = self._since.setdefault((service_id, name), now)
                if now - since >= seconds:
                    await self._unregister(entry, name, seconds)
                    break
        for key in self._since.keys() - critical:
            del self._since[key]

    async def _unregister(self, entry: Entry, name: str, seconds: float) -> None:
        try:
            await self._registry.commands.expire(entry)
        except RegistryError as error:
            _log.warning("could not unregister %s: %s", entry.id, error.detail)
            return
        self.unregistered += 1
        _log.info(
            "unregistered %s: its check %s was critical for more than %g s",
            *(entry.id, name, seconds),
        )
