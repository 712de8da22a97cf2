"""Several processes over one store: how much they serve, how soon they agree."""

import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

from benchmarks.harness import workload as w
from benchmarks.harness.backends import Backend, first_of
from benchmarks.harness.comparison import (
    RATE,
    Contender,
    compete,
    contender,
    one_provider,
)
from benchmarks.harness.event_listener import Listener
from benchmarks.harness.fill import sqlite_url, total
from benchmarks.harness.http import Connection, call, get, pour, request
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server, cpu_seconds, wait_until
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    ratios,
)
from benchmarks.harness.systems import launch_registry
from benchmarks.harness.wrk import CONNECTIONS
from benchmarks.scenarios.stores import Found, over_each
from benchmarks.scenarios.watchers import registry_watch, tell, watched

REPLICAS = 3
# The registry's own kinds of store that a registration must cross within `SOON` ms.
SWIFT = ("postgresql", "redis", "etcd")
SOON = 50
# Of varied length, so that changes keep step with nobody who looks now and then.
PAUSE = (0.02, 0.12)
# A lease in periods of its heartbeat: none may be missed, but one may come late.
LEASE = 1.5
TICK = 0.1
LINES = 8


def replicas(
    plan: Plan, fleet: Fleet, url: str, count: int, env: dict[str, str] | None = None
) -> list[Server]:
    """Return so many replicas over one store, which all know of each other."""
    started = [
        launch_registry(fleet, url, env, plan.registry).ready("/ready")
        for _ in range(count)
    ]
    wait_until(lambda: all(living(s) == count for s in started), 30, "a meeting")
    return started


def living(server: Server) -> int:
    """Return how many replicas this one takes to be alive."""
    found = get(server.port, "/health")["replicas"]
    return sum(each["state"] == "alive" for each in found)


def workers(plan: Plan) -> Row:
    """Lookups by two workers on both cores, against one worker on one core."""
    both = (plan.server_core, plan.load_core)
    with plan.fleet() as fleet:
        alone, pair = (_crew(plan, fleet, both[:count]) for count in (1, 2))
        one = replace(alone, system="1 worker", cores=both)
        field = (
            one,
            replace(one, system="1, all on 1 core", cores=both[:1]),
            replace(pair, connections=2 * CONNECTIONS, cores=both),
        )
        pids = pair.server.pids()
        used = [cpu_seconds([pid]) for pid in pids]
        first, shut_in, two = compete(plan, fleet, field, pausing=False)
        used = [cpu_seconds([p]) - was for p, was in zip(pids, used, strict=True)]
    able_one, able_two = _capacity(first, 1), _capacity(two, 2)
    checks = (
        Check("all on 2 cores / all on 1", ratios(two, shut_in), 1.7, "more"),
        Check("capacity of 2 / of 1", ratios(able_two, able_one), 1.7, "more"),
    )
    notes = (
        "'1 worker' has one core, and wrk may use both; '1, all on 1 core': wrk has to"
        " do with that core too; '2 workers' and wrk share both cores",
        "'capacity': calls for a second of the registry's processor time (utime and"
        " stime of its processes), times its cores: what these would serve with the"
        " load elsewhere",
        f"2 workers / '1 worker', whose load has a core to itself:"
        f" {median(ratios(two, first)):.2f} x; no target",
        f"the busier of the two took {max(used) / sum(used):.0%} of their time;"
        f" {CONNECTIONS} connections a worker, store SQLite",
    )
    title = f"capability lookup by 1 and 2 workers, {plan.stored:,} services"
    found = (first, shut_in, two, able_one, able_two)
    return Row("workers", title, found, checks, notes)


def _crew(plan: Plan, fleet: Fleet, cores: tuple[int, ...]) -> Contender:
    """Return a registry of a worker for each core, with a file of their own."""
    count = len(cores)
    started = launch_registry(
        fleet, sqlite_url(fleet), script=plan.registry, workers=count, cores=cores
    )
    server = started.ready("/ready")
    pour(server.port, map(w.registry_register, w.fleet(plan.stored)))
    _all_have(server, plan.stored)
    names = list(w.drawn(w.capabilities(plan.stored), plan.seed))
    how = (names, w.registry_lookup, one_provider)
    return contender(fleet, f"{count} workers", server, *how)


def _all_have(server: Server, count: int) -> None:
    """Return once every worker has shown that it holds the services."""

    def held() -> bool:
        # The kernel divides connections among the workers at random.
        totals = {get(server.port, "/api/stats")["total_services"] for _ in range(16)}
        return totals == {count}

    wait_until(held, 30, "the workers' agreement")


def _capacity(series: Series, cores: int) -> Series:
    samples = tuple(
        Sample(cores * each.value / (each.server_busy or 1.0))
        for each in series.samples
    )
    return Series(f"capacity of {cores}", RATE, samples)


def propagation(plan: Plan) -> Row:
    """From a registration at one replica to a watcher of another."""
    title = f"registration at one replica to a stream of another, {plan.news} each, p99"
    notes = (
        "from sending the registration to the other's watcher having it, so the write"
        " itself is in it; both replicas on one core",
        f"target for {', '.join(SWIFT)}; the others for information",
    )
    return over_each(plan, "propagation", title, _propagated, notes)


def _propagated(plan: Plan, fleet: Fleet, store: Backend) -> Found:
    here, there = replicas(plan, fleet, store.place(), 2)
    news = replace(plan, changes=plan.news)
    samples: list[Sample] = []
    acked: list[float] = []
    with watched(plan, there.port, [registry_watch(w.lone(0).capability)]) as watcher:
        for turn in range(min(plan.repeats, 2)):
            seeded = replace(news, seed=plan.seed + turn)
            told = tell(
                seeded,
                here,
                watcher,
                w.registry_register,
                1,
                pause=PAUSE,
                beside=(there, store),
            )
            samples.append(told.sample)
            acked += told.acked
    series = Series(f"over {store.kind}", "ms", tuple(samples))
    middle = sorted(acked)[len(acked) // 2]
    note = f"{store.kind}: the writer had its reply after {middle:.1f} ms (p50)"
    if store.kind not in SWIFT:
        return Found((series,), notes=(note,))
    check = Check(f"{store.kind} p99", series.values, SOON, "less", "ms")
    return Found((series,), (check,), (note,))


def beats(plan: Plan) -> Row:
    """Writes to the store for the heartbeats of many services at three replicas."""
    ids = [w.spec(n).id for n in range(plan.services)]
    with plan.fleet() as fleet, ExitStack() as stack:
        store = first_of(plan, fleet, ("etcd", "redis", "sqlite"), stack)
        servers = replicas(plan, fleet, store.place(), REPLICAS)
        ttl = round(LEASE * plan.period)
        leased = (w.spec(n, ttl=ttl) for n in range(plan.services))
        pour(servers[0].port, map(w.registry_register, leased))
        wait_until(
            lambda: all(total(s) == plan.services for s in servers), 30, "the news"
        )
        listeners = [stack.enter_context(Listener(s.port)) for s in servers]
        with Beating(servers, ids, plan.period) as beating:
            # Once around, so that all replicas have heard of everyone.
            beating.run(plan.period)
            before, began = _revision(store, servers[0]), time.perf_counter()
            sent = beating.run(plan.beating)
            took = time.perf_counter() - began
            written = _revision(store, servers[0]) - before
        changed = max(each.status_changes() for each in listeners)
        healthy = [get(s.port, "/api/stats")["active_services"] for s in servers]
    if min(healthy) != plan.services:
        raise BenchmarkError(f"{healthy} of {plan.services} services are healthy")
    series = Series(f"over {store.kind}", "writes/s", (Sample(written / took),))
    checks = (
        Check("writes a second", series.values, 5, "less", "/s"),
        Check("services that changed status", (float(changed),), 0, "less", ""),
    )
    notes = (
        f"{written} revisions for {sent:,} heartbeats in {took:.0f} s, by the count of"
        f" {'etcd itself' if store.kind == 'etcd' else 'the replica'}",
        f"every {plan.period} s each, ttl {ttl} s, divided among {REPLICAS} replicas;"
        " all were healthy at the end, at every replica",
    )
    title = f"heartbeats of {plan.services:,} services at {REPLICAS} replicas"
    return Row("beats", title, (series,), checks, notes)


def _revision(store: Backend, server: Server) -> int:
    """Return the store's newest revision, by its own count where it tells."""
    if store.kind == "etcd":
        port = int(store.base.rpartition(":")[2])
        return int(call(port, w.etcd_count()).json()["header"]["revision"])
    return int(get(server.port, "/health")["revision"])


class Beating:
    """Sends every service's heartbeat once a period, each to its own replica."""

    def __init__(self, servers: list[Server], ids: list[str], period: float) -> None:
        self._servers = servers
        self._period = period
        self._calls = [request("POST", f"/api/heartbeat/{each}", b"") for each in ids]
        self._lines: list[list[Connection]] = []
        self._at = 0
        self._stack = ExitStack()

    def __enter__(self) -> "Beating":
        for server in self._servers:
            lines = [Connection(server.port) for _ in range(LINES)]
            self._lines.append([self._stack.enter_context(line) for line in lines])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, seconds: float) -> int:
        """Go on for so long, and return how many were sent; raises if it falls back."""
        pause, began = threading.Event(), time.perf_counter()
        share = len(self._calls) / self._period
        sent = 0
        while (passed := time.perf_counter() - began) < seconds:
            sent += self._send(int(share * passed) - sent)
            pause.wait(TICK)
        if sent < 0.9 * share * seconds:
            raise BenchmarkError(f"{sent} heartbeats in {seconds:.0f} s: too slow")
        return sent

    def _send(self, count: int) -> int:
        numbers = [(self._at + n) % len(self._calls) for n in range(count)]
        self._at += count
        # One line of each replica to spare: where the round ends, one gets two.
        most = len(self._lines) * (LINES - 1)
        for first in range(0, count, most):
            self._exchange(numbers[first : first + most])
        return count

    def _exchange(self, numbers: list[int]) -> None:
        free = [list(lines) for lines in self._lines]
        busy = []
        for number in numbers:
            line = free[number % len(free)].pop()
            line.send(self._calls[number])
            busy.append(line)
        for line in busy:
            reply = line.receive()
            if reply.status != 200:
                raise BenchmarkError(f"a heartbeat got {reply.status}")
