"""Requests that change the registry: registrations and heartbeats."""

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.comparison import measure_system, system_under_test, take_turns
from benchmarks.harness.fill import filled_registry, sqlite_url, total_services
from benchmarks.harness.http import Reply, call, get, request
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, HasCpuTime, Server
from benchmarks.harness.results import BenchmarkError, Row, Sample, at_least
from benchmarks.harness.systems import consul, etcd, start_registry
from benchmarks.harness.wrk import CONNECTIONS, count_script, measure, wrk


def writes(
    plan: Plan,
    fleet: Fleet,
    start: Callable[[], Server],
    blank: bytes,
    count_held: Callable[[Server], int],
    encoded: bool = False,
    beside: Sequence[HasCpuTime] = (),
) -> Sample:
    """Return one repeat of writing new services to a server that ``start`` returns.

    The server is a fresh one, so no repeat meets what an earlier one left behind.
    Afterwards it must hold every service that it has acknowledged.
    """
    with fleet.stopping(start()) as server, fleet.pausing_others(server):
        script = fleet.folder / f"writes-{server.port}.lua"
        count_script(script, blank, 0, encoded)
        warmup = wrk(server.port, script, plan.warmup, CONNECTIONS)
        count_script(script, blank, 100_000_000, encoded)
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


def etcd_writes(plan: Plan, fleet: Fleet) -> Sample:
    """Return one repeat of puts to a fresh etcd."""

    def count_held(server: Server) -> int:
        return int(call(server.port, workload.etcd_count()).json()["count"])

    blank = workload.etcd_blank()
    return writes(plan, fleet, lambda: etcd(fleet), blank, count_held, encoded=True)


def register(plan: Plan) -> Row:
    """New registrations in memory, against a Consul agent in memory."""
    with plan.fleet() as fleet:
        registry, consuls = take_turns(
            plan.repeats,
            registry=partial(registry_writes, plan, fleet),
            consul=partial(consul_writes, plan, fleet),
        )
    title = f"registrations in memory, {CONNECTIONS} connections"
    check = at_least(registry, consuls, 2.5)
    return Row("register", title, (registry, consuls), (check,))


def durable(plan: Plan) -> Row:
    """New registrations that are on the disk before the reply."""
    with plan.fleet() as fleet:
        registry, etcds = take_turns(
            plan.repeats,
            registry=partial(registry_writes, plan, fleet, partial(sqlite_url, fleet)),
            etcd=partial(etcd_writes, plan, fleet),
        )
    title = f"registrations on disk (SQLite), {CONNECTIONS} connections"
    check = at_least(registry, etcds, 0.8)
    return Row("durable", title, (registry, etcds), (check,))


def heartbeat(plan: Plan) -> Row:
    """Heartbeats for leased services, against registrations with the registry."""
    leased = [workload.service(n, ttl=600) for n in range(plan.services)]

    def beat(service_id: str) -> bytes:
        return request("POST", f"/api/heartbeat/{service_id}", b"")

    def accepted(reply: Reply, _id: str) -> None:
        if reply.json()["status"] != "ok":
            raise BenchmarkError(f"a heartbeat got {reply.body!r}")

    with plan.fleet() as fleet:
        server = filled_registry(plan, fleet, leased)
        ids = workload.draw([service.id for service in leased], plan.seed)
        system = system_under_test(fleet, "heartbeats", server, ids, beat, accepted)
        beats, registrations = take_turns(
            plan.repeats,
            heartbeats=partial(measure_system, plan, fleet, system),
            registrations=partial(registry_writes, plan, fleet),
        )
    title = f"heartbeats, {plan.services:,} leased services, {CONNECTIONS} connections"
    check = at_least(beats, registrations, 3)
    return Row("heartbeat", title, (beats, registrations), (check,))
