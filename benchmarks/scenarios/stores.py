"""What each store costs: writes, lookups above it, and the first view of all."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness import workload as w
from benchmarks.harness.backends import KINDS, Backend, Missing, backend
from benchmarks.harness.comparison import RATE, compete, contender, one_provider
from benchmarks.harness.fill import filled_registry, total
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server
from benchmarks.harness.programs import Program
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    ratios,
)
from benchmarks.harness.systems import launch_registry
from benchmarks.harness.wrk import CONNECTIONS, foreign_seconds
from benchmarks.scenarios.writes import writes

HERE = Path(__file__).resolve().parents[1]
DRIVERS, VIEWER = HERE / "programs/plain_drivers.py", HERE / "programs/first_view.py"
# What the registry's own record of such a service takes, to a few bytes.
SIZE = 450
# Makes a record of the first view 600 bytes long.
LONGER = "0" * 150
# Seconds that the first view may take.
QUICKLY, SLOWLY = 5.0, 20.0
SLOW = ("zookeeper", "consul")


@dataclass(frozen=True, slots=True)
class Found:
    """What was found over one kind of store."""

    series: tuple[Series, ...]
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


def over_each(
    plan: Plan,
    key: str,
    title: str,
    measure: Callable[[Plan, Fleet, Backend], Found],
    notes: Sequence[str] = (),
) -> Row:
    """Return a row with every kind of store that can be had; it names the others."""
    found: list[Found] = []
    problems, said = [], list(notes)
    for kind in KINDS:
        print(f"  {key} over {kind} …", file=sys.stderr, flush=True)
        try:
            with plan.fleet() as fleet, backend(plan, fleet, kind) as store:
                found.append(measure(plan, fleet, store))
        except Missing as error:
            said.append(f"left out: {error}")
        except (BenchmarkError, OSError, LookupError, ValueError) as error:
            # One store less must not cost the others, and the row never passes.
            problems.append(f"{kind}: {type(error).__name__}: {error}")
    return Row(
        key,
        title,
        tuple(series for each in found for series in each.series),
        tuple(check for each in found for check in each.checks),
        (*said, *(note for each in found for note in each.notes)),
        tuple(problems),
    )


def stores(plan: Plan) -> Row:
    """Registrations through one replica over each store, against its plain driver."""
    notes = (
        f"'driver': {CONNECTIONS} threads, one plain write of {SIZE} bytes each at a"
        " time, in Python, on the core where the registry is otherwise",
        "'other core' is the store's server, and wrk where there is one",
        "everyone syncs as it does by default; only Redis answers before it has",
    )
    title = f"registrations over each store, {CONNECTIONS} connections"
    return over_each(plan, "stores", title, _written, notes)


def _written(plan: Plan, fleet: Fleet, store: Backend) -> Found:
    arguments = (store.kind, store.place(), str(CONNECTIONS), str(SIZE))
    ours: list[Sample] = []
    plain: list[Sample] = []
    with Program(plan.server_core, DRIVERS, arguments) as driver:
        for turn in range(plan.repeats):
            order = ("registry", "driver") if turn % 2 == 0 else ("driver", "registry")
            for each in order:
                if each == "registry":
                    ours.append(_registry_writes(plan, fleet, store))
                else:
                    plain.append(_driver_writes(plan, store, driver))
    mine = Series(f"over {store.kind}", RATE, tuple(ours))
    drivers = Series(f"{store.kind} driver", RATE, tuple(plain))
    share = ratios(mine, drivers)
    check = Check(f"over {store.kind} / its driver", share, 0.5, "more")
    return Found((mine, drivers), (check,))


def _registry_writes(plan: Plan, fleet: Fleet, store: Backend) -> Sample:
    def start() -> Server:
        place = store.place()
        return launch_registry(fleet, place, script=plan.registry).ready("/ready")

    blank = w.registry_register(w.BLANK)
    return writes(plan, fleet, start, blank, total, beside=(store,))


def _driver_writes(plan: Plan, store: Backend, driver: Program) -> Sample:
    driver.ask(seconds=plan.warm)
    others, worked = foreign_seconds(driver, store), driver.cpu_seconds()
    served = store.cpu_seconds()
    found = driver.ask(seconds=plan.seconds)
    took: float = found["seconds"]
    return Sample(
        value=found["writes"] / took,
        p50=1000 * found["p50"],
        p99=1000 * found["p99"],
        server_busy=(driver.cpu_seconds() - worked) / took,
        client_busy=(store.cpu_seconds() - served) / took,
        foreign=max(0.0, foreign_seconds(driver, store) - others) / took,
    )


def storelookup(plan: Plan) -> Row:
    """Lookups in a replica over each store, against one over memory."""
    title = (
        f"capability lookup over each store, {plan.stored:,} services,"
        f" {CONNECTIONS} connections"
    )
    notes = ("the two of each pair run on while the other is measured",)
    return over_each(plan, "storelookup", title, _looked_up, notes)


def _looked_up(plan: Plan, fleet: Fleet, store: Backend) -> Found:
    names = list(w.drawn(w.capabilities(plan.stored), plan.seed))
    field = []
    for name, url in (
        (f"over {store.kind}", store.place()),
        (f"memory, {store.kind}", "memory://"),
    ):
        server = filled_registry(plan, fleet, w.fleet(plan.stored), url)
        how = (w.registry_lookup, one_provider)
        field.append(contender(fleet, name, server, names, *how))
    mine, memory = compete(plan, fleet, field, beside=(store,), pausing=False)
    share = ratios(mine, memory)
    check = Check(f"over {store.kind} / memory", share, 0.9, "more")
    return Found((mine, memory), (check,))


def firstview(plan: Plan) -> Row:
    """The first view of many services in each store, alone and until /ready."""
    title = f"first view of {plan.viewed:,} services in each store"
    notes = (
        "'watch': from opening the store to its snapshot, in a program of its own",
        "'ready': from starting the registry to its /ready",
    )
    return over_each(plan, "firstview", title, _viewed, notes)


def _viewed(plan: Plan, fleet: Fleet, store: Backend) -> Found:
    url, count = store.place(), plan.viewed
    services = (replace(s, build=s.build + LONGER) for s in w.fleet(count))
    filled = filled_registry(plan, fleet, services, url)
    with fleet.lent(filled, gently=True):
        pass
    watched, started = [], []
    with Program(plan.server_core, VIEWER) as viewer:
        for _ in range(min(plan.repeats, 3)):
            found = viewer.ask(url=url)
            if found["records"] != count:
                raise BenchmarkError(f"a view of {found['records']} of {count}")
            watched.append(Sample(found["seconds"]))
            started.append(_started(plan, fleet, url))
    series = (
        Series(f"{store.kind} watch", "s", tuple(watched)),
        Series(f"{store.kind} ready", "s", tuple(started)),
    )
    limit = SLOWLY if store.kind in SLOW else QUICKLY
    checks = tuple(Check(s.system, s.values, limit, "less", "s") for s in series)
    note = f"{store.kind}: {found['bytes'] / count:.0f} bytes a service"
    return Found(series, checks, (note,))


def _started(plan: Plan, fleet: Fleet, url: str) -> Sample:
    began = time.perf_counter()
    started = launch_registry(fleet, url, script=plan.registry)
    with fleet.lent(started, gently=True) as server:
        server.ready("/ready")
        took = time.perf_counter() - began
        if total(server) != plan.viewed:
            raise BenchmarkError(f"ready with {total(server)} of {plan.viewed:,}")
    return Sample(took)
