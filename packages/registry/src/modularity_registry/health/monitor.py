"""Watches over every service: probes it, judges its lease, has the verdict written.

All of it runs on the event loop. What takes long is done in slices, so that calls have
their turn in between.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextvars import copy_context
from datetime import timedelta
from time import perf_counter
from typing import Any, Final, ParamSpec

from modularity_registry import tasks
from modularity_registry.catalog.catalog import Catalog, Transition
from modularity_registry.catalog.entry import Entry
from modularity_registry.clock import Clock
from modularity_registry.errors import StoreError
from modularity_registry.health.check_queue import CheckQueue
from modularity_registry.health.lateness import Lateness
from modularity_registry.health.probes import Outcome, Prober, Target
from modularity_registry.health.schedule import Schedule
from modularity_registry.health.suspects import Suspects, Suspicion
from modularity_registry.health.watched_service import WatchedCheck, WatchedService
from modularity_registry.health.witness import Question, Witness
from modularity_registry.model.checks import named
from modularity_registry.model.second_opinion import SecondOpinion
from modularity_registry.model.service import (
    CHECKED_MODES,
    CheckEvidence,
    CheckPlan,
    CheckResult,
    Fault,
    FaultSource,
)
from modularity_registry.replicas.announcer import Announcer
from modularity_registry.replicas.membership import Membership
from modularity_registry.replicas.staleness import ViewHealth
from modularity_registry.replicas.standstill import Standstill
from modularity_registry.telemetry.counters import Metrics
from modularity_registry.writes.commands import Commands

log = logging.getLogger(__name__)

Params = ParamSpec("Params")

CHECK: frozenset[FaultSource] = frozenset({"check"})

MAX_LEASES: Final = 512
"""Verdicts on leases that are being written at once; checks don't take their places."""

STARTS: Final = 16
"""Checks that are started in one turn of the loop: that takes about 2 ms."""

MANY: Final = 200
"""A reload that changed more services than this is taken in slices."""


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
        standstill: Standstill,
        metrics: Metrics | None = None,
        confirm: Announcer | None = None,
        namespace: str = "",
    ) -> None:
        """Return a monitor of what ``membership`` gives this replica to watch.

        No lease expires while ``view_health`` says that the view is stale. With
        ``confirm``, other replicas are asked there about services out of reach.
        ``namespace`` is that of the services, empty for the default one.
        """
        self._catalog = catalog
        self._commands = commands
        self._prober = prober
        self._schedule = schedule
        self._clock = clock
        self._membership = membership
        self._view_health = view_health
        self._standstill = standstill
        self._metrics = metrics or Metrics()
        self.lateness = Lateness(schedule.checks, self._metrics)
        self._loop: asyncio.AbstractEventLoop | None = None  # while it watches
        # Not that of the call that pokes it: what it does is nobody's request.
        self._context = copy_context()
        self._poked = False
        self._timer: asyncio.TimerHandle | None = None
        self._checks: set[asyncio.Task[None]] = set()
        self._probes: dict[WatchedService, asyncio.Task[Any]] = {}
        self._leases: set[asyncio.Task[None]] = set()
        self._sharing: asyncio.Task[None] | None = None
        self._moved_again = False
        self.suspects: Suspects | None = None
        self._witness: Witness | None = None
        if confirm is not None:
            self._ask_others(confirm, namespace)

    def changed(self, change: Transition) -> None:
        """Watch a service as it is after this change of the catalog."""
        if self._loop is not None:  # else `start` takes in all that is there by then
            self._follow(change.id, change.new, spread=False)
            self.poke()

    def reloaded(self, changes: Collection[Transition], revision: int) -> None:
        """Take note of many changes at once."""
        if len(changes) > MANY:
            self._share()
        else:
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
        self._share()

    def poke(self) -> None:
        """Look at who is due in the next turn of the loop."""
        # One turn is enough for all that came in before it.
        if self._loop is not None and not self._poked:
            self._poked = True
            self._loop.call_soon(self._turn, context=self._context)

    @property
    def suspicion(self) -> str | None:
        """Why verdicts hold at the moment; None when they don't."""
        return self._schedule.suspicion.reason

    @property
    def checks(self) -> CheckQueue:
        """The checks that are under way, due or waiting for a place."""
        return self._schedule.checks

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
    def verdicts_held(self) -> int:
        """How many verdicts wait for what other replicas say."""
        return self.suspects.held if self.suspects is not None else 0

    @property
    def idle(self) -> bool:
        """Say whether nothing is under way and nobody is due by the clock."""
        due = self._next_due()
        late = due is not None and due <= self._clock.monotonic()
        sharing = self._sharing is not None and not self._sharing.done()
        return not (self._poked or self._checks or self._leases or sharing or late)

    async def start(self) -> None:
        """Start watching. What is in the catalog by now is spread over an interval."""
        self._loop = asyncio.get_running_loop()
        self._share()
        if self._sharing is not None:
            await self._sharing

    async def stop(self) -> None:
        """Stop watching; checks under way are dropped. Idempotent."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
        await tasks.cancel(self._sharing, *self._checks, *self._leases)
        await self._prober.close()

    def _share(self) -> None:
        if self._loop is None:
            return
        self._moved_again = True
        if self._sharing is None or self._sharing.done():
            self._sharing = tasks.start("sharing", self._take_share())

    async def _take_share(self) -> None:
        while self._moved_again:
            self._moved_again = False
            async for service_id in tasks.in_slices(self._catalog.ids()):
                entry = self._catalog.service(service_id)
                self._follow(service_id, entry, spread=True)
                self.poke()
            async for service_id in tasks.in_slices(self._schedule.ids()):
                if self._catalog.service(service_id) is None:
                    self._follow(service_id, None, spread=True)

    def _follow(self, service_id: str, entry: Entry | None, spread: bool) -> None:
        before = self._schedule.units(service_id)
        service = None
        if entry is not None and _is_watched(entry):
            if self._membership.owns(service_id):
                service = entry.service
            elif before:
                entry.forget_check()
        if service is None and not before:
            return
        self._schedule.follow(service_id, service, self._clock.monotonic(), spread)
        for watched in before:
            if watched.gone and watched in self._probes:
                self._probes[watched].cancel()  # its place is free for others
            if watched.gone and self.suspects is not None:
                self.suspects.forget(watched)

    def _turn(self) -> None:
        self._poked = False
        if self._loop is None:
            return
        self._standstill.look()
        self._judge_leases()
        self._start_checks()
        self._set_timer(self._loop)

    def _judge_leases(self) -> None:
        end = perf_counter() + tasks.SLICE
        now = self._clock.monotonic()
        while len(self._leases) < MAX_LEASES and perf_counter() < end:
            watched = self._schedule.leases.pop(now)
            if watched is None:
                return
            verdict = self._judge_lease(watched)
            if verdict is not None:
                self._run(self._leases, "lease", verdict)

    def _start_checks(self) -> None:
        now = self._clock.monotonic()
        for _ in range(STARTS):
            watched = self.checks.pop(now)
            if watched is None:
                break
            self.lateness.begin(watched, now)
            if isinstance(watched, Question):
                check = self._answer(watched)
            else:
                check = self._check(watched)
            self._run(self._checks, "check", check, watched)
        self.lateness.look(now)

    def _run(
        self,
        running: set[asyncio.Task[None]],
        name: str,
        job: Coroutine[Any, Any, None],
        checked: WatchedService | None = None,
    ) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            if checked is not None:
                self._schedule.end_check(checked, self._clock.monotonic())
            self.poke()

        task = tasks.start(name, job)
        running.add(task)
        task.add_done_callback(ended)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._next_due()
        if due is None:
            return
        delay = due - self._clock.monotonic()
        if delay <= 0:
            self.poke()
            return
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay:
                return  # soon enough; the turn that it makes sets the next one
            self._timer.cancel()
        self._timer = loop.call_later(delay, self._ring, context=self._context)

    def _ring(self) -> None:
        # A timer that has fired looks like one that fires now: uvloop counts in ms.
        self._timer = None
        self.poke()

    def _next_due(self) -> float | None:
        """Return when the next one is due for whom there is room."""
        dues = [self.checks.next_at(), self.lateness.next_look]
        if len(self._leases) < MAX_LEASES:
            dues.append(self._schedule.leases.next_at())
        return min((due for due in dues if due is not None), default=None)

    async def _check(self, watched: WatchedService) -> None:
        entry, plan = self._entry(watched), watched.plan
        if entry is None or plan is None:
            return
        started, stalls = self._clock.monotonic(), self._standstill.count
        doubted = self._schedule.suspicion.active
        outcome = await self._probe(watched, _target(entry, plan, watched.name))
        # In trouble itself, the registry has learnt nothing of the service.
        in_trouble = outcome.kind == "local" or self._standstill.count != stalls
        ok = True if outcome.ok else None if in_trouble else False
        verdict = self._schedule.record_check(
            watched, ok, started, self._clock.monotonic(), doubted, outcome.warns
        )
        reason = _reason(outcome, watched)
        if self.suspects is not None:
            verdict = self.suspects.review(watched, outcome, ok, reason, verdict)
        self._note(watched, outcome)
        if verdict == "add_fault":
            await self._accuse(watched, reason)
        elif verdict == "remove_faults":
            await _write(self._commands.remove_faults, watched, CHECK, watched.name)
        elif verdict == "add_warning":
            warning = Fault("check", reason, self._clock.now(), watched.name)
            await _write(self._commands.add_warning, watched, warning)
        elif (
            isinstance(watched, WatchedCheck)
            and watched.verifies
            and outcome.ok
            and not (watched.has_fault or watched.has_warning)
            and entry.service.verified is None
        ):
            await _write(self._commands.verify, watched)

    async def _accuse(self, watched: WatchedService, reason: str) -> None:
        opinion = self._second_opinion(watched)
        if opinion is not None:
            reason = f"{reason}; {opinion.message}"
        fault = Fault("check", reason, self._clock.now(), watched.name)
        await _write(self._commands.add_fault, watched, fault)

    def _ask_others(self, announcer: Announcer, namespace: str) -> None:
        schedule, membership, clock = self._schedule, self._membership, self._clock
        suspects = self.suspects = Suspects(
            membership,
            announcer,
            schedule,
            clock,
            self._view_health,
            self._standstill,
            self._answered,
            namespace,
        )
        witness = self._witness = Witness(
            membership, announcer, self._catalog, schedule, clock, self.poke, namespace
        )
        announcer.ask(
            lambda room, more: (suspects.questions(room), witness.answers(more))
        )
        membership.listen_to_records(suspects.hear)
        membership.listen_to_records(witness.hear)

    def _answered(self, suspicion: Suspicion) -> None:
        """Take what another replica says of a service that is out of reach here."""
        watched, opinion = suspicion.watched, suspicion.opinion
        entry = self._entry(watched)
        if self._loop is None or entry is None or opinion is None:
            return
        entry.record_second_opinion(watched.name, opinion)
        if opinion.state == "confirmed":
            job = self._accuse(watched, suspicion.reason)
            self._run(self._checks, "second-opinion", job)

    def _second_opinion(self, watched: WatchedService) -> SecondOpinion | None:
        suspicion = self.suspects.find(watched) if self.suspects else None
        return suspicion.opinion if suspicion else None

    async def _answer(self, question: Question) -> None:
        """Make a check that another replica asks for."""
        entry, plan = self._entry(question), question.plan
        stalls = self._standstill.count
        if entry is None or plan is None or self._witness is None:
            question.gone = True
            return
        outcome = await self._probe(question, _target(entry, plan, question.name))
        stood_still = self._standstill.count != stalls
        self._witness.record(question, outcome, stood_still)

    async def _probe(self, watched: WatchedService, target: Target) -> Outcome:
        """Return what a check finds. It is cancelled when the registration is gone."""
        task = asyncio.current_task()
        assert task is not None
        self._probes[watched] = task
        try:
            outcome = await self._prober.probe(target)
        finally:
            del self._probes[watched]
        kind = "success" if outcome.ok else "failure"
        self._metrics.checks[kind].observe(outcome.latency_ms / 1000)
        self._standstill.look()
        return outcome

    def _note(self, watched: WatchedService, outcome: Outcome) -> None:
        entry = self._entry(watched)
        if entry is None:
            return
        now = self._clock.now()
        evidence = CheckEvidence(
            checked_at=now,
            latency_ms=round(outcome.latency_ms, 3),
            outcome=outcome.kind,
            message=outcome.message,
            next_check=now + timedelta(seconds=watched.due - self._clock.monotonic()),
            checked_by=self._membership.own,
            second_opinion=self._second_opinion(watched),
        )
        if isinstance(watched, WatchedCheck):
            result = CheckResult(watched.failures, evidence)
            entry.record_named_check(watched.name, result)
            if watched.verifies and outcome.ok:
                entry.record_verified(now)
        else:
            entry.record_check(outcome.ok, watched.failures, evidence)

    def _judge_lease(self, watched: WatchedService) -> Coroutine[Any, Any, None] | None:
        """Return what is to be written about a lease, if anything."""
        entry = self._entry(watched)
        if entry is None:
            return None
        now = self._clock.monotonic()
        seen = self._membership.heartbeat_grace(watched.ttl or 0.0)
        if isinstance(watched, WatchedCheck):
            seen += self._catalog.report_seen(entry, watched.name)
        else:
            seen += self._catalog.lease_seen(entry)
        if self._view_health.stale_reason is not None:
            seen = now  # a heartbeat may have been taken where this one can't see
        lease = self._schedule.check_lease(watched, seen, now)
        if isinstance(watched, WatchedCheck):
            return None if lease == "held" else self._missed(entry, watched, now - seen)
        if lease == "missed":
            message = f"no heartbeat within its ttl of {watched.ttl:g} s"
            fault = Fault("lease", message, self._clock.now())
            return _write(self._commands.add_fault, watched, fault)
        if lease == "expired":
            return _write(self._commands.expire, watched)
        return None

    def _missed(
        self, entry: Entry, watched: WatchedCheck, silent: float
    ) -> Coroutine[Any, Any, None] | None:
        """Note that a report did not come for ``silent`` seconds.

        Return what is to be written about it, if anything.

        It never removes the service, however long nothing comes.
        """
        now, message = self._clock.now(), f"no report within {watched.ttl:g} s"
        failures = int(silent / (watched.ttl or silent))
        evidence = CheckEvidence(
            now, None, "missed", message, None, self._membership.own
        )
        result = CheckResult(failures, evidence)
        entry.record_named_check(watched.name, result)
        fault = Fault("check", f"check '{watched.name}': {message}", now, watched.name)
        commands = self._commands
        add = commands.add_fault if watched.critical else commands.add_warning
        return _write(add, watched, fault)

    def _entry(self, watched: WatchedService) -> Entry | None:
        """The service as it is now; None if this registration is no more."""
        entry = self._catalog.service(watched.id)
        if entry is None or entry.registered_at != watched.registered_at:
            return None
        return entry


def _target(entry: Entry, plan: CheckPlan, name: str) -> Target:
    """Return what to check: what the check with this name, or the mode's own, does."""
    service = entry.service
    check = named(service.registration.checks, name)
    path, timeout = plan.path or "", plan.timeout
    return Target(service.registration, path, timeout, service.loopback, check)


def _reason(outcome: Outcome, watched: WatchedService) -> str:
    count = watched.failures
    checks = "1 check" if count == 1 else f"{count} checks in a row"
    reason = outcome.message if outcome.ok else f"{outcome.message}; {checks} failed"
    if isinstance(watched, WatchedCheck):
        return f"check '{watched.name}': {reason}"
    return reason


def _is_watched(entry: Entry) -> bool:
    return entry.mode in CHECKED_MODES or entry.ttl is not None or entry.has_checks


async def _write(
    command: Callable[Params, Awaitable[None]],
    *args: Params.args,
    **kwargs: Params.kwargs,
) -> None:
    try:
        await command(*args, **kwargs)
    except StoreError as error:
        # The next look at this service comes to the same verdict and tries again.
        log.warning("could not store a service's health: %s", error.detail)
