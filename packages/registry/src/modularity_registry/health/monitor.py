"""Watches over every service: probes it, judges its lease, has the verdict written.

One asyncio loop in a background thread does the waiting and the probing; writes to
the store run in a few threads of their own, so that a slow disk delays no check.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any, ParamSpec

from modularity_registry.catalog.catalog import Catalog, Transition
from modularity_registry.catalog.entry import Entry
from modularity_registry.clock import Clock
from modularity_registry.errors import StoreError
from modularity_registry.health.probes import Outcome, Prober, Target
from modularity_registry.health.schedule import Schedule, WatchedService
from modularity_registry.model.service import CheckEvidence, Fault, FaultSource
from modularity_registry.replicas.membership import Membership
from modularity_registry.replicas.staleness import ViewHealth
from modularity_registry.telemetry.counters import Metrics
from modularity_registry.writes.commands import Commands

log = logging.getLogger(__name__)

Params = ParamSpec("Params")

CHECK: frozenset[FaultSource] = frozenset({"check"})

MAX_RUNNING = 512
"""Checks under way at once; more wait for their turn."""

SLICE = 500
"""Services that are handed over in one go, while checks wait."""

MAX_STALL = 5.0
"""Woken up later than this (seconds), the monitor missed heartbeats as well."""


class Monitor:
    """The watch over all services that are checked or hold a lease."""

    def __init__(
        self,
        catalog: Catalog,
        commands: Commands,
        prober: Prober,
        schedule: Schedule,
        clock: Clock,
        membership: Membership,
        view_health: ViewHealth,
        metrics: Metrics | None = None,
        *,
        call: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """Return a monitor of what ``membership`` gives this replica to watch.

        No lease expires while ``view_health`` says that the view is stale.
        """
        self._catalog = catalog
        self._commands = commands
        self._prober = prober
        self._schedule = schedule
        self._clock = clock
        self._membership = membership
        self._view_health = view_health
        self._metrics = metrics or Metrics()
        self._call = call
        self._moved = False
        self._inbox: deque[Transition] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._woken = False
        self._started = False
        self._stopping = False
        self._writers = ThreadPoolExecutor(8, thread_name_prefix="verdict")
        self._thread = threading.Thread(target=self._main, name="monitor", daemon=True)

    # From any thread

    def changed(self, change: Transition) -> None:
        """Take note of a change of the catalog; returns at once."""
        if self._started:  # else `start` takes in all that is there by then
            self._inbox.append(change)
            self.poke()

    def reloaded(self, changes: list[Transition], revision: int) -> None:
        """Take note of many changes at once."""
        for change in changes:
            self.changed(change)

    def advanced(self, revision: int) -> None:
        """Nothing to take note of."""

    def redistribute(self, any_lost: bool) -> None:
        """Watch the services that are this replica's now, and no others.

        A replica that was lost may have taken heartbeats with it.
        """
        if any_lost:
            self._catalog.renew_leases()
        if self._started:
            self._moved = True
            self.poke()

    def poke(self) -> None:
        """Have the monitor look at its inbox and at the clock; returns at once."""
        # One wake-up is enough for all that came in before it is served.
        if self._woken or self._loop is None:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            log.debug("the monitor's loop has ended")

    @property
    def suspicion(self) -> str | None:
        """Why verdicts hold at the moment; None when they don't."""
        return self._schedule.suspicion

    @property
    def succeeded(self) -> int:
        """How many checks went well."""
        return self._metrics.checks["success"].count

    @property
    def failed(self) -> int:
        """How many checks went wrong."""
        return self._metrics.checks["failure"].count

    @property
    def watched(self) -> int:
        """How many services are under watch."""
        return len(self._schedule)

    @property
    def idle(self) -> bool:
        """Say whether nothing is under way and nobody is due by the clock."""
        due = self._schedule.next_at()
        late = due is not None and due <= self._clock.monotonic()
        return not (self._inbox or self._running or self._moved or late)

    def start(self) -> None:
        """Start watching. What is in the catalog by now is spread over an interval."""
        self._started = True
        now = self._clock.monotonic()
        for entry in self._catalog.services():
            if self._is_own(entry.id):
                self._schedule.follow(entry.id, entry.service, now, spread=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; checks under way are dropped. Idempotent."""
        self._stopping = True
        self.poke()
        if self._thread.is_alive():
            self._thread.join()
        self._writers.shutdown(cancel_futures=True)

    # In the monitor's thread

    def _main(self) -> None:
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            while not self._stopping:
                self._woken = False
                self._wake.clear()
                self._take_in()
                if self._moved:
                    await self._hand_over()
                self._start_due()
                await self._pause()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self._prober.close()

    def _take_in(self) -> None:
        now = self._clock.monotonic()
        while self._inbox:
            change = self._inbox.popleft()
            service = None
            if change.new is not None and self._is_own(change.id):
                service = change.new.service
            self._schedule.follow(change.id, service, now, spread=False)

    async def _hand_over(self) -> None:
        self._moved = False
        now = self._clock.monotonic()
        for number, entry in enumerate(self._catalog.services()):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            own, watched = self._is_own(entry.id), self._schedule.watches(entry.id)
            if own and not watched:
                self._schedule.follow(entry.id, entry.service, now, spread=True)
            elif watched and not own:
                self._schedule.follow(entry.id, None, now, spread=False)
                entry.forget_check()

    def _is_own(self, service_id: str) -> bool:
        return self._membership.owner(service_id) == self._membership.own

    def _start_due(self) -> None:
        now = self._clock.monotonic()
        while len(self._running) < MAX_RUNNING:
            due = self._schedule.pop(now)
            if due is None:
                return
            watched, is_check = due
            job = self._check(watched) if is_check else self._judge_lease(watched)
            task = asyncio.create_task(job)
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a check raised an error", exc_info=error)

    async def _pause(self) -> None:
        """Wait until somebody is due, a check has ended or something has come in."""
        full = len(self._running) >= MAX_RUNNING
        due = None if full else self._schedule.next_at()
        delay = None if due is None else max(0.0, due - self._clock.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()
        if due is not None and self._clock.monotonic() - due > MAX_STALL:
            self._after_stall()

    def _after_stall(self) -> None:
        # This process was paused (or the machine slept), and took no heartbeats
        # meanwhile: no lease may end for that.
        log.warning("the monitor was paused; all leases get a full term")
        self._catalog.renew_leases()

    async def _check(self, watched: WatchedService) -> None:
        entry, plan = self._entry(watched), watched.plan
        if entry is None or plan is None:
            return
        started = self._clock.monotonic()
        target = Target(entry.service.registration, plan.path or "", plan.timeout)
        outcome = await self._prober.probe(target)
        kind = "success" if outcome.ok else "failure"
        self._metrics.checks[kind].observe(outcome.latency_ms / 1000)
        # In trouble itself, the registry has learnt nothing of the service.
        ok = None if outcome.kind == "local" else outcome.ok
        verdict, due = self._schedule.record_check(watched, ok, started)
        self._note(watched, outcome, due)
        if verdict == "add_fault":
            message = f"{watched.failures} checks failed in a row: {outcome.message}"
            fault = Fault("check", message, self._clock.now())
            await self._write(self._commands.add_fault, watched, fault)
        elif verdict == "remove_faults":
            await self._write(self._commands.remove_faults, watched, CHECK)

    def _note(self, watched: WatchedService, outcome: Outcome, due: float) -> None:
        entry = self._entry(watched)
        if entry is None:
            return
        now = self._clock.now()
        evidence = CheckEvidence(
            checked_at=now,
            latency_ms=round(outcome.latency_ms, 3),
            outcome=outcome.kind,
            message=outcome.message,
            next_check=now + timedelta(seconds=due - self._clock.monotonic()),
            checked_by=self._membership.own,
        )
        entry.record_check(outcome.ok, watched.failures, evidence)

    async def _judge_lease(self, watched: WatchedService) -> None:
        entry = self._entry(watched)
        if entry is None:
            return
        now = self._clock.monotonic()
        seen = entry.vitals.lease_seen + self._membership.heartbeat_delay
        if self._view_health.stale_reason is not None:
            seen = now  # a heartbeat may have been taken where this one can't see
        lease = self._schedule.check_lease(watched, seen, now)
        if lease == "missed":
            message = f"no heartbeat within its ttl of {watched.ttl:g} s"
            fault = Fault("lease", message, self._clock.now())
            await self._write(self._commands.add_fault, watched, fault)
        elif lease == "expired":
            await self._write(self._commands.expire, watched)

    def _entry(self, watched: WatchedService) -> Entry | None:
        """The service as it is now; None if this registration is no more."""
        entry = self._catalog.service(watched.id)
        if entry is None or entry.registered_at != watched.registered_at:
            return None
        return entry

    async def _write(
        self,
        command: Callable[Params, Coroutine[Any, Any, None]],
        *args: Params.args,
        **kwargs: Params.kwargs,
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            verdict = command(*args, **kwargs)
            await loop.run_in_executor(self._writers, self._call, verdict)
        except StoreError as error:
            # The next look at this service comes to the same verdict and tries again.
            log.warning("could not store a service's health: %s", error.detail)
