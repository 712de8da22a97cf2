"""Watchers by the thousand: how soon they see a change, and what they cost."""

import random
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    Measure,
    SystemUnderTest,
    lookups,
    measure_system,
    take_turns,
)
from benchmarks.harness.http import request
from benchmarks.harness.paths import PROGRAMS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import CpuMeter, Fleet, HasCpuTime, Server
from benchmarks.harness.programs import Program
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    at_least,
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
# Changes a second, while lookups go on.
CHANGE_RATE = 10


SPARE = 100
"""Places for streams beyond those that are measured."""

OTHER_CONNECTIONS = 500
"""Enough for the calls, and for the watchers that are opening."""


def room(watchers: int) -> dict[str, str]:
    """Return the settings of a registry that takes so many streams, and some calls."""
    return {
        "REGISTRY_MAX_WATCHERS": str(watchers + SPARE),
        "REGISTRY_MAX_CONNECTIONS": str(OTHER_CONNECTIONS),
    }


@contextmanager
def open_watchers(
    plan: Plan, port: int, requests: Sequence[bytes], kind: str = "stream"
) -> Iterator[Program]:
    """Yield a program that holds an open watcher for each of the requests."""
    with Program(plan.load_core, PROGRAMS / "watchers.py") as program:
        texts = [raw.decode() for raw in requests]
        program.ask(do="open", port=port, kind=kind, requests=texts)
        yield program


def allow_files(watchers: int) -> None:
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
    return measure(server, watchers, changes, expected, beside)


def measure(
    server: Server,
    watchers: Program,
    changes: Sequence[dict[str, object]],
    expected: int,
    beside: Sequence[HasCpuTime] = (),
) -> Delays:
    """Make some changes; return when their ``expected`` watchers saw them."""
    meter = CpuMeter(server, watchers, *beside)
    _send_changes(server, watchers, changes, expected)
    reply = watchers.reply()
    foreign, made = meter.foreign_share(), reply["changes"]
    received = _received(reply, len(changes) * expected)
    acknowledged = tuple(1000 * change["acknowledged"] for change in made)
    return Delays(received, acknowledged, _sample(received, made, foreign))


def _send_changes(
    server: Server,
    watchers: Program,
    changes: Sequence[dict[str, object]],
    expected: int,
    periodic: bool = False,
) -> None:
    watchers.send(
        do="change",
        port=server.port,
        expected=expected,
        pids=server.pids(),
        changes=changes,
        periodic=periodic,
    )


def _received(reply: dict[str, Any], expected: int) -> tuple[float, ...]:
    """Return each copy's delay; raises if one is missing or went to another watcher."""
    delays = [delay for change in reply["changes"] for delay in change["received"]]
    if len(delays) != expected or reply["strays"]:
        raise BenchmarkError(
            f"{len(delays)} of {expected} copies received, and {reply['strays']} by"
            " watchers of something else"
        )
    return tuple(1000 * delay for delay in delays)


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


def registry_delays(
    plan: Plan, requests: Sequence[bytes], expected: int
) -> tuple[Delays, float]:
    """Return one repeat with a fresh registry and a watcher for each request.

    The second figure is its memory for each watcher, in bytes.
    """
    register = workload.registry_register
    with plan.fleet() as fleet:
        server = start_registry(plan, fleet, env=room(len(requests)))
        before = server.worker_rss()
        with open_watchers(plan, server.port, requests) as watchers:
            memory = (server.worker_rss() - before) / len(requests)
            delays = measure_changes(plan, server, watchers, register, expected)
            return delays, memory


def consul_delays(plan: Plan, requests: Sequence[bytes]) -> Delays:
    """Return one repeat with a fresh Consul and a watcher for each request."""
    register = workload.consul_register
    with plan.fleet() as fleet:
        server = consul(fleet, dev=False)
        with open_watchers(plan, server.port, requests, "query") as watchers:
            return measure_changes(plan, server, watchers, register, len(requests))


def event_streams(count: int) -> list[bytes]:
    return [registry_watch(workload.sole_provider(0).capability)] * count


def watch(plan: Plan) -> Row:
    """From a change to each of many watchers of the same capability."""
    count = plan.watchers
    allow_files(count)
    queries = [consul_watch(workload.sole_provider(0).capability)] * count
    memories: dict[str, list[Sample]] = {}

    def ours(version: Plan) -> Sample:
        delays, memory = registry_delays(version, event_streams(count), count)
        memories.setdefault(f"memory{version.mark}", []).append(Sample(memory))
        return delays.sample

    measures: dict[str, Measure] = {
        f"registry{version.mark}": partial(ours, version) for version in plan.versions()
    }
    measures["consul"] = lambda: consul_delays(plan, queries).sample
    series = take_turns(plan.repeats, measures, "ms")
    memory = [Series(n, "bytes/stream", tuple(taken)) for n, taken in memories.items()]
    registry, consuls = series[0], series[-1]
    checks = (
        Check("p99", registry.values, 25, "less", "ms"),
        Check("consul p99 / registry p99", ratios(consuls, registry), 8, "more"),
        Check("bytes a stream", memory[0].values, 7_000, "less", "bytes"),
    )
    notes = ("from sending the change to the watcher having it; 'other core' reads it",)
    title = f"change to watcher, {count:,} watchers, {plan.changes} changes, p99"
    return Row("watch", title, (*series, *memory), checks, notes)


def bystanders(plan: Plan) -> Row:
    """From a change to its few watchers, while many watch something else."""
    allow_files(plan.watchers + FEW)
    capabilities = workload.capabilities(plan.watchers * workload.PER_CAPABILITY)
    many = [registry_watch(capability) for capability in capabilities]
    # More changes, because only a few watchers receive each.
    longer = replace(plan, changes=3 * plan.changes)
    requests = event_streams(FEW) + many
    repeats = [registry_delays(longer, requests, FEW)[0] for _ in range(plan.repeats)]
    series = Series("registry", "ms", tuple(delays.sample for delays in repeats))
    check = Check("p99", series.values, 10, "less", "ms")
    slowest = max(max(delays.received) for delays in repeats)
    notes = (f"the slowest took {slowest:.1f} ms; no other watcher received a change",)
    title = (
        f"change to its {FEW} watchers beside {plan.watchers:,} others,"
        f" {longer.changes} changes, p99"
    )
    return Row("bystanders", title, (series,), (check,), notes)


def streams(plan: Plan) -> Row:
    """Lookups while many streams get every change, against none."""
    count = plan.many_watchers
    allow_files(count)
    rates: dict[str, list[float]] = {}
    measures: dict[str, Measure] = {}
    with plan.fleet() as fleet, ExitStack() as stack:
        for version in plan.versions():
            alone, beside = (
                lookups(version, fleet, name, plan.services, env=room(count))
                for name in ("no streams", "streams")
            )
            port, requests = beside.server.port, event_streams(count)
            watchers = stack.enter_context(open_watchers(plan, port, requests))
            measures[alone.name] = partial(measure_system, plan, fleet, alone)
            measures[beside.name] = partial(
                _lookups_beside_changes, plan, fleet, beside, watchers, rates
            )
        series = take_turns(plan.repeats, measures)
    p99 = tuple(sample.p99 or 0.0 for sample in series[1].samples)
    checks = (
        at_least(series[1], series[0], 0.5),
        Check("p99 beside streams", p99, 10, "less", "ms"),
    )
    notes = tuple(
        f"{name}: {median(made):.1f} changes a second to all, of {CHANGE_RATE} tried"
        for name, made in rates.items()
    )
    title = f"capability lookup beside {count:,} streams that get every change"
    return Row("streams", title, tuple(series), checks, notes)


def _lookups_beside_changes(
    plan: Plan,
    fleet: Fleet,
    system: SystemUnderTest,
    watchers: Program,
    rates: dict[str, list[float]],
) -> Sample:
    """Return the lookups' sample; add the rate of the changes to ``rates``."""
    # A second more, for the replies that are verified.
    count = CHANGE_RATE * (plan.warmup + plan.seconds + 1)
    pause, register = (1 / CHANGE_RATE,) * 2, workload.registry_register
    changes = _changes(replace(plan, changes=count), register, pause)
    expected = plan.many_watchers
    _send_changes(system.server, watchers, changes, expected, periodic=True)
    sample = measure_system(plan, fleet, system, (watchers,))
    reply = watchers.reply()
    _received(reply, count * expected)
    rates.setdefault(system.name, []).append(reply["rate"])
    return sample
