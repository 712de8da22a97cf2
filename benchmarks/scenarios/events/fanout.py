"""From a change to all who watch it, by their number."""

import math
import resource
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.comparison import Measure, take_turns
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Server
from benchmarks.harness.results import BenchmarkError, Check, Row, Sample, Series
from benchmarks.harness.systems import consul, etcd
from benchmarks.scenarios.events.watchers import (
    OTHER_CONNECTIONS,
    OTHER_FILES,
    SPARE,
    allow_files,
    consul_watch,
    event_streams,
    measure_changes,
    open_watchers,
    registry_delays,
)

COPIES = 40_000
"""Copies of changes that a repeat has, about; at least `FEWEST` changes are made."""

FEWEST = 5
TOO_SLOW = 2_000.0
"""Milliseconds of p99 above which a system is not measured with more watchers."""

TARGETS = {5_000: 50, 10_000: 100}
"""Milliseconds of the registry's p99."""


def fanout(plan: Plan) -> Row:
    """From a change to each of its watchers, by their number."""
    counts, notes = _possible(plan.fanouts)
    allow_files(max(counts))
    systems: dict[str, Callable[[Plan, int], Sample]] = {
        f"registry{version.mark}": partial(_registry, version)
        for version in plan.versions()
    }
    systems |= {"consul": _consul, "etcd": _etcd}
    series: list[Series] = []
    for number in counts:
        changes = max(FEWEST, min(plan.changes, COPIES // number))
        fewer = replace(plan, changes=changes)
        failures: dict[str, str] = {}
        measures = {
            name: _guarded(name, partial(measure, fewer, number), failures)
            for name, measure in systems.items()
        }
        for one in take_turns(plan.repeats, measures, "ms"):
            name = one.system
            if name in failures:
                del systems[name]
                notes.append(f"{name} with {number:,} watchers: {failures[name]}")
                continue
            series.append(replace(one, at=number))
            if one.median > TOO_SLOW and number < counts[-1]:
                del systems[name]
                notes.append(
                    f"{name} is not measured with more than {number:,} watchers:"
                    f" its p99 is {one.median / 1000:.1f} s"
                )
    checks = tuple(
        Check(f"p99, {one.at:,.0f} streams", one.values, limit, "less", "ms")
        for one in series
        if one.system == "registry" and (limit := TARGETS.get(int(one.at or 0)))
    )
    title = "change to watcher by number of watchers, p99"
    return Row("fanout", title, tuple(series), checks, tuple(notes), axis="watchers")


def _possible(counts: Sequence[int]) -> tuple[list[int], list[str]]:
    """Return the counts that fit into the open files that a process may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = hard - OTHER_FILES - OTHER_CONNECTIONS - SPARE
    if hard == resource.RLIM_INFINITY or max(counts) <= most:
        return list(counts), []
    largest = most // 1_000 * 1_000
    note = (
        f"{largest:,} watchers in place of {max(counts):,}: a process may open"
        f" {hard:,} files here (ulimit -Hn)"
    )
    return sorted({min(number, largest) for number in counts}), [note]


def _guarded(name: str, measure: Measure, failures: dict[str, str]) -> Measure:
    """Return a measure that notes why a system fails, and asks it no more."""

    def guarded() -> Sample:
        if name not in failures:
            try:
                return measure()
            except BenchmarkError as error:
                if name.startswith("registry"):
                    raise
                failures[name] = str(error)
        return Sample(math.inf)

    return guarded


def _registry(version: Plan, plan: Plan, number: int) -> Sample:
    requests = event_streams(number)
    ours = replace(version, changes=plan.changes)
    return registry_delays(ours, requests, number)[0].sample


def _consul(plan: Plan, number: int) -> Sample:
    query = consul_watch(workload.sole_provider(0).capability)
    with plan.fleet() as fleet:
        server = consul(fleet, dev=False)
        return _delays(plan, server, "query", [query] * number)


def _etcd(plan: Plan, number: int) -> Sample:
    prefix = f"{workload.ETCD_PREFIX}{workload.sole_provider(0).capability}/"
    with plan.fleet() as fleet:
        return _delays(plan, etcd(fleet), "etcd", [prefix.encode()] * number)


def _delays(plan: Plan, server: Server, kind: str, requests: Sequence[bytes]) -> Sample:
    register = workload.etcd_register if kind == "etcd" else workload.consul_register
    with open_watchers(plan, server.port, requests, kind) as watchers:
        delays = measure_changes(plan, server, watchers, register, len(requests))
        return delays.sample
