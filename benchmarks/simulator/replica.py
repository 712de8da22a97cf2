"""A replica that is simulated check by check, with the registry's own decisions."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from benchmarks.simulator import population
from benchmarks.simulator.costs import Costs
from benchmarks.simulator.population import Ownership
from benchmarks.simulator.store import SimulatedStore
from benchmarks.simulator.virtual_time import START, Core, VirtualTime
from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import Catalog
from modularity_registry.catalog.entry import Renderer
from modularity_registry.health.monitor import STARTS
from modularity_registry.health.schedule import Schedule
from modularity_registry.health.watched_service import WatchedService
from modularity_registry.model import status
from modularity_registry.model.service import CheckPlan, Fault, FaultSource, Service
from modularity_registry.replicas.announcer import PERIOD
from modularity_registry.replicas.membership import Membership
from modularity_registry.stores.base import Record, Write
from modularity_registry.stores.group_commit import take_batch
from modularity_registry.tasks import SLICE

RECONNECT = 1.0
"""Seconds until a replica notices that its store is back."""


@dataclass(slots=True)
class Down:
    """A provider that is gone since a time; ``silent`` if its host answers nothing."""

    at: float
    silent: bool = False
    noticed: bool = False


class World(Protocol):
    """What the replicas live in."""

    time: VirtualTime
    costs: Costs
    store: SimulatedStore
    owners: Ownership
    down: dict[str, Down]
    plan: CheckPlan
    travel: float

    def service(self, service_id: str) -> Service | None:
        """Return a service as the store has it; None if it is not registered."""

    def changed(self, service: Service) -> None:
        """Take a service as a replica has written it."""

    def noticed(self, service_id: str, leased: bool) -> None:
        """Take note that the registry knows that a provider is gone."""

    def weight(self, key: str) -> float:
        """Return for how many writes one stands that a simulated replica makes."""

    def cost_of_change(self) -> float:
        """Return the seconds of a core to take in a change and tell its watchers."""

    def cost_of_record(self) -> float:
        """Return the seconds of a core to take in the record of another replica."""


class Pending(NamedTuple):
    """A write that waits for its batch."""

    write: Write
    done: Callable[[bool], None]
    gone: bool = False


class Replica:
    """One replica: its core, its view of the others, its checks and its writes."""

    def __init__(self, name: str, world: World, fall: int, seed: int) -> None:
        self.name = name
        self.world = world
        self.core = Core(world.time)
        self.rng = random.Random(f"{seed}/{name}")
        self.schedule = Schedule(world.plan, fall, 1, self.rng)
        # Of heartbeats it is told elsewhere: nobody is in its catalog.
        catalog = Catalog(Renderer(world.plan), world.time)
        self.membership = Membership(name, catalog, world.time, PERIOD)
        self.membership.listen(self._redistribute)
        self.alive = True
        self.checks = 0
        self.late = 0.0
        self.taken_over: list[float] = []
        self.divisions: list[float] = []
        self._lost_at: float | None = None
        self._unchecked: dict[str, float] = {}
        self._waiting: deque[Pending] = deque()
        self._committing = False
        self._turn_at: float | None = None
        self._dividing = False
        self._moved_again = False
        self._leases_from = 0.0
        self._connected = True
        self._announcements = 0
        world.store.watches.append(self._receive)

    # Its start and its end

    def start(self, owned: Sequence[str], names: Sequence[str]) -> None:
        """Begin in a registry that has run for long: these are its services."""
        now = self.world.time.monotonic()
        records = [Record(f"{documents.REPLICAS}{n}", record(n), 1) for n in names]
        self._dividing = True  # nothing is to be divided: this is the outcome
        self.membership.loaded(records)
        self._dividing, self._moved_again = False, False
        for service_id in owned:
            self._follow(service_id, spread=True)
        self.world.time.at(now + self.rng.uniform(0, PERIOD), self._announce)
        self._turn_soon()

    def join(self, names: Sequence[str]) -> None:
        """Start in a registry that runs already, beside the replicas ``names``."""

        def loaded() -> None:
            self.submit(
                Write(documents.key_of_replica(self.name), record(self.name)), _nothing
            )
            self.start((), [*names, self.name])
            self._divide()

        self._in_slices(len(self.world.owners.ids) * self.world.costs.load, loaded)

    def kill(self) -> None:
        """End at once."""
        self.alive = False
        self.world.store.watches.remove(self._receive)

    def lose_sight(self, at: float) -> None:
        """Measure from ``at`` how long the takeover of services takes."""
        self._lost_at = at

    # What the store sends

    def _receive(self, batch: Sequence[Write], weights: Sequence[float]) -> None:
        if not self._connected:
            return
        for (key, value, _), weight in zip(batch, weights, strict=True):
            if key.startswith(documents.REPLICAS):
                self.core.take(self.world.cost_of_record())
                self.membership.changed(key, value, 1)
            else:
                self.core.take(self.world.cost_of_change() * weight)

    def lose_store(self, back_at: float) -> None:
        """Be cut off until ``back_at``; then read everything again."""
        self._connected = False
        self.world.time.at(back_at + RECONNECT, self._reload)

    def _reload(self) -> None:
        seconds = len(self.world.owners.ids) * self.world.costs.load

        def loaded() -> None:
            self._connected = True
            names = self.membership.alive
            records = [Record(f"{documents.REPLICAS}{n}", record(n), 2) for n in names]
            self.membership.loaded(records)
            self.membership.renew()
            self._leases_from = self.world.time.monotonic()
            self._announce()

        self._in_slices(seconds, loaded)

    # The other replicas

    def _announce(self) -> None:
        if not self.alive:
            return
        self.core.take(self.world.costs.record)
        key = documents.key_of_replica(self.name)
        self._announcements += 1
        self.membership.announcing(self._announcements)
        value = record(self.name, self._announcements)
        self.submit(Write(key, value), self._announced)

    def _announced(self, written: bool) -> None:
        if written:
            self.membership.find_lost()
        if self._connected:
            self.world.time.at(self.world.time.monotonic() + PERIOD, self._announce)

    def _redistribute(self, any_lost: bool) -> None:
        if any_lost:
            self._leases_from = self.world.time.monotonic()
        self._moved_again = True
        if not self._dividing:
            self._divide()

    def _divide(self) -> None:
        self._moved_again, self._dividing = False, True
        began, alive = self.world.time.monotonic(), self.membership.alive
        total = len(self.world.owners.ids)
        owners = self.world.owners.of(alive)
        each = self.world.costs.division(len(alive))
        step = max(1, int(SLICE / each))

        def take(first: int) -> None:
            if not self.alive:
                return
            ids = self.world.owners.ids[first : first + step]
            for service_id, owner in zip(
                ids, owners[first : first + step], strict=True
            ):
                self._share(service_id, owner == self.name)
            self._turn_soon()
            if first + step < total:
                at = self.core.take(step * each)
                self.world.time.at(at, lambda: take(first + step))
                return
            self.divisions.append(self.world.time.monotonic() - began)
            self._dividing = False
            if self._moved_again:
                self._divide()

        take(0)

    def _share(self, service_id: str, is_own: bool) -> None:
        watched = self.schedule.get(service_id)
        if is_own and watched is None:
            self._follow(service_id, spread=True)
            if self._lost_at is not None:
                self._unchecked[service_id] = self._lost_at
        elif watched is not None and not is_own:
            self.schedule.follow(
                service_id, None, self.world.time.monotonic(), spread=True
            )

    # Checks and leases

    def follow(self, service_id: str) -> None:
        """Watch a service as it is registered now, or no more if it is not."""
        self._follow(service_id, spread=False)
        self._turn_soon()

    def _follow(self, service_id: str, spread: bool) -> None:
        service = self.world.service(service_id)
        now = self.world.time.monotonic()
        self.schedule.follow(service_id, service, now, spread)

    def _turn_soon(self) -> None:
        now = self.world.time.monotonic()
        dues = (self.schedule.checks.next_at(), self.schedule.leases.next_at())
        due = min((each for each in dues if each is not None), default=None)
        if due is None:
            return
        # A microsecond late, as any timer: else rounding finds a term not quite over.
        at = max(due + 1e-6, self.core.free_at, now)
        if self._turn_at is None or self._turn_at > at or self._turn_at < now:
            self._turn_at = at
            self.world.time.at(at, lambda: self._turn(at))

    def _turn(self, planned: float) -> None:
        if planned != self._turn_at or not self.alive:
            return  # another one was planned that comes first
        self._turn_at = None
        now = self.world.time.monotonic()
        while (leased := self.schedule.leases.pop(now)) is not None:
            self._judge_lease(leased, now)
        for _ in range(STARTS):
            watched = self.schedule.checks.pop(now)
            if watched is None:
                break
            self._begin_check(watched, now)
        self._turn_soon()

    def _begin_check(self, watched: WatchedService, now: float) -> None:
        world = self.world
        self.checks += 1
        self.late = max(self.late, now - watched.due)
        taken_at = self._unchecked.pop(watched.id, None)
        if taken_at is not None:
            self.taken_over.append(now - taken_at)
        sent = self.core.take(world.costs.check)
        down = world.down.get(watched.id)
        doubted = self.schedule.suspicion.active
        lasts = world.plan.timeout if down and down.silent else world.travel

        def ended() -> None:
            if self.alive:
                self._end_check(watched, down is None, now, doubted)

        world.time.at(sent + lasts, ended)

    def _end_check(
        self, watched: WatchedService, ok: bool, began: float, doubted: bool
    ) -> None:
        now = self.world.time.monotonic()
        verdict = self.schedule.record_check(watched, ok, began, now, doubted)
        if verdict is None:
            self._release(watched)
        else:
            fault: FaultSource | None = "check" if verdict == "add_fault" else None
            self._write_status(watched, fault, lambda: self._release(watched))

    def _release(self, watched: WatchedService) -> None:
        self.schedule.end_check(watched, self.world.time.monotonic())
        self._turn_soon()

    def _judge_lease(self, watched: WatchedService, now: float) -> None:
        down = self.world.down.get(watched.id)
        # Its last heartbeat came at some moment of the period before.
        seen = (now if down is None else down.at) - population.phase(watched.id)
        seen = max(seen, self._leases_from) + self.membership.heartbeat_grace(
            watched.ttl or 0.0
        )
        if not self._connected:
            seen = now
        state = self.schedule.check_lease(watched, seen, now)
        if state == "missed":
            self._write_status(watched, "lease", lambda: None)

    # Writes

    def _write_status(
        self,
        watched: WatchedService,
        fault: FaultSource | None,
        then: Callable[[], None],
    ) -> None:
        world = self.world
        service = world.service(watched.id)
        if service is None or not self._connected:
            then()
            return
        if fault is None:
            changed = status.without_faults(
                service, frozenset({"check"}), world.time.now()
            )
        else:
            reason = "connection refused; 3 checks in a row failed"
            found = Fault(fault, reason, world.time.now())
            if any(each.source == fault for each in service.faults):
                then()
                return
            changed = status.with_fault(service, found)

        def done(written: bool) -> None:
            if written and self.alive:
                world.changed(changed)
                self._follow(watched.id, spread=False)
                if fault is not None and watched.id in world.down:
                    world.noticed(watched.id, fault == "lease")
            then()

        key = documents.key_of(watched.id)
        self.submit(Write(key, documents.encode(changed)), done)

    def submit(self, write: Write, done: Callable[[bool], None]) -> None:
        """Have a write made with the next batch."""
        self._waiting.append(Pending(write, done))
        self._commit_next()

    def _commit_next(self) -> None:
        if self._committing or not self.alive:
            return
        batch = take_batch(self._waiting)
        if not batch:
            return
        self._committing = True

        def committed(written: bool) -> None:
            self._committing = False
            for pending in batch:
                pending.done(written)
            self._commit_next()

        writes = [pending.write for pending in batch]
        weights = [self.world.weight(write.key) for write in writes]
        self.world.store.commit(writes, weights, committed)

    # Long work

    def _in_slices(self, seconds: float, then: Callable[[], None]) -> None:
        if not self.alive:
            return
        if seconds <= 0:
            then()
            return
        at = self.core.take(min(SLICE, seconds))
        self._turn_soon()
        self.world.time.at(at, lambda: self._in_slices(seconds - SLICE, then))


def record(name: str, count: int = 0) -> bytes:
    """Return what a replica writes of itself; 0 is written before it runs."""
    return documents.encode_replica(
        documents.ReplicaRecord(count, name, "0", START, address="10.0.0.1:5000")
    )


def _nothing(_written: bool) -> None:
    """Nothing follows."""
