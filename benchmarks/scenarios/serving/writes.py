"""Requests that change the registry: registrations and heartbeats."""

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    compare,
    one_provider,
    system_under_test,
    take_turns,
)
from benchmarks.harness.fill import filled_registry, total_services
from benchmarks.harness.http import Reply, get, request
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, HasCpuTime, Server
from benchmarks.harness.results import (
    BenchmarkError,
    Row,
    Sample,
    at_least,
    at_least_baseline,
)
from benchmarks.harness.systems import consul, start_registry
from benchmarks.load.wrk import CONNECTIONS, count_script, measure, wrk


def writes(
    plan: Plan,
    fleet: Fleet,
    start: Callable[[], Server],
    blank: bytes,
    count_held: Callable[[Server], int],
    beside: Sequence[HasCpuTime] = (),
) -> Sample:
    """Return one repeat of writing new services to a server that ``start`` returns.

    The server is a fresh one, so no repeat meets what an earlier one left behind.
    Afterwards it must hold every service that it has acknowledged.
    """
    with fleet.stopping(start()) as server, fleet.pausing_others(server):
        script = fleet.folder / f"writes-{server.port}.lua"
        count_script(script, blank, 0)
        warmup = wrk(server.port, script, plan.warmup, CONNECTIONS)
        count_script(script, blank, 100_000_000)
        load, sample = measure(server, script, plan.seconds, beside)
        acknowledged, held = warmup.requests + load.requests, count_held(server)
        # At its end wrk drops a request per connection, which may have succeeded.
        if not acknowledged <= held <= acknowledged + 2 * CONNECTIONS:
            raise BenchmarkError(
                f"{server.name} acknowledged {acknowledged} services and holds {held}"
            )
        return sample


def registry_writes(
    plan: Plan,
    fleet: Fleet,
    new_store: Callable[[], str] = lambda: "memory://",
    beside: Sequence[HasCpuTime] = (),
) -> Sample:
    """Return one repeat of registrations, with a fresh registry over a new store."""

    def start() -> Server:
        return start_registry(plan, fleet, new_store())

    blank = workload.registry_register(workload.BLANK)
    return writes(plan, fleet, start, blank, total_services, beside=beside)


def consul_writes(plan: Plan, fleet: Fleet) -> Sample:
    """Return one repeat of registrations with a fresh Consul agent in memory."""

    def count_held(server: Server) -> int:
        return len(get(server.port, "/v1/agent/services"))

    blank = workload.consul_register(workload.BLANK)
    return writes(plan, fleet, lambda: consul(fleet, dev=True), blank, count_held)


def register(plan: Plan) -> Row:
    """New registrations in memory, against a Consul agent in memory."""
    with plan.fleet() as fleet:
        ours = {
            f"registry{version.mark}": partial(registry_writes, version, fleet)
            for version in plan.versions()
        }
        consuls = partial(consul_writes, plan, fleet)
        series = take_turns(plan.repeats, {**ours, "consul": consuls})
    title = f"registrations in memory, {CONNECTIONS} connections"
    checks = at_least_baseline(series, "registry", 2)
    checks += (at_least(series[0], series[-1], 2.5),)
    return Row("register", title, tuple(series), checks)


def heartbeat(plan: Plan) -> Row:
    """Heartbeats for leased services, against lookups of the same ones."""
    leased = [workload.service(n, ttl=600) for n in range(plan.services)]

    def beat(service_id: str) -> bytes:
        return request("POST", f"/api/heartbeat/{service_id}", b"")

    def accepted(reply: Reply, _id: str) -> None:
        if reply.json()["status"] != "ok":
            raise BenchmarkError(f"a heartbeat got {reply.body!r}")

    keys = list(workload.draw(workload.capabilities(plan.services), plan.seed))
    ids = list(workload.draw([service.id for service in leased], plan.seed))
    systems = []
    with plan.fleet() as fleet:
        for version in plan.versions():
            server, mark = filled_registry(version, fleet, leased), version.mark
            add = partial(system_under_test, fleet)
            ask = workload.registry_lookup
            systems += [
                add(f"heartbeats{mark}", server, ids, beat, accepted),
                add(f"lookups{mark}", server, keys, ask, one_provider),
            ]
        series = compare(plan, fleet, systems)
    title = f"heartbeats, {plan.services:,} leased services, {CONNECTIONS} connections"
    check = at_least(series[0], series[1], 0.8)
    return Row("heartbeat", title, tuple(series), (check,))
