"""Tells the other replicas that this one is alive, and which heartbeats it took."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from modularity_registry import __version__, schema, tasks
from modularity_registry.catalog import documents
from modularity_registry.catalog.documents import Opinion, ReplicaRecord, Suspect
from modularity_registry.clock import Clock
from modularity_registry.errors import StoreConflict, StoreError
from modularity_registry.replicas.membership import LOST_AFTER, Membership
from modularity_registry.replicas.standstill import Standstill
from modularity_registry.stores.base import Write
from modularity_registry.stores.group_commit import Writer

log = logging.getLogger(__name__)

PERIOD = 2.0
"""Seconds between two announcements: one small write carries all heartbeats since."""

SHORT_PERIOD = 0.25
"""Seconds to the next announcement when one record could not hold all heartbeats, or
when something is to be said at once."""

LEAVE_TIMEOUT = 1.0
"""How long (seconds) the last announcement may delay the end."""

MAX_IDS_BYTES = 60_000
"""Bytes of ids that one record holds; every store takes values of 64 KiB."""

SUSPECTS_BYTES = 12_000
"""Bytes of open questions that one record holds, some 300; more wait their turn."""

OPINIONS_BYTES = 30_000
"""Bytes of answers that one record holds, some 300; more wait their turn."""

Questions = tuple[tuple[Suspect, ...], tuple[Opinion, ...]]
"""What a replica asks the others, and what it answers them."""

Ask = Callable[[int, int], Questions]
"""Returns questions and answers of at most so many bytes each."""

RecordT = TypeVar("RecordT", Suspect, Opinion)


def fitting(records: Iterable[RecordT], limit: int) -> tuple[RecordT, ...]:
    """Return the first of ``records``: as many as take ``limit`` bytes together."""
    size = 0
    chosen: list[RecordT] = []
    for record in records:
        size += _size((record,))
        if size > limit:
            break
        chosen.append(record)
    return tuple(chosen)


def _size(records: Iterable[Suspect | Opinion]) -> int:
    return sum(len(schema.encode(record)) + 1 for record in records)


class NamespaceHeartbeats:
    """Tells the other replicas of heartbeats in a namespace, in the same record.

    An id in it stands behind the namespace and a slash, which no id has. Versions
    without namespaces know no service of such an id.
    """

    def __init__(self, announcer: "Announcer", namespace: str) -> None:
        self._announcer = announcer
        self._prefix = f"{namespace}/"

    @property
    def unheard(self) -> str | None:
        """See `Announcer.unheard`."""
        return self._announcer.unheard

    def record_heartbeat(self, service_id: str) -> None:
        """See `Announcer.record_heartbeat`."""
        self._announcer.record_heartbeat(self._prefix + service_id)

    def record_report(self, service_id: str, check: str) -> None:
        """See `Announcer.record_report`."""
        self._announcer.record_report(self._prefix + service_id, check)


class Announcer:
    """Writes this replica's own record every few seconds. A task of the event loop."""

    def __init__(
        self,
        writer: Writer,
        membership: Membership,
        standstill: Standstill,
        clock: Clock,
        address: str,
    ) -> None:
        self._writer = writer
        self._membership = membership
        self._standstill = standstill
        self._key = documents.key_of_replica(membership.own)
        self._host = socket.gethostname()
        self._address = address
        self._clock = clock
        self._started_at = clock.now()
        self._heartbeats: dict[str, float] = {}  # and when (monotonic) each was taken
        self._count = 0
        self._fault: str | None = None
        # One for each namespace.
        self._asking: list[Ask] = []
        self._nudged = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def unheard(self) -> str | None:
        """Why the other replicas, if any, should not hear of a heartbeat now.

        Either they would not, or it may have waited in a socket while this process
        stood still: then it must not bring back a service that has died since.
        """
        if self._membership.is_alone:
            return None
        if not self._standstill.is_over():
            return (
                "this replica stood still, so it can't tell how old this heartbeat is;"
                " send it again"
            )
        age = self._membership.overdue_seconds()
        if age is None:
            return None
        return (
            "this replica's own record has not come back from the store for"
            f" {age:.0f} s, so the others don't learn of heartbeats; send this one to"
            " another replica, or again in a moment"
        )

    def record_heartbeat(self, service_id: str) -> None:
        """Tell the others of this service's heartbeat with the next announcement."""
        self._heartbeats[service_id] = self._clock.monotonic()

    def record_report(self, service_id: str, check: str) -> None:
        """Tell the others that a service has reported one of its checks."""
        self.record_heartbeat(documents.report_id(service_id, check))

    def within(self, namespace: str) -> "NamespaceHeartbeats":
        """Return what tells of the heartbeats in a namespace."""
        return NamespaceHeartbeats(self, namespace)

    def ask(self, questions: Ask) -> None:
        """Announce what ``questions`` returns each time, beside the heartbeats."""
        self._asking.append(questions)

    def nudge(self) -> None:
        """Make the next announcement at once, or `SHORT_PERIOD` after the last."""
        self._nudged.set()

    async def start(self) -> None:
        """Announce this replica, then go on; raises what the store raises."""
        await self.announce()
        self._task = tasks.start("announcer", self._run())

    async def stop(self) -> None:
        """Announce the last heartbeats and delete the record. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        await tasks.cancel(task)
        if self._fault is not None:
            return  # the others notice by themselves
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self.announce()
                await self._writer.write(Write(self._key, None))
        except (StoreError, TimeoutError) as error:
            reason = error.detail if isinstance(error, StoreError) else "it hangs"
            log.info("can't tell the other replicas of the stop: %s", reason)

    async def announce(self) -> bool:
        """Write this replica's record; say whether heartbeats are left for the next.

        Raises what the store raises; heartbeats are kept for the next one then.
        """
        self._nudged.clear()
        suspects, opinions = self._take_questions()
        taken = _size(suspects) + _size(opinions)
        heartbeats = self._take_heartbeats(MAX_IDS_BYTES - taken)
        self._count += 1
        record = ReplicaRecord(
            self._count,
            self._host,
            __version__,
            self._started_at,
            tuple(heartbeats),
            self._address,
            2 if self._asking else 1,
            tuple(suspects),
            tuple(opinions),
        )
        self._membership.announcing(self._count)
        try:
            await self._writer.write(Write(self._key, documents.encode_replica(record)))
        except BaseException:
            self._heartbeats = heartbeats | self._heartbeats
            raise
        return bool(self._heartbeats)

    async def delete_lost(self) -> None:
        """Delete the records of replicas that have been lost for long."""
        for replica in self._membership.to_delete():
            key = documents.key_of_replica(replica.id)
            try:
                await self._writer.write(Write(key, None, replica.revision))
            except StoreConflict:
                log.info("replica %s is back", replica.id)

    def _take_questions(self) -> tuple[list[Suspect], list[Opinion]]:
        suspects: list[Suspect] = []
        opinions: list[Opinion] = []
        for ask in self._asking:
            asked, answered = ask(
                SUSPECTS_BYTES - _size(suspects), OPINIONS_BYTES - _size(opinions)
            )
            suspects += asked
            opinions += answered
        # The next time, another namespace has the first place.
        self._asking = self._asking[1:] + self._asking[:1]
        return suspects, opinions

    def _take_heartbeats(self, limit: int) -> dict[str, float]:
        # The others have missed this replica since, and have given every lease a full
        # term. Told so late, a heartbeat would bring back a service that has died.
        oldest = self._clock.monotonic() - LOST_AFTER * self._membership.period
        heartbeats: dict[str, float] = {}
        size = 0
        while self._heartbeats and size < limit:
            service_id, taken = self._heartbeats.popitem()
            if taken > oldest:
                heartbeats[service_id] = taken
                size += len(service_id) + 3
        return heartbeats

    async def _run(self) -> None:
        delay = self._membership.period
        while True:
            await self._pause(delay)
            delay = self._membership.period
            try:
                if await self.announce():
                    delay = min(SHORT_PERIOD, delay)
                self._set_fault(None)
                self._standstill.look()
                self._membership.find_lost()
                await self.delete_lost()
            except StoreError as error:
                self._set_fault(error.detail)

    async def _pause(self, delay: float) -> None:
        """Return after ``delay`` seconds, or earlier after a `nudge`."""
        short = min(SHORT_PERIOD, delay)
        await asyncio.sleep(short)
        with suppress(TimeoutError):
            async with asyncio.timeout(delay - short):
                await self._nudged.wait()

    def _set_fault(self, fault: str | None) -> None:
        if fault and not self._fault:
            log.warning(
                "can't tell the other replicas that this one is alive: %s", fault
            )
        elif self._fault and not fault:
            log.warning("the other replicas hear again that this one is alive")
        self._membership.unwritten = (
            f"this replica can't write to the store: {fault}" if fault else None
        )
        self._fault = fault
