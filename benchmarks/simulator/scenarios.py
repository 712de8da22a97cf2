"""What is simulated: quiet days, restarts, a lost zone, a store that is away."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.harness.results import percentile
from benchmarks.simulator import population
from benchmarks.simulator.population import Ownership
from benchmarks.simulator.simulation import Setup, Simulation

WARM_UP = 10.0
"""Seconds before anything happens or is counted."""

PROBES = 0.02
"""The share of the services that die to be noticed."""

DEPLOYS_A_DAY = 1.0
"""How often a service is replaced in quiet times: it leaves, and registers again."""

ROLL = 600.0
"""Seconds in which all services are restarted."""

PAUSE = 5.0
"""Seconds that a service or a replica is gone when it restarts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to. Times are seconds, rates are a second.

    ``notices`` are the times until a death was noticed, sorted. ``bytes_in`` is what
    the store sends to each replica, ``bytes_out`` what each sends to its watchers.
    """

    name: str
    setup: Setup
    seconds: float
    writes: float
    peak_writes: float
    notices: Sequence[float]
    lease_notices: Sequence[float]
    checks: float
    core: float
    late: float
    events: float
    bytes_in: float
    bytes_out: float
    memory: float
    taken_over: Sequence[float] = ()
    divisions: Sequence[float] = ()

    def notice(self, share: float) -> float | None:
        """Return the time within which this share of the deaths was noticed."""
        return percentile(self.notices, share) if self.notices else None


def quiet_writes(setup: Setup) -> float:
    """Return the writes of services a second in quiet times."""
    return setup.services * DEPLOYS_A_DAY * 2 / 86_400


def memory(setup: Setup) -> float:
    """Return the bytes of a replica, whose services each hold one stream somewhere."""
    costs = setup.costs
    streams = setup.services / setup.replicas * costs.stream
    return costs.base + setup.services * costs.service + streams


def run(
    name: str,
    setup: Setup,
    prepare: Callable[[Simulation], None],
    seconds: float,
    owners: Ownership | None = None,
) -> Outcome:
    """Return what came of ``seconds`` after `WARM_UP`."""
    simulation = Simulation(setup, owners)
    simulation.background = quiet_writes(setup)
    prepare(simulation)
    simulation.time.run(WARM_UP)
    replicas = simulation.replicas
    began = [(replica.checks, replica.core.used) for replica in replicas]
    events = simulation.events
    for replica in replicas:
        replica.late = 0.0
    simulation.time.run(WARM_UP + seconds)
    rates = [
        ((replica.checks - checks) / seconds, (replica.core.used - used) / seconds)
        for replica, (checks, used) in zip(replicas, began, strict=False)
        if replica.alive
    ]
    first, last = int(WARM_UP), int(WARM_UP + seconds)
    writes = [simulation.store.writes.get(second, 0) for second in range(first, last)]
    rate, costs = sum(writes) / seconds, setup.costs
    records = setup.replicas / 2
    heartbeats = simulation.heartbeats_each * (len(simulation.owners.ids[0]) + 3)
    events = (simulation.events - events) / seconds
    return Outcome(
        name,
        setup,
        seconds,
        writes=rate,
        peak_writes=max(writes),
        notices=sorted(simulation.notices),
        lease_notices=sorted(simulation.lease_notices),
        checks=sum(checks for checks, _ in rates) / len(rates),
        core=max(used for _, used in rates),
        late=max(replica.late for replica in replicas),
        events=events,
        bytes_in=max(rate - records, 0) * costs.document
        + records * (costs.record_size + heartbeats),
        bytes_out=events * costs.event,
        memory=memory(setup),
        taken_over=sorted(each for r in replicas for each in r.taken_over),
        divisions=[each for replica in replicas for each in replica.divisions],
    )


def steady(setup: Setup, owners: Ownership | None = None) -> Outcome:
    """Quiet times: services are replaced now and then, and some die."""
    spell = 6 * setup.interval

    def prepare(simulation: Simulation) -> None:
        simulation.watch_deaths(PROBES, WARM_UP, WARM_UP + spell)

    return run("steady state", setup, prepare, 2 * spell + 10, owners)


def restart_services(setup: Setup, owners: Ownership | None = None) -> Outcome:
    """All services are restarted within `ROLL`; a minute of that."""
    seconds = 60.0

    def prepare(simulation: Simulation) -> None:
        ids = simulation.detailed_ids()
        chosen = simulation.rng.sample(ids, round(len(ids) * seconds / ROLL))
        for service_id in chosen:
            at = simulation.rng.uniform(WARM_UP, WARM_UP + seconds)
            simulation.restart(service_id, at, PAUSE)
        simulation.background = setup.services * 2 / ROLL
        simulation.watch_deaths(PROBES, WARM_UP, WARM_UP + seconds / 2)

    return run("all services restart", setup, prepare, seconds, owners)


def restart_replicas(setup: Setup, owners: Ownership | None = None) -> Outcome:
    """Replicas are restarted, each once the one before is ready; the first two."""
    ready = PAUSE + setup.services * setup.costs.load
    names = population.replica_names(setup.replicas)

    def prepare(simulation: Simulation) -> None:
        others = [name for name in names if name in simulation.others]
        for turn, name in enumerate(others[:2]):
            at = WARM_UP + turn * ready
            simulation.leave(name, at)
            simulation.join(f"{name}-new", at + ready)
        simulation.watch_deaths(PROBES, WARM_UP, WARM_UP + ready)

    return run("all replicas restart", setup, prepare, 2 * ready + 30, owners)


def lose_zone(
    setup: Setup, owners: Ownership | None = None, silent: bool = False
) -> Outcome:
    """A third of services and replicas is gone at once."""
    names = population.replica_names(setup.replicas)[:: population.ZONES]

    def prepare(simulation: Simulation) -> None:
        simulation.lose(names, WARM_UP)
        for number in range(setup.services):
            leased = setup.leases and population.is_leased(number)
            if population.zone_of(number) == 0 and not leased:
                simulation.die(population.service_id(number), WARM_UP, silent)

    name = "a zone is lost, " + ("silent" if silent else "connections refused")
    return run(name, setup, prepare, 400.0 if silent else 240.0, owners)


def lose_store(setup: Setup, owners: Ownership | None = None) -> Outcome:
    """The store is away for a minute; then every replica reads everything again."""
    away = (WARM_UP, WARM_UP + 60)
    setup = replace(setup, store=replace(setup.store, away=away))

    def prepare(simulation: Simulation) -> None:
        simulation.lose_store()
        simulation.watch_deaths(PROBES, *away)

    after = setup.services * (setup.costs.load + setup.costs.document / 1e8)
    return run("store away for a minute", setup, prepare, 90 + 2 * after, owners)


def all_of(setup: Setup) -> Iterator[Outcome]:
    """Yield the outcome of each scenario."""
    owners = Ownership(setup.services)
    yield steady(setup, owners)
    yield restart_services(setup, owners)
    yield restart_replicas(setup, owners)
    yield lose_zone(setup, owners)
    yield lose_zone(setup, owners, silent=True)
    yield lose_store(setup, owners)


def growth(
    setup: Setup, services: Sequence[int], replicas: Sequence[int]
) -> Iterator[Outcome]:
    """Yield the steady state of each size; one that can't be is only counted."""
    for many in services:
        owners = Ownership(many)
        for count in replicas:
            sized = replace(setup, services=many, replicas=count)
            if sized.checks_each * setup.costs.check < 0.95:
                yield steady(sized, owners)
            else:
                yield overloaded(sized)


def overloaded(setup: Setup) -> Outcome:
    """Return what can be said of replicas whose core can't make all checks."""
    writes = quiet_writes(setup) + setup.replicas / 2
    costs = setup.costs
    events = (writes - setup.replicas / 2) * setup.watchers / setup.replicas
    change = costs.apply * writes + costs.delivery * events
    core = setup.checks_each * costs.check + change
    size = costs.document * writes
    return Outcome(
        *("steady state", setup, 0.0, writes, writes, (), ()),
        *(setup.checks_each, core, 0.0, events, size, events * costs.event),
        memory(setup),
    )
