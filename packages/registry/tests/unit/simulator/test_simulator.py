"""The simulator of many replicas: deterministic, and right where one can reckon."""

from dataclasses import replace

import pytest

from benchmarks.simulator import population, scenarios
from benchmarks.simulator.costs import read, rows
from benchmarks.simulator.population import Ownership
from benchmarks.simulator.scenarios import Outcome
from benchmarks.simulator.simulation import Setup, Simulation
from benchmarks.simulator.store import SimulatedStore, StoreModel
from benchmarks.simulator.virtual_time import Core, VirtualTime
from modularity_registry.model import rendezvous
from modularity_registry.stores.base import Write

COSTS, _ = read()
SMALL = Setup(300, 3, COSTS, seed=7, store=StoreModel(0.001, 0.0001))
TINY = replace(SMALL, services=10, replicas=1, leases=False, interval=10.0)


def test_what_is_due_at_the_same_time_keeps_its_order() -> None:
    time, calls = VirtualTime(), list[str]()
    for name in "abc":
        time.at(1.0, lambda n=name: calls.append(n))  # type: ignore[misc]
    time.run(2.0)
    assert (calls, time.monotonic()) == (["a", "b", "c"], 2.0)


def test_a_core_does_one_job_after_the_other() -> None:
    core = Core(VirtualTime())
    assert [core.take(0.5), core.take(0.25)] == [0.5, 0.75]
    assert core.used == 0.75


def test_a_store_writes_so_many_a_second_and_nothing_while_it_is_away() -> None:
    time, written = VirtualTime(), list[tuple[bool, float]]()
    store = SimulatedStore(time, StoreModel(0.5, 0.01, away=(5.0, 6.0)))
    for at in (0.0, 5.5):
        time.at(
            at,
            lambda: store.commit(
                [Write("services/a", b"")],
                [100.0],
                lambda done: written.append((done, time.monotonic())),
            ),
        )
    time.run(10.0)
    # 100 writes at 10 ms, and a round trip.
    assert written == [(True, 1.5), (False, 6.0)]
    assert sum(store.writes.values()) == 100


def test_simulated_owners_are_those_that_the_registry_picks_as_replicas_change() -> (
    None
):
    owners, names = Ownership(300), population.replica_names(5)
    for alive in (names, names[1:], [*names[2:], "new-1", "new-2"], names[:1]):
        candidates = [rendezvous.Named(name) for name in sorted(alive)]
        real = [rendezvous.pick(key, candidates).id for key in owners.ids]
        assert owners.of(alive) == real


def test_a_seed_decides_everything() -> None:
    def outcome(seed: int) -> Outcome:
        return scenarios.steady(replace(SMALL, seed=seed))

    first = outcome(7)
    assert first == outcome(7)
    assert first.notices != outcome(8).notices


def test_a_death_of_one_of_ten_at_one_host_is_noticed_within_what_one_can_reckon() -> (
    None
):
    simulation = Simulation(TINY)
    simulation.time.run(30.0)
    simulation.die(population.service_id(3), 30.0)
    simulation.time.run(60.0)
    # One host proves nothing about the network, so that two more checks follow after a
    # second each, and a tenth more or less; the first within an interval.
    (noticed,) = simulation.notices
    assert 1.8 <= noticed <= 10 * 1.1 + 2 * 1.1 + 0.1


def test_checks_and_writes_of_a_quiet_minute_are_what_one_can_reckon() -> None:
    simulation = Simulation(TINY)
    simulation.time.run(20.0)
    (replica,) = simulation.replicas
    before = replica.checks
    simulation.time.run(80.0)
    # Ten services every 10 s; the replica's record every 2 s.
    assert replica.checks - before == pytest.approx(60, abs=7)
    assert sum(simulation.store.writes.values()) == pytest.approx(40, abs=1)


def test_services_of_a_lost_replica_are_checked_by_the_others() -> None:
    simulation = Simulation(replace(SMALL, detailed=300))
    simulation.time.run(10.0)
    lost = simulation.replicas[0]
    units = [lost.schedule.get(key) for key in lost.schedule.ids()]
    expected = sum(unit is not None and unit.ttl is None for unit in units)
    simulation.lose([lost.name], 10.0)
    simulation.time.run(30.0)
    taken = [each for one in simulation.replicas for each in one.taken_over]
    assert len(taken) == expected
    # Three periods without its record, one until the others look, and an interval.
    assert min(taken) > 3.9 and max(taken) < 6 + 2 + 5 + 0.5


def test_a_death_while_the_store_is_away_is_noticed_once_it_is_back() -> None:
    away = replace(TINY.store, away=(10.0, 70.0))
    simulation = Simulation(replace(TINY, store=away))
    simulation.lose_store()
    simulation.die(population.service_id(3), 15.0)
    simulation.time.run(100.0)
    (noticed,) = simulation.notices
    assert 70 - 15 < noticed < 70 - 15 + 2 + 10 * 1.1


def test_what_a_core_cannot_do_is_counted_and_not_simulated() -> None:
    sized = scenarios.growth(SMALL, (1_000_000,), (1,))
    (outcome,) = sized
    assert outcome.core > 1
    assert not outcome.notices


def test_each_cost_says_where_it_comes_from() -> None:
    assert all("`python -m benchmarks" in s or ".md#" in s for *_, s in rows(COSTS))
