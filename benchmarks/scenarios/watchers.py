"""Watchers by the thousand: how soon they hear of a change, and what they cost."""

import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness import workload as w
from benchmarks.harness.comparison import compete, contender, one_provider
from benchmarks.harness.fill import filled_registry
from benchmarks.harness.http import get, request
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Server
from benchmarks.harness.programs import Program
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    percentile,
    ratios,
)
from benchmarks.harness.systems import consul, launch_registry
from benchmarks.harness.wrk import Busy, foreign_seconds

PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "watchers.py"
# What a server has open beside its watchers.
OTHER_FILES = 1_024
# Long enough for everyone to be waiting again, of varied length so that changes do
# not keep step with anything.
PAUSE = (0.25, 0.5)
WAIT = "300s"
FEW = 10


@contextmanager
def watched(
    plan: Plan, port: int, requests: Sequence[bytes], kind: str = "stream"
) -> Iterator[Program]:
    """Yield a generator that holds a watcher for each of the requests."""
    with Program(plan.load_core, PROGRAM) as generator:
        raw = [each.decode() for each in requests]
        generator.ask(do="open", port=port, kind=kind, requests=raw)
        yield generator


def _allow(watchers: int) -> None:
    """Let what is started from here on, servers too, have so many connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = watchers + OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchmarkError(
            f"this takes {wanted} open files and {hard} are allowed: raise ulimit -Hn"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def registry_watch(capability: str) -> bytes:
    """Return the call for the stream of a capability's events."""
    return request("GET", f"/api/events?capability={capability}")


def consul_watch(capability: str) -> bytes:
    """Return Consul's call that waits for a change of a service's healthy instances."""
    query = f"passing&index={{index}}&wait={WAIT}"
    return request("GET", f"/v1/health/service/{capability}?{query}")


@dataclass(frozen=True, slots=True)
class Told:
    """What became of some changes. All times are milliseconds."""

    heard: tuple[float, ...]
    acked: tuple[float, ...]
    sample: Sample


def tell(
    plan: Plan,
    server: Server,
    generator: Program,
    register: Callable[[w.Spec], bytes],
    hearers: int,
    pause: tuple[float, float] = PAUSE,
    beside: Sequence[Busy] = (),
) -> Told:
    """Change one service again and again, and return when its watchers had it.

    It is registered anew each time with another build, by which each watcher's copy
    of the news is told. So every reply has one instance in it, however many changes.
    ``pause`` is the least and the most between two, in seconds.
    """
    pauses = random.Random(plan.seed)
    changes = []
    for n in range(plan.changes):
        build = f"2026.10.17-change{n:06d}"
        raw = register(replace(w.lone(0), build=build)).decode()
        changes.append({"raw": raw, "marker": build, "pause": pauses.uniform(*pause)})
    pids, began = server.pids(), time.perf_counter()
    ours: tuple[Busy, ...] = (server, generator, *beside)
    others = foreign_seconds(*ours)
    found = generator.ask(
        do="change", port=server.port, hearers=hearers, pids=pids, changes=changes
    )
    others = foreign_seconds(*ours) - others
    made = found["changes"]
    heard = tuple(1000 * at for change in made for at in change["heard"])
    if len(heard) != plan.changes * hearers or found["strays"]:
        raise BenchmarkError(
            f"{len(heard)} of {plan.changes * hearers} heard, {found['strays']} who"
            " had not asked"
        )
    took = sum(change["took"] for change in made)
    p99 = percentile(heard, 0.99)
    sample = Sample(
        value=p99,
        p50=percentile(heard, 0.5),
        p99=p99,
        server_busy=sum(change["served"] for change in made) / took,
        client_busy=sum(change["spent"] for change in made) / took,
        foreign=max(0.0, others) / (time.perf_counter() - began),
    )
    return Told(heard, tuple(1000 * change["acked"] for change in made), sample)


def registry_told(plan: Plan, requests: Sequence[bytes], hearers: int) -> Told:
    """Return one repeat with a fresh registry and a watcher for each request."""
    with plan.fleet() as fleet:
        server = launch_registry(fleet, script=plan.registry).ready("/ready")
        with watched(plan, server.port, requests) as generator:
            return tell(plan, server, generator, w.registry_register, hearers)


def consul_told(plan: Plan, requests: Sequence[bytes]) -> Told:
    """Return one repeat with a fresh Consul and a watcher for each request."""
    with plan.fleet() as fleet:
        server = consul(fleet, dev=False)
        with watched(plan, server.port, requests, "query") as generator:
            return tell(plan, server, generator, w.consul_register, len(requests))


def watch(plan: Plan) -> Row:
    """From a change to each of many watchers of the same capability."""
    _allow(plan.watchers)
    name, count = w.lone(0).capability, plan.watchers
    here, there = [registry_watch(name)] * count, [consul_watch(name)] * count
    ours, theirs = [], []
    for _ in range(plan.repeats):
        ours.append(registry_told(plan, here, count))
        theirs.append(consul_told(plan, there))
    mine = Series("registry", "ms", tuple(told.sample for told in ours))
    consuls = Series("consul", "ms", tuple(told.sample for told in theirs))
    check = Check("consul p99 / registry p99", ratios(consuls, mine), 5, "more")
    notes = (
        "from sending the change to the watcher's having it; 'other core' reads it",
        f"the registry's writer had its reply after {_middle(ours)}, Consul's after"
        f" {_middle(theirs)}",
    )
    title = f"change to watcher, {count:,} watchers, {plan.changes} changes, p99"
    return Row("watch", title, (mine, consuls), (check,), notes)


def _middle(told: Sequence[Told]) -> str:
    acked = [at for each in told for at in each.acked]
    return f"{percentile(acked, 0.5):.1f} ms (p50)"


def bystanders(plan: Plan) -> Row:
    """From a change to its few watchers, while many watch something else."""
    _allow(plan.watchers + FEW)
    few = [registry_watch(w.lone(0).capability)] * FEW
    many = [
        registry_watch(w.spec(n * w.PER_CAPABILITY).capability)
        for n in range(plan.watchers)
    ]
    # More of them, since only a few watchers hear of each.
    longer = replace(plan, changes=3 * plan.changes)
    told = [registry_told(longer, few + many, FEW) for _ in range(plan.repeats)]
    series = Series("registry", "ms", tuple(each.sample for each in told))
    check = Check("p99", series.values, 10, "less", "ms")
    slowest = max(at for each in told for at in each.heard)
    notes = (f"the slowest of all took {slowest:.1f} ms; no bystander heard a thing",)
    title = (
        f"change to its {FEW} watchers beside {plan.watchers:,} others,"
        f" {longer.changes} changes, p99"
    )
    return Row("bystanders", title, (series,), (check,), notes)


def open_(plan: Plan) -> Row:
    """Lookups with many watchers open, against none."""
    _allow(plan.opened)
    names = list(w.drawn(w.capabilities(plan.services), plan.seed))
    count, name = plan.opened, w.lone(0).capability
    how = (w.registry_lookup, one_provider)
    with plan.fleet() as fleet:
        servers = [filled_registry(plan, fleet, w.fleet(plan.services)) for _ in "ab"]
        labels = ("no watchers", f"{count:,} watchers")
        field = [
            contender(fleet, label, server, names, *how)
            for label, server in zip(labels, servers, strict=True)
        ]
        server = servers[1]
        before = server.worker_rss()
        requests = [registry_watch(name)] * count
        with watched(plan, server.port, requests) as generator:
            grown = (server.worker_rss() - before) / count
            longer = replace(plan, seconds=plan.beside_streams)
            series = compete(longer, fleet, field)
            still = get(server.port, "/api/stats")["watchers"]
            if still != count:
                raise BenchmarkError(f"{still} of {count} watchers are still there")
            short = replace(plan, changes=3)
            told = tell(short, server, generator, w.registry_register, count)
    share = ratios(series[1], series[0])
    check = Check(f"{count:,} watchers / none", share, 0.7, "more")
    notes = (
        f"a watcher takes {grown / 1000:.0f} KB of the worker's resident memory",
        f"afterwards a change reached all of them, p99 {told.sample.p99:.0f} ms",
    )
    title = f"capability lookup beside {count:,} open watchers"
    return Row("open", title, tuple(series), (check,), notes)
