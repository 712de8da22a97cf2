"""A million services in one replica: its start, its memory, and its lookups."""

import time
from collections.abc import Sequence
from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.backends import BackendMissing, backend
from benchmarks.harness.comparison import (
    compare,
    lookups,
    one_provider,
    read_once,
    system_under_test,
)
from benchmarks.harness.fill import fill_store, sqlite_url, total_services
from benchmarks.harness.http import call
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server, wait_until
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    at_least,
)
from benchmarks.harness.systems import start_registry

FEW = 100
LIMIT = 600.0
"""Seconds after which a start is given up."""

START_TARGET, MEMORY_TARGET, STALE_TARGET = 60.0, 2.0, 2.0
"""Seconds, GB, and seconds."""


def million(plan: Plan) -> Row:
    """A million services: start and memory, lookups, and a start with a snapshot."""
    notes = [
        "'first answer': from starting the process with --snapshot to a lookup answered"
        " from that file, marked as stale",
        "lookups: of services that had been read once, since the registry makes their"
        " JSON then",
        "'peak': the most resident memory until /ready; the target is for it",
    ]
    with plan.fleet() as fleet:
        series = _over_sqlite(plan, fleet)
    try:
        with plan.fleet() as fleet, backend(plan, fleet, "etcd") as store:
            series += _over_etcd(plan, fleet, store.empty_store())
    except BackendMissing as error:
        notes.append(f"left out: {error}")
    title = f"{plan.million:,} services in one replica"
    checks = _checks({one.system: one for one in series})
    return Row("million", title, tuple(series), checks, tuple(notes))


def _over_sqlite(plan: Plan, fleet: Fleet) -> list[Series]:
    url, file = sqlite_url(fleet), fleet.folder / "catalog.snapshot"
    options = ("--snapshot", str(file))
    fill_store(workload.services(plan.million), url)
    server, series = _started(plan, fleet, url, "sqlite", options)
    with fleet.stopping(server, graceful=True):
        keys = list(workload.draw(workload.capabilities(plan.million), plan.seed))
        read_once(server, keys)
        load = (keys, workload.registry_lookup, one_provider)
        name = f"{plan.million:,} services"
        many = system_under_test(fleet, name, server, *load)
        few = lookups(plan, fleet, f"{FEW} services", FEW)
        series += compare(plan, fleet, [many, few])
        # It looks once a minute whether there is something to write.
        wait_until(file.exists, LIMIT, "the registry's snapshot")
    stale = partial(_first_stale_answer, plan, fleet, url, options, keys_of=many.keys)
    answers = tuple(Sample(stale()) for _ in range(plan.repeats))
    return [*series, Series("first answer with a snapshot", "s", answers)]


def _over_etcd(plan: Plan, fleet: Fleet, url: str) -> list[Series]:
    fill_store(workload.services(plan.million), url)
    server, series = _started(plan, fleet, url, "etcd")
    with fleet.stopping(server):
        return series


def _started(
    plan: Plan, fleet: Fleet, url: str, store: str, options: Sequence[str] = ()
) -> tuple[Server, list[Series]]:
    """Return a registry that holds the services, and what its start took."""
    began = time.perf_counter()
    server = start_registry(plan, fleet, url, options=options, limit=LIMIT)
    seconds = time.perf_counter() - began
    memory, peak = server.worker_rss(), server.worker_peak()
    if (total := total_services(server)) != plan.million:
        raise BenchmarkError(f"ready with {total:,} of {plan.million:,} services")
    return server, [
        Series(f"start from {store}", "s", (Sample(seconds),)),
        Series(f"memory, {store}", "GB", (Sample(memory / 1e9),)),
        Series(f"peak, {store}", "GB", (Sample(peak / 1e9),)),
    ]


def _first_stale_answer(
    plan: Plan, fleet: Fleet, url: str, options: Sequence[str], keys_of: Sequence[str]
) -> float:
    """Return the seconds until a replica that starts again answers a lookup."""
    raw = workload.registry_lookup(keys_of[0])
    path = raw.split(b" ", 2)[1].decode()
    began = time.perf_counter()
    server = start_registry(plan, fleet, url, options=options, ready=path, limit=LIMIT)
    seconds = time.perf_counter() - began
    with fleet.stopping(server):
        reply = call(server.port, raw)
        reply.header("X-Registry-Stale")
        one_provider(reply, keys_of[0])
    return seconds


def _checks(series: dict[str, Series]) -> tuple[Check, ...]:
    checks: list[Check] = []
    for store in ("sqlite", "etcd"):
        if (start := series.get(f"start from {store}")) is not None:
            values, memory = start.values, series[f"peak, {store}"].values
            checks += [
                Check(f"start from {store}", values, START_TARGET, "less", "s"),
                Check(f"memory, {store}", memory, MEMORY_TARGET, "less", "GB"),
            ]
    many, few = (one for one in series.values() if one.unit == "calls/s")
    answers = series["first answer with a snapshot"].values
    return (
        *checks,
        at_least(many, few, 0.9),
        Check("first answer", answers, STALE_TARGET, "less", "s"),
    )
