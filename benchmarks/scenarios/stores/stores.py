"""What each store costs: writes, lookups, and the first view of all services."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.backends import KINDS, Backend, BackendMissing, backend
from benchmarks.harness.comparison import (
    compare,
    one_provider,
    system_under_test,
    take_turns,
)
from benchmarks.harness.fill import fill_store, filled_registry, time_to_ready
from benchmarks.harness.paths import PROGRAMS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import CpuMeter, Fleet
from benchmarks.harness.programs import Program
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    at_least,
    ratios,
)
from benchmarks.load.wrk import CONNECTIONS
from benchmarks.scenarios.serving.writes import registry_writes

# The bytes of the registry's own record of such a service, nearly.
RECORD_SIZE = 450
# Makes a record of the first view 600 bytes long.
PADDING = "0" * 150
# Seconds that the first view may take.
FAST_LIMIT, SLOW_LIMIT = 5.0, 20.0
SLOW_KINDS = ("zookeeper", "consul")


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What was measured over one kind of store."""

    series: tuple[Series, ...]
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


def over_each(
    plan: Plan,
    key: str,
    title: str,
    measure: Callable[[Plan, Fleet, Backend], StoreResult],
    notes: Sequence[str] = (),
) -> Row:
    """Return a row with every kind of store that can run here; it names the others."""
    results: list[StoreResult] = []
    problems, all_notes = [], list(notes)
    for kind in KINDS:
        print(f"  {key} over {kind} …", file=sys.stderr, flush=True)
        try:
            with plan.fleet() as fleet, backend(plan, fleet, kind) as store:
                results.append(measure(plan, fleet, store))
        except BackendMissing as error:
            all_notes.append(f"skipped: {error}")
        except (BenchmarkError, OSError, LookupError, ValueError) as error:
            # A store that fails must not cost the others, and the row never passes.
            problems.append(f"{kind}: {type(error).__name__}: {error}")
    return Row(
        key,
        title,
        tuple(series for result in results for series in result.series),
        tuple(check for result in results for check in result.checks),
        (*all_notes, *(note for result in results for note in result.notes)),
        tuple(problems),
    )


def stores(plan: Plan) -> Row:
    """Registrations through one replica over each store, against its plain driver."""
    notes = (
        f"'driver': {CONNECTIONS} threads of Python, each with one plain write of"
        f" {RECORD_SIZE} bytes at a time, on the core of the registry",
        "'other core' is the store's server, and wrk where it runs",
        "each store syncs as it does by default; only Redis answers before it has",
    )
    title = f"registrations over each store, {CONNECTIONS} connections"
    return over_each(plan, "stores", title, _compare_with_driver, notes)


def _compare_with_driver(plan: Plan, fleet: Fleet, store: Backend) -> StoreResult:
    script = PROGRAMS / "plain_drivers.py"
    arguments = (store.kind, store.empty_store(), str(CONNECTIONS), str(RECORD_SIZE))
    plain_driver = f"{store.kind} driver"
    with Program(plan.server_core, script, arguments) as driver:
        measures = {
            f"over {store.kind}{version.mark}": partial(
                registry_writes, version, fleet, store.empty_store, (store,)
            )
            for version in plan.versions()
        }
        measures[plain_driver] = partial(_driver_writes, plan, store, driver)
        series = take_turns(plan.repeats, measures)
    target = 0.6 if store.kind == "redis" else 1.0
    return StoreResult(tuple(series), (at_least(series[0], series[-1], target),))


def _driver_writes(plan: Plan, store: Backend, driver: Program) -> Sample:
    driver.ask(seconds=plan.warmup)
    meter = CpuMeter(driver, store)
    reply = driver.ask(seconds=plan.seconds)
    seconds: float = reply["seconds"]
    driver_used, store_used = meter.used()
    return Sample(
        value=reply["writes"] / seconds,
        p50=1000 * reply["p50"],
        p99=1000 * reply["p99"],
        server_busy=driver_used / seconds,
        client_busy=store_used / seconds,
        foreign=meter.foreign_share(),
    )


def storelookup(plan: Plan) -> Row:
    """Lookups at a replica over each store, against one over memory."""
    title = (
        f"capability lookup over each store, {plan.stored_services:,} services,"
        f" {CONNECTIONS} connections"
    )
    notes = ("both of a pair keep running while the other is measured",)
    return over_each(plan, "storelookup", title, _compare_with_memory, notes)


def _compare_with_memory(plan: Plan, fleet: Fleet, store: Backend) -> StoreResult:
    count = plan.stored_services
    keys = list(workload.draw(workload.capabilities(count), plan.seed))
    systems = []
    for name, url in (
        (f"over {store.kind}", store.empty_store()),
        (f"memory, {store.kind}", "memory://"),
    ):
        server = filled_registry(plan, fleet, workload.services(count), url)
        load = (server, keys, workload.registry_lookup, one_provider)
        systems.append(system_under_test(fleet, name, *load))
    over_store, memory = compare(plan, fleet, systems, beside=(store,), pausing=False)
    share = ratios(over_store, memory)
    check = Check(f"over {store.kind} / memory", share, 0.9, "more")
    return StoreResult((over_store, memory), (check,))


def firstview(plan: Plan) -> Row:
    """The first view of many services in each store, alone and until /ready."""
    title = f"first view of {plan.first_view_services:,} services in each store"
    notes = (
        "'watch': from opening the store to its snapshot, in a program of its own",
        "'ready': from starting the registry to its /ready",
    )
    return over_each(plan, "firstview", title, _first_view, notes)


def _first_view(plan: Plan, fleet: Fleet, store: Backend) -> StoreResult:
    url, count = store.empty_store(), plan.first_view_services
    services = workload.services(count)
    longer = (replace(s, build=s.build + PADDING) for s in services)
    fill_store(longer, url)
    snapshots, starts = [], []
    with Program(plan.server_core, PROGRAMS / "first_view.py") as viewer:
        for _ in range(min(plan.repeats, 3)):
            reply = viewer.ask(url=url)
            if reply["records"] != count:
                raise BenchmarkError(f"a view of {reply['records']} of {count}")
            snapshots.append(Sample(reply["seconds"]))
            starts.append(time_to_ready(plan, fleet, url, count))
    series = (
        Series(f"{store.kind} watch", "s", tuple(snapshots)),
        Series(f"{store.kind} ready", "s", tuple(starts)),
    )
    limit = SLOW_LIMIT if store.kind in SLOW_KINDS else FAST_LIMIT
    checks = tuple(Check(s.system, s.values, limit, "less", "s") for s in series)
    note = f"{store.kind}: {reply['bytes'] / count:.0f} bytes a service"
    return StoreResult(series, checks, (note,))
