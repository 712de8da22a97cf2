"""A registry with all its services: some replicas in detail, the others counted."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.simulator import population
from benchmarks.simulator.costs import Costs
from benchmarks.simulator.population import Ownership
from benchmarks.simulator.replica import Down, Replica, record
from benchmarks.simulator.store import SimulatedStore, StoreModel
from benchmarks.simulator.virtual_time import VirtualTime
from modularity_registry.catalog import documents
from modularity_registry.config import Settings
from modularity_registry.model.service import CheckPlan, Service
from modularity_registry.replicas.announcer import PERIOD
from modularity_registry.stores.base import Write

DETAILED = 2_500
"""Services that are simulated check by check, at least a replica's whole share."""

TICK = 0.25
"""Seconds between two lots of the load that is only counted."""

DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Setup:
    """What is simulated. Times are seconds.

    ``watchers`` is how many streams a change of a service concerns. ``travel`` is how
    long the answer to a check takes.
    """

    services: int
    replicas: int
    costs: Costs
    seed: int
    store: StoreModel
    interval: float = DEFAULTS.health_check_interval
    timeout: float = DEFAULTS.health_check_timeout
    fall: int = DEFAULTS.health_check_fall
    watchers: int = 30
    travel: float = 0.001
    leases: bool = True
    detailed: int = DETAILED

    @property
    def checks_each(self) -> float:
        """How many checks a second one replica has to make."""
        checked = 1 - 1 / population.LEASED_EVERY if self.leases else 1.0
        return self.services * checked / self.replicas / self.interval


class Simulation:
    """One registry in virtual time; see `replica.World`.

    ``background`` is how many writes of services a second are counted, not simulated.
    """

    def __init__(self, setup: Setup, owners: Ownership | None = None) -> None:
        self.setup = setup
        self.costs = setup.costs
        self.rng = random.Random(setup.seed)
        self.time = VirtualTime()
        self.store = SimulatedStore(self.time, setup.store)
        self.owners = owners or Ownership(setup.services)
        self.plan = CheckPlan(setup.interval, setup.timeout)
        self.travel = setup.travel
        self.down: dict[str, Down] = {}
        self.notices: list[float] = []
        self.lease_notices: list[float] = []
        self.events = 0.0
        self.background = 0.0
        self._uncounted: set[str] = set()
        self._services: dict[str, Service | None] = {}
        self.others = set(population.replica_names(setup.replicas))
        self.replicas: list[Replica] = []
        self._start_in_detail()
        self.time.at(TICK, self._tick)

    def _start_in_detail(self) -> None:
        setup = self.setup
        names = population.replica_names(setup.replicas)
        count = round(setup.detailed * setup.replicas / setup.services)
        # Those of the first zone come last: a scenario loses it.
        order = sorted(range(setup.replicas), key=lambda n: n % population.ZONES == 0)
        detailed = [names[n] for n in order[: max(1, min(count, setup.replicas))]]
        owned: dict[str, list[str]] = {name: [] for name in detailed}
        for key, owner in zip(self.owners.ids, self.owners.of(names), strict=True):
            if owner in owned:
                owned[owner].append(key)
        for name, ids in owned.items():
            replica = Replica(name, self, setup.fall, setup.seed)
            replica.start(ids, names)
            self.replicas.append(replica)
            self.others.discard(name)
        for name in sorted(self.others):
            self.time.at(self.rng.uniform(0, PERIOD), partial(self._announce, name))

    # What replicas ask

    def service(self, service_id: str) -> Service | None:
        if service_id not in self._services:
            number = int(service_id.rpartition("-")[2])
            self._services[service_id] = population.service(
                number, self.time.now(), self.setup.leases
            )
        return self._services[service_id]

    def changed(self, service: Service) -> None:
        self._services[service.registration.id] = service

    def noticed(self, service_id: str, leased: bool) -> None:
        down = self.down[service_id]
        if not down.noticed:
            down.noticed = True
            notices = self.lease_notices if leased else self.notices
            notices.append(self.time.monotonic() - down.at)

    def weight(self, key: str) -> float:
        service_id = documents.id_of(key)
        if service_id is None:
            return 1.0
        if service_id in self._uncounted:
            return 0.0
        alive = sum(replica.alive for replica in self.replicas)
        return (alive + len(self.others)) / alive

    def cost_of_change(self) -> float:
        self.events += self.setup.watchers / len(self.alive) / len(self.replicas)
        return self._cost_of_change()

    def _cost_of_change(self) -> float:
        watchers = self.setup.watchers / len(self.alive)
        return self.costs.apply + self.costs.delivery * watchers

    def cost_of_record(self) -> float:
        return self.costs.record + self.costs.heartbeat * self.heartbeats_each

    @property
    def heartbeats_each(self) -> float:
        """Heartbeats in one record."""
        if not self.setup.leases:
            return 0.0
        leased = self.setup.services / population.LEASED_EVERY
        return leased / population.HEARTBEAT * PERIOD / len(self.alive)

    @property
    def alive(self) -> list[str]:
        """The replicas that run."""
        return [r.name for r in self.replicas if r.alive] + sorted(self.others)

    # What happens to services

    def detailed_ids(self, leased: bool = False) -> list[str]:
        """Return the services that are simulated: those checked, or those leased."""
        watched = [
            one
            for replica in self.replicas
            for key in replica.schedule.ids()
            if (one := replica.schedule.get(key)) is not None
        ]
        return [one.id for one in watched if (one.ttl is not None) == leased]

    def watch_deaths(self, share: float, begin: float, end: float) -> None:
        """Have a share of the services die, each by itself, and see it noticed.

        They are there to measure with: what is written for them does not count.
        """
        for leased in (False, True):
            ids = self.detailed_ids(leased)
            for service_id in self.rng.sample(ids, round(len(ids) * share)):
                self._uncounted.add(service_id)
                self.die(service_id, self.rng.uniform(begin, end))

    def die(self, service_id: str, at: float, silent: bool = False) -> None:
        """Have a provider end; if ``silent``, its host refuses no connection either."""

        def end() -> None:
            self.down.setdefault(service_id, Down(at, silent))

        self.time.at(at, end)

    def restart(self, service_id: str, at: float, after: float) -> None:
        """Have a service leave, and register again ``after`` so many seconds."""

        def change(service: Service | None) -> None:
            self._services[service_id] = service
            for replica in self.replicas:
                if replica.schedule.get(service_id) or service_id in mine[replica.name]:
                    mine[replica.name].add(service_id)
                    replica.follow(service_id)

        mine: dict[str, set[str]] = {replica.name: set() for replica in self.replicas}
        number = int(service_id.rpartition("-")[2])

        def register() -> None:
            leases = self.setup.leases
            change(population.service(number, self.time.now(), leases))

        self.time.at(at, lambda: change(None))
        self.time.at(at + after, register)

    # What happens to replicas

    def lose(self, names: Sequence[str], at: float) -> None:
        """Have replicas end without a word."""

        def end() -> None:
            self.others.difference_update(names)
            for replica in self.replicas:
                if replica.name in names:
                    replica.kill()
                else:
                    replica.lose_sight(at)

        self.time.at(at, end)

    def leave(self, name: str, at: float) -> None:
        """Have a counted replica stop in order."""

        def end() -> None:
            self.others.discard(name)
            write = Write(documents.key_of_replica(name), None)
            self.store.commit([write], [1.0], _nothing)

        self.time.at(at, end)

    def join(self, name: str, at: float, detailed: bool = False) -> None:
        """Have a replica start: one that is only counted is ready at once."""

        def begin() -> None:
            if detailed:
                replica = Replica(name, self, self.setup.fall, self.setup.seed)
                replica.join(self.alive)
                self.replicas.append(replica)
            else:
                self.others.add(name)
                self._announce(name)

        self.time.at(at, begin)

    def lose_store(self) -> None:
        """Have every replica notice that the store goes away and comes back."""
        away = self.setup.store.away
        assert away is not None, "the store never goes away"
        back = away[1] + self.reload_seconds
        for replica in self.replicas:
            self.time.at(away[0], partial(replica.lose_store, back))

    @property
    def reload_seconds(self) -> float:
        """Seconds until the store has sent everything to every replica."""
        size = self.setup.services * self.costs.document * self.setup.replicas
        return size / self.setup.store.bandwidth

    def _announce(self, name: str) -> None:
        if name in self.others:
            write = Write(documents.key_of_replica(name), record(name))
            self.store.commit([write], [1.0], _nothing)
            at = self.time.monotonic() + PERIOD
            self.time.at(at, lambda: self._announce(name))

    def _tick(self) -> None:
        writes = self.background * TICK
        if writes and not self.store.is_away:
            self.store.load(writes)
            self.events += writes * self.setup.watchers / len(self.alive)
            # Every other one is a registration, which one of the replicas takes.
            called = self.costs.register * writes / 2 / len(self.alive)
            for replica in self.replicas:
                replica.core.take(writes * self._cost_of_change() + called)
        self.time.at(self.time.monotonic() + TICK, self._tick)


def _nothing(_written: bool) -> None:
    """Nobody waits."""
