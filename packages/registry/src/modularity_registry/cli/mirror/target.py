"""The registry that services are mirrored into, called by our own client."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from modularity_client import AsyncRegistry, RevisionMismatch, Service, ServiceNotFound
from modularity_client.errors import (
    BadReply,
    RegistryError,
    RegistryUnreachable,
    Unauthorized,
    Unavailable,
)
from modularity_registry.cli.mirror.plan import Plan, Write
from modularity_registry.cli.mirror.source import SOURCE, Health, is_wanted
from modularity_registry.telemetry import logs

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""Calls under way."""

MOST_TOLD: Final = 10_000
"""So many warnings are remembered, to log each once; after that, all may come again."""

_FOR_ALL = (RegistryUnreachable, Unavailable, Unauthorized, BadReply)
"""Errors that the next call would meet as well."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What to report of a service."""

    service_id: str
    health: Health
    note: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """How many services were written. ``native`` are ids that are not the mirror's."""

    new: int = 0
    changed: int = 0
    removed: int = 0
    refused: int = 0
    native: tuple[str, ...] = ()

    @property
    def wrote(self) -> bool:
        """Whether anything has changed."""
        return bool(self.new or self.changed or self.removed)


class Target:
    """Writes what a plan says. Nothing that is not mirrored is written over."""

    def __init__(
        self,
        registry: AsyncRegistry,
        name: str,
        only: tuple[str, ...] = (),
        reports: bool = True,
    ) -> None:
        """Return it for a source called ``name``, or ``only`` some services there.

        With ``reports``, the health of what is written is reported at once.
        """
        self._only = only
        self._reports = reports
        self._registry = registry
        self._name = name
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._told: set[str] = set()

    async def mirrored(self) -> list[Service]:
        """Return the services that carry the source's mark, by id."""
        marked = self._registry.iter_services(metadata={SOURCE: self._name})
        # Others may be another mirror's.
        return [
            service async for service in marked if is_wanted(service.name, self._only)
        ]

    async def carry_out(self, plan: Plan, remove: bool) -> Done:
        """Make the writes of a plan, and the removals if told to.

        Raises the errors that all further calls would meet. Of one service that the
        registry refuses, it logs the reason once, and goes on.
        """
        outcomes = await self._all(self._write(write) for write in plan.writes)
        done = Done(
            new=outcomes.count("new"),
            changed=outcomes.count("changed"),
            refused=outcomes.count("refused"),
            native=tuple(
                write.service_id
                for write, outcome in zip(plan.writes, outcomes, strict=True)
                if outcome == "native"
            ),
        )
        if not remove:
            return done
        removals = await self._all(self._remove(service) for service in plan.gone)
        return replace(done, removed=removals.count("removed"))

    async def beat(self, beats: Iterable[Beat]) -> None:
        """Report the health of services; raises as `carry_out`."""
        await self._all(self._beat(beat) for beat in beats)

    async def _all(self, calls: Iterable[Coroutine[Any, Any, str]]) -> list[str]:
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(call) for call in calls]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in running]

    async def _write(self, write: Write) -> str:
        body: dict[str, Any] = dict(write.body)
        is_new = write.revision is None
        async with self._slots:
            try:
                await self._registry.put(
                    revision=write.revision, only_new=is_new, **body
                )
            except RevisionMismatch:
                if not is_new:
                    return "overtaken"
                self._tell(
                    f"{write.service_id} is registered here by itself: it is left alone"
                )
                return "native"
            except RegistryError as error:
                if isinstance(error, _FOR_ALL):
                    raise
                self._tell(f"{write.service_id} can't be mirrored: {error.detail}")
                return "refused"
            instance = write.instance
            if self._reports:
                beat = Beat(write.service_id, instance.health, instance.note)
                await self._report(beat)
        return "new" if is_new else "changed"

    async def _remove(self, service: Service) -> str:
        async with self._slots:
            try:
                await self._registry.unregister(service.id, revision=service.revision)
            except (RevisionMismatch, ServiceNotFound):
                return "overtaken"
            except RegistryError as error:
                if isinstance(error, _FOR_ALL):
                    raise
                self._tell(f"{service.id} can't be removed: {error.detail}")
                return "refused"
        return "removed"

    async def _beat(self, beat: Beat) -> str:
        async with self._slots:
            return await self._report(beat)

    async def _report(self, beat: Beat) -> str:
        try:
            await self._registry.heartbeat(
                beat.service_id,
                unhealthy=beat.health == "unhealthy",
                warning=beat.health == "warning",
                note=beat.note[:1024],
            )
        except ServiceNotFound:
            return "gone"
        except RegistryError as error:
            if isinstance(error, _FOR_ALL):
                raise
            self._tell(f"{beat.service_id}: {error.detail}")
            return "refused"
        return "reported"

    def _tell(self, text: str) -> None:
        if text not in self._told:
            if len(self._told) >= MOST_TOLD:
                self._told.clear()
            self._told.add(text)
            logs.log_event(log, logging.WARNING, text)
