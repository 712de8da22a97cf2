"""Several processes over one store: how much they serve, how soon they agree."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.harness import workload
from benchmarks.harness.backends import Backend, first_available
from benchmarks.harness.comparison import (
    SystemUnderTest,
    compare,
    one_provider,
    system_under_test,
)
from benchmarks.harness.event_listener import EventListener
from benchmarks.harness.fill import sqlite_url, total_services
from benchmarks.harness.http import Connection, call, get, request, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server, wait_until
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    percentile,
    ratios,
)
from benchmarks.harness.systems import start_registry
from benchmarks.load.wrk import CONNECTIONS
from benchmarks.scenarios.events.watchers import (
    measure_changes,
    open_watchers,
    registry_watch,
)
from benchmarks.scenarios.stores.stores import StoreResult, over_each

REPLICAS = 3
# The stores with a target: a registration must reach other replicas within so many ms.
FAST_KINDS = ("postgresql", "redis", "etcd")
PROPAGATION_LIMIT = 50
# Seconds between two changes, of varied length so that they keep step with no polling.
PAUSE = (0.02, 0.12)
# A lease in heartbeat periods: no heartbeat may be missed, but one may be late.
LEASE_PERIODS = 1.5
TICK = 0.1
CONNECTIONS_PER_REPLICA = 8


def start_replicas(
    plan: Plan, fleet: Fleet, url: str, count: int, env: dict[str, str] | None = None
) -> list[Server]:
    """Return so many new replicas over one store, once they all know each other."""
    servers = [start_registry(plan, fleet, url, env) for _ in range(count)]
    wait_until(
        lambda: all(alive_replicas(server) == count for server in servers),
        30,
        "all replicas knowing each other",
    )
    return servers


def alive_replicas(server: Server) -> int:
    """Return how many replicas this one considers alive."""
    replicas = get(server.port, "/health")["replicas"]
    return sum(replica["state"] == "alive" for replica in replicas)


def workers(plan: Plan) -> Row:
    """Lookups by two workers and by one, with the load on the same two cores."""
    both = (plan.server_core, plan.load_core)
    with plan.fleet() as fleet:
        alone, pair = (_workers(plan, fleet, both[:count]) for count in (1, 2))
        systems = (
            replace(alone, name="1 worker", cores=both),
            replace(pair, connections=2 * CONNECTIONS, cores=both),
        )
        one, two = compare(plan, fleet, systems, pausing=False)
    used = [
        median(s.value / (s.server_busy or 1) for s in series.samples)
        for series in (one, two)
    ]
    notes = (
        f"2 workers / 1 worker: {median(ratios(two, one)):.2f} x; no target: one worker"
        " leaves the load a core to itself, two share both cores with it",
        "a second of the registry's processor time serves"
        f" {used[0]:,.0f} lookups by 1 worker, {used[1]:,.0f} by 2: with the load"
        f" elsewhere 2 would serve {2 * used[1] / used[0]:.2f} times as many as 1",
        f"{CONNECTIONS} connections a worker, store SQLite",
    )
    title = f"capability lookup by 1 and 2 workers, {plan.stored_services:,} services"
    return Row("workers", title, (one, two), notes=notes)


def _workers(plan: Plan, fleet: Fleet, cores: tuple[int, ...]) -> SystemUnderTest:
    """Return a registry with a worker for each core, over a SQLite file of its own."""
    count, services = len(cores), plan.stored_services
    server = start_registry(plan, fleet, sqlite_url(fleet), workers=count, cores=cores)
    registrations = map(workload.registry_register, workload.services(services))
    send_all(server.port, registrations)
    _wait_for_all_workers(server, services)
    keys = list(workload.draw(workload.capabilities(services), plan.seed))
    load = (server, keys, workload.registry_lookup, one_provider)
    return system_under_test(fleet, f"{count} workers", *load)


def _wait_for_all_workers(server: Server, count: int) -> None:
    """Return once every worker holds so many services."""

    def held() -> bool:
        # The kernel spreads connections over the workers at random.
        totals = {total_services(server) for _ in range(16)}
        return totals == {count}

    wait_until(held, 30, "all workers holding the same services")


def propagation(plan: Plan) -> Row:
    """From a registration at one replica to a watcher of another."""
    count = plan.propagations
    title = f"registration at one replica to a stream of another, {count} each, p99"
    notes = (
        "from sending the registration to the other's watcher having it, so the write"
        " itself is included; both replicas on one core",
        f"target for {', '.join(FAST_KINDS)}; the others for information",
    )
    return over_each(plan, "propagation", title, _propagation, notes)


def _propagation(plan: Plan, fleet: Fleet, store: Backend) -> StoreResult:
    written, watched = start_replicas(plan, fleet, store.empty_store(), 2)
    stream = registry_watch(workload.sole_provider(0).capability)
    samples: list[Sample] = []
    acknowledged: list[float] = []
    with open_watchers(plan, watched.port, [stream]) as watcher:
        for turn in range(min(plan.repeats, 2)):
            delays = measure_changes(
                replace(plan, changes=plan.propagations, seed=plan.seed + turn),
                written,
                watcher,
                workload.registry_register,
                1,
                pause=PAUSE,
                beside=(watched, store),
            )
            samples.append(delays.sample)
            acknowledged += delays.acknowledged
    series = Series(f"over {store.kind}", "ms", tuple(samples))
    reply = percentile(acknowledged, 0.5)
    note = f"{store.kind}: the writer had its reply after {reply:.1f} ms (p50)"
    if store.kind not in FAST_KINDS:
        return StoreResult((series,), notes=(note,))
    limit = PROPAGATION_LIMIT
    check = Check(f"{store.kind} p99", series.values, limit, "less", "ms")
    return StoreResult((series,), (check,), (note,))


@dataclass(frozen=True, slots=True)
class Beats:
    """What some seconds of heartbeats did to the store and to the services."""

    sent: int
    revisions: int
    seconds: float
    status_changes: int


def beats(plan: Plan) -> Row:
    """Writes to the store for the heartbeats of many services at three replicas."""
    ttl = round(LEASE_PERIODS * plan.heartbeat_period)
    with plan.fleet() as fleet, ExitStack() as stack:
        store = first_available(plan, fleet, ("etcd", "redis", "sqlite"), stack)
        servers = start_replicas(plan, fleet, store.empty_store(), REPLICAS)
        leased = (workload.service(n, ttl=ttl) for n in range(plan.services))
        send_all(servers[0].port, map(workload.registry_register, leased))
        wait_until(
            lambda: all(total_services(s) == plan.services for s in servers),
            30,
            "all replicas holding all services",
        )
        outcome = _beat(plan, store, servers)
        healthy = [get(s.port, "/api/stats")["active_services"] for s in servers]
    if min(healthy) != plan.services:
        raise BenchmarkError(f"{healthy} of {plan.services} services are healthy")
    rate = Sample(outcome.revisions / outcome.seconds)
    series = Series(f"over {store.kind}", "writes/s", (rate,))
    changed = float(outcome.status_changes)
    checks = (
        Check("writes a second", series.values, 5, "less", "/s"),
        Check("services that changed status", (changed,), 0, "less", ""),
    )
    notes = (
        f"{outcome.revisions} revisions for {outcome.sent:,} heartbeats in"
        f" {outcome.seconds:.0f} s, counted by"
        f" {'etcd itself' if store.kind == 'etcd' else 'the replica'}",
        f"every {plan.heartbeat_period} s each, ttl {ttl} s, spread over {REPLICAS}"
        " replicas; all were healthy at the end, at every replica",
    )
    title = f"heartbeats of {plan.services:,} services at {REPLICAS} replicas"
    return Row("beats", title, (series,), checks, notes)


def _beat(plan: Plan, store: Backend, servers: Sequence[Server]) -> Beats:
    ids = [workload.service(n).id for n in range(plan.services)]
    period = plan.heartbeat_period
    with ExitStack() as stack:
        listeners = [stack.enter_context(EventListener(s.port)) for s in servers]
        sender = stack.enter_context(HeartbeatSender(servers, ids, period))
        # After one period every replica has heard from every service.
        sender.run(period)
        before, began = _revision(store, servers[0]), time.perf_counter()
        sent = sender.run(plan.heartbeat_seconds)
        seconds = time.perf_counter() - began
        revisions = _revision(store, servers[0]) - before
        changes = max(listener.status_changes() for listener in listeners)
    return Beats(sent, revisions, seconds, changes)


def _revision(store: Backend, server: Server) -> int:
    """Return the store's newest revision; etcd's own count, else the replica's."""
    if store.kind == "etcd":
        port = int(store.base_url.rpartition(":")[2])
        reply = call(port, workload.etcd_count()).json()
        return int(reply["header"]["revision"])
    return int(get(server.port, "/health")["revision"])


class HeartbeatSender:
    """Sends every service's heartbeat once a period, always to the same replica."""

    def __init__(
        self, servers: Sequence[Server], ids: Sequence[str], period: float
    ) -> None:
        self._servers = servers
        self._period = period
        self._requests = [
            request("POST", f"/api/heartbeat/{service_id}", b"") for service_id in ids
        ]
        self._pools: list[list[Connection]] = []
        self._position = 0
        self._stack = ExitStack()

    def __enter__(self) -> "HeartbeatSender":
        for server in self._servers:
            connections = range(CONNECTIONS_PER_REPLICA)
            pool = [
                self._stack.enter_context(Connection(server.port)) for _ in connections
            ]
            self._pools.append(pool)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, seconds: float) -> int:
        """Send for so long; return how many were sent. Raises if it falls behind."""
        pause, began = threading.Event(), time.perf_counter()
        rate = len(self._requests) / self._period
        sent = 0
        while (passed := time.perf_counter() - began) < seconds:
            sent += self._send(int(rate * passed) - sent)
            pause.wait(TICK)
        if sent < 0.9 * rate * seconds:
            raise BenchmarkError(f"{sent} heartbeats in {seconds:.0f} s: too slow")
        return sent

    def _send(self, count: int) -> int:
        numbers = [(self._position + n) % len(self._requests) for n in range(count)]
        self._position += count
        # One connection to each replica is spare: at the end of a round one gets two.
        batch = len(self._pools) * (CONNECTIONS_PER_REPLICA - 1)
        for first in range(0, count, batch):
            self._exchange(numbers[first : first + batch])
        return count

    def _exchange(self, numbers: list[int]) -> None:
        free = [list(pool) for pool in self._pools]
        busy = []
        for number in numbers:
            connection = free[number % len(free)].pop()
            connection.send(self._requests[number])
            busy.append(connection)
        for connection in busy:
            reply = connection.receive()
            if reply.status != 200:
                raise BenchmarkError(f"a heartbeat got {reply.status}")
