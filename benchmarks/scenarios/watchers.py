"""Watchers by the thousand: how soon they see a change, and what they cost."""

import random
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.harness import workload
from benchmarks.harness.comparison import compare, one_provider, system_under_test
from benchmarks.harness.fill import filled_registry
from benchmarks.harness.http import get, request
from benchmarks.harness.paths import PROGRAMS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import CpuMeter, HasCpuTime, Server
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
from benchmarks.harness.systems import consul, start_registry
from benchmarks.harness.workload import Service

# What a server has open besides its watchers.
OTHER_FILES = 1_024
# Seconds between two changes: enough for all watchers to wait again, of varied length
# so that changes keep step with nothing.
PAUSE = (0.25, 0.5)
CONSUL_WAIT = "300s"
FEW = 10


@contextmanager
def open_watchers(
    plan: Plan, port: int, requests: Sequence[bytes], kind: str = "stream"
) -> Iterator[Program]:
    """Yield a program that holds an open watcher for each of the requests."""
    with Program(plan.load_core, PROGRAMS / "watchers.py") as program:
        texts = [raw.decode() for raw in requests]
        program.ask(do="open", port=port, kind=kind, requests=texts)
        yield program


def _allow_files(watchers: int) -> None:
    """Raise the limit of open files for this process and all that it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = watchers + OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchmarkError(
            f"this needs {needed} open files, and {hard} are allowed: raise ulimit -Hn"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def registry_watch(capability: str) -> bytes:
    """Return the request for the stream of a capability's events."""
    return request("GET", f"/api/events?capability={capability}")


def consul_watch(capability: str) -> bytes:
    """Return Consul's blocking query for a service's healthy instances."""
    query = f"passing&index={{index}}&wait={CONSUL_WAIT}"
    return request("GET", f"/v1/health/service/{capability}?{query}")


@dataclass(frozen=True, slots=True)
class Delays:
    """The delays of some changes, in milliseconds from sending each.

    ``received`` has one for each watcher and change, ``acknowledged`` one for each
    reply to the writer.
    """

    received: tuple[float, ...]
    acknowledged: tuple[float, ...]
    sample: Sample


def measure_changes(
    plan: Plan,
    server: Server,
    watchers: Program,
    register: Callable[[Service], bytes],
    expected: int,
    pause: tuple[float, float] = PAUSE,
    beside: Sequence[HasCpuTime] = (),
) -> Delays:
    """Change a service again and again; return when its ``expected`` watchers saw it.

    Each change registers the same service with another build, by which the watchers'
    copies are told apart. So a reply always has one instance, however many changes.
    ``pause`` is the shortest and the longest between two changes, in seconds.
    """
    changes = _changes(plan, register, pause)
    meter = CpuMeter(server, watchers, *beside)
    reply = watchers.ask(
        do="change",
        port=server.port,
        expected=expected,
        pids=server.pids(),
        changes=changes,
    )
    foreign, made = meter.foreign_share(), reply["changes"]
    received = tuple(1000 * delay for change in made for delay in change["received"])
    if len(received) != len(changes) * expected or reply["strays"]:
        raise BenchmarkError(
            f"{len(received)} of {len(changes) * expected} copies received, and"
            f" {reply['strays']} by watchers of something else"
        )
    acknowledged = tuple(1000 * change["acknowledged"] for change in made)
    return Delays(received, acknowledged, _sample(received, made, foreign))


def _sample(
    received: Sequence[float], made: Sequence[dict[str, Any]], foreign: float
) -> Sample:
    seconds = sum(change["seconds"] for change in made)
    p50, p99 = percentile(received, 0.5), percentile(received, 0.99)
    return Sample(
        value=p99,
        p50=p50,
        p99=p99,
        server_busy=sum(change["server_cpu"] for change in made) / seconds,
        client_busy=sum(change["cpu"] for change in made) / seconds,
        foreign=foreign,
    )


def _changes(
    plan: Plan, register: Callable[[Service], bytes], pause: tuple[float, float]
) -> list[dict[str, object]]:
    rng = random.Random(plan.seed)
    changes: list[dict[str, object]] = []
    for number in range(plan.changes):
        build = f"2026.10.17-change{number:06d}"
        raw = register(replace(workload.sole_provider(0), build=build)).decode()
        changes.append({"raw": raw, "marker": build, "pause": rng.uniform(*pause)})
    return changes


def registry_delays(plan: Plan, requests: Sequence[bytes], expected: int) -> Delays:
    """Return one repeat with a fresh registry and a watcher for each request."""
    register = workload.registry_register
    with plan.fleet() as fleet:
        server = start_registry(plan, fleet)
        with open_watchers(plan, server.port, requests) as watchers:
            return measure_changes(plan, server, watchers, register, expected)


def consul_delays(plan: Plan, requests: Sequence[bytes]) -> Delays:
    """Return one repeat with a fresh Consul and a watcher for each request."""
    register = workload.consul_register
    with plan.fleet() as fleet:
        server = consul(fleet, dev=False)
        with open_watchers(plan, server.port, requests, "query") as watchers:
            return measure_changes(plan, server, watchers, register, len(requests))


def watch(plan: Plan) -> Row:
    """From a change to each of many watchers of the same capability."""
    _allow_files(plan.watchers)
    capability, count = workload.sole_provider(0).capability, plan.watchers
    streams = [registry_watch(capability)] * count
    queries = [consul_watch(capability)] * count
    ours, theirs = [], []
    for _ in range(plan.repeats):
        ours.append(registry_delays(plan, streams, count))
        theirs.append(consul_delays(plan, queries))
    registry = Series("registry", "ms", tuple(delays.sample for delays in ours))
    consuls = Series("consul", "ms", tuple(delays.sample for delays in theirs))
    share = ratios(consuls, registry)
    check = Check("consul p99 / registry p99", share, 5, "more")
    notes = (
        "from sending the change to the watcher having it; 'other core' reads it",
        f"the registry's writer had its reply after {_median_reply(ours)}, Consul's"
        f" after {_median_reply(theirs)}",
    )
    title = f"change to watcher, {count:,} watchers, {plan.changes} changes, p99"
    return Row("watch", title, (registry, consuls), (check,), notes)


def _median_reply(repeats: Sequence[Delays]) -> str:
    acknowledged = [delay for delays in repeats for delay in delays.acknowledged]
    return f"{percentile(acknowledged, 0.5):.1f} ms (p50)"


def bystanders(plan: Plan) -> Row:
    """From a change to its few watchers, while many watch something else."""
    _allow_files(plan.watchers + FEW)
    few = [registry_watch(workload.sole_provider(0).capability)] * FEW
    capabilities = workload.capabilities(plan.watchers * workload.PER_CAPABILITY)
    many = [registry_watch(capability) for capability in capabilities]
    # More changes, because only a few watchers receive each.
    longer = replace(plan, changes=3 * plan.changes)
    repeats = [registry_delays(longer, few + many, FEW) for _ in range(plan.repeats)]
    series = Series("registry", "ms", tuple(delays.sample for delays in repeats))
    check = Check("p99", series.values, 10, "less", "ms")
    slowest = max(max(delays.received) for delays in repeats)
    notes = (f"the slowest took {slowest:.1f} ms; no other watcher received a change",)
    title = (
        f"change to its {FEW} watchers beside {plan.watchers:,} others,"
        f" {longer.changes} changes, p99"
    )
    return Row("bystanders", title, (series,), (check,), notes)


def open_(plan: Plan) -> Row:
    """Lookups with many watchers open, against none."""
    count = plan.open_watchers
    _allow_files(count)
    keys = list(workload.draw(workload.capabilities(plan.services), plan.seed))
    streams = [registry_watch(workload.sole_provider(0).capability)] * count
    systems = []
    with plan.fleet() as fleet:
        for name in ("no watchers", f"{count:,} watchers"):
            server = filled_registry(plan, fleet, workload.services(plan.services))
            load = (server, keys, workload.registry_lookup, one_provider)
            systems.append(system_under_test(fleet, name, *load))
        before = server.worker_rss()
        with open_watchers(plan, server.port, streams) as watchers:
            memory = (server.worker_rss() - before) / count
            longer = replace(plan, seconds=plan.open_seconds)
            without, beside = compare(longer, fleet, systems)
            still_open = get(server.port, "/api/stats")["watchers"]
            if still_open != count:
                raise BenchmarkError(f"{still_open} of {count} watchers are still open")
            few, register = replace(plan, changes=3), workload.registry_register
            delays = measure_changes(few, server, watchers, register, count)
    share = ratios(beside, without)
    check = Check(f"{count:,} watchers / none", share, 0.7, "more")
    notes = (
        f"a watcher takes {memory / 1000:.0f} KB of the worker's resident memory",
        f"afterwards a change reached all of them, p99 {delays.sample.p99:.0f} ms",
    )
    title = f"capability lookup beside {count:,} open watchers"
    return Row("open", title, (without, beside), (check,), notes)
