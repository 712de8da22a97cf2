"""Keeps the services of a source as they are there, until it is told to end."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from time import monotonic
from typing import Any, Final

from modularity_client import AsyncRegistry, RegistryError, Service
from modularity_registry import tasks
from modularity_registry.cli.mirror.plan import Plan, is_suspicious, plan_of
from modularity_registry.cli.mirror.source import (
    Instance,
    Snapshot,
    Source,
    SourceAway,
)
from modularity_registry.cli.mirror.target import Beat, Done, Target
from modularity_registry.model.service import CHECKED_MODES
from modularity_registry.telemetry import logs

log = logging.getLogger(__name__)

STALE_AFTER: Final = 30.0
"""Seconds without an answer of the source after which its services warn."""

RETRY: Final = 2.0
"""Seconds until what has failed is tried again."""

REPEAT: Final = 60.0
"""Seconds until a log line that still holds is written again."""


class Mirror:
    """Follows a source.

    It keeps nothing: each round compares the source with what carries its mark, so that
    a restart of any of the three changes nothing.
    """

    def __init__(
        self,
        registry: AsyncRegistry,
        source: Source,
        name: str,
        only: tuple[str, ...],
        ttl: float,
        force: bool,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._target = Target(registry, name, only)
        self._source = source
        self._name = name
        self._ttl = ttl
        self._force = force
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._answered = clock()
        self._empty_since: float | None = None
        self._changed = asyncio.Event()
        self._said: dict[str, float] = {}

    async def run(self) -> None:
        """Follow the source until cancelled."""
        reader = tasks.start("mirror-source", self._read())
        try:
            while True:
                await self._round()
                # A third of the lease: two reports may be lost.
                await _wait_for(self._changed, self._ttl / 3)
                self._changed.clear()
        finally:
            await tasks.cancel(reader)

    def _lease(self, mode: str) -> dict[str, Any]:
        """Return the fields of a service whose health is that at the source."""
        return {"ttl": self._ttl, "checks": [], **unchecked(mode)}

    async def _read(self) -> None:
        while True:
            try:
                async with aclosing(self._source.follow()) as snapshots:
                    async for snapshot in snapshots:
                        self._take(snapshot)
            except SourceAway as error:
                self._say(f"{self._name} does not answer", reason=str(error))
            except Exception:  # whatever it sends, the mirror goes on
                log.exception("%s can't be read", self._name)
            await asyncio.sleep(RETRY)

    def _take(self, snapshot: Snapshot) -> None:
        now = self._clock()
        self._answered = now
        if snapshot:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            self._changed.set()

    async def _round(self) -> None:
        """Bring the registry up to date once, and report the health of all."""
        snapshot = self._snapshot
        if snapshot is None:
            return
        try:
            mirrored = await self._target.mirrored()
            plan = plan_of(snapshot, mirrored, self._name, self._lease)
            held = self._held(plan)
            done = await self._target.carry_out(plan, remove=not held)
            await self._target.beat(self._beats(plan, held))
        except RegistryError as error:
            self._say("the registry does not take changes", reason=error.detail)
            await asyncio.sleep(RETRY)
            self._changed.set()
            return
        if done.wrote:
            _tell_of(done, len(snapshot), self._name)

    def _held(self, plan: Plan) -> tuple[Service, ...]:
        """Return the services that are gone, if they are to stay nevertheless."""
        empty = self._empty_since
        empty_for = 0.0 if empty is None else self._clock() - empty
        if self._force or not is_suspicious(plan, empty_for):
            return ()
        self._say(
            f"{self._name} no longer lists {len(plan.gone)} of"
            f" {len(plan.gone) + len(plan.same)} services: they stay, with a warning;"
            " run mirror with --force if they are really gone"
        )
        return plan.gone

    def _beats(self, plan: Plan, held: tuple[Service, ...]) -> list[Beat]:
        silent = self._clock() - self._answered
        note = f"{self._name} has not answered for {silent:.0f} s"
        is_stale = silent > STALE_AFTER
        beats = [
            Beat(service.id, *_reported(instance, note if is_stale else ""))
            for service, instance in plan.same
        ]
        lost = f"{self._name} no longer lists it"
        return beats + [Beat(service.id, "warning", lost) for service in held]

    def _say(self, text: str, **values: Any) -> None:
        """Log a warning, and the same again only after a while."""
        now = self._clock()
        key = "".join(letter for letter in text if not letter.isdigit())
        if now - self._said.get(key, -REPEAT) >= REPEAT:
            self._said[key] = now
            logs.log_event(log, logging.WARNING, text, **values)


def unchecked(mode: str) -> dict[str, Any]:
    """Return the field that leaves out the check of a mode, for one that has any."""
    return {"health": {"enabled": False}} if mode in CHECKED_MODES else {}


def _reported(instance: Instance, stale: str) -> tuple[Any, str]:
    if stale and instance.health == "healthy":
        return "warning", stale
    return instance.health, instance.note


def _tell_of(done: Done, total: int, name: str) -> None:
    logs.log_event(
        log,
        logging.INFO,
        "mirrored",
        source=name,
        services=total,
        new=done.new or None,
        changed=done.changed or None,
        removed=done.removed or None,
        refused=done.refused or None,
        left_alone=len(done.native) or None,
    )


async def _wait_for(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
