"""Calls that change the registry: registrations and heartbeats."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.harness import workload as w
from benchmarks.harness.comparison import RATE, compete, contender
from benchmarks.harness.fill import filled_registry, sqlite_url, total
from benchmarks.harness.http import Reply, call, get, request
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server
from benchmarks.harness.results import BenchmarkError, Row, Sample, Series, at_least
from benchmarks.harness.systems import consul, etcd, launch_registry
from benchmarks.harness.wrk import CONNECTIONS, Busy, count_script, measure, wrk


def writes(
    plan: Plan,
    fleet: Fleet,
    start: Callable[[], Server],
    blank: bytes,
    held: Callable[[Server], int],
    encoded: bool = False,
    beside: Sequence[Busy] = (),
) -> Sample:
    """Return one repeat of new services written to a server that is started for it.

    A fresh one each time, so that no repeat meets what an earlier one left behind.
    Afterwards the server must hold every service that it has acknowledged.
    """
    with fleet.lent(start()) as server, fleet.only(server):
        script = fleet.folder / f"writes-{server.port}.lua"
        count_script(script, blank, 0, encoded)
        warm = wrk(server.port, script, plan.warm, CONNECTIONS)
        count_script(script, blank, 100_000_000, encoded)
        load, sample = measure(server, server.port, script, plan.seconds, beside)
        sent = warm.requests + load.requests
        # When time is up wrk drops a call a connection that may have been carried out.
        if not sent <= held(server) <= sent + 2 * CONNECTIONS:
            raise BenchmarkError(
                f"{server.name} acknowledged {sent} services and holds {held(server)}"
            )
        return sample


def registry_writes(plan: Plan, fleet: Fleet, store: str = "memory://") -> Sample:
    """Return one repeat of registrations with a fresh registry."""

    def start() -> Server:
        url = store if store != "sqlite" else sqlite_url(fleet)
        return launch_registry(fleet, url, script=plan.registry).ready("/ready")

    return writes(plan, fleet, start, w.registry_register(w.BLANK), total)


def consul_writes(plan: Plan, fleet: Fleet) -> Sample:
    """Return one repeat of registrations with a fresh Consul agent in memory."""

    def held(server: Server) -> int:
        return len(get(server.port, "/v1/agent/services"))

    blank = w.consul_register(w.BLANK)
    return writes(plan, fleet, lambda: consul(fleet, dev=True), blank, held)


def etcd_writes(plan: Plan, fleet: Fleet) -> Sample:
    """Return one repeat of puts to a fresh etcd."""

    def held(server: Server) -> int:
        return int(call(server.port, w.etcd_count()).json()["count"])

    blank = w.etcd_blank()
    return writes(plan, fleet, lambda: etcd(fleet), blank, held, encoded=True)


def register(plan: Plan) -> Row:
    """New registrations, kept in memory, against a Consul agent in memory."""
    ours, theirs = [], []
    with plan.fleet() as fleet:
        for _ in range(plan.repeats):
            ours.append(registry_writes(plan, fleet))
            theirs.append(consul_writes(plan, fleet))
    mine = Series("registry", RATE, tuple(ours))
    consuls = Series("consul", RATE, tuple(theirs))
    title = f"registrations in memory, {CONNECTIONS} connections"
    return Row("register", title, (mine, consuls), (at_least(mine, consuls, 2.5),))


def durable(plan: Plan) -> Row:
    """New registrations that are on the disk when the reply comes."""
    ours, theirs = [], []
    with plan.fleet() as fleet:
        for _ in range(plan.repeats):
            ours.append(registry_writes(plan, fleet, "sqlite"))
            theirs.append(etcd_writes(plan, fleet))
    mine = Series("registry", RATE, tuple(ours))
    etcds = Series("etcd", RATE, tuple(theirs))
    title = f"registrations on disk (SQLite), {CONNECTIONS} connections"
    return Row("durable", title, (mine, etcds), (at_least(mine, etcds, 0.8),))


def heartbeat(plan: Plan) -> Row:
    """Heartbeats for leased services, against the same registry's registrations."""
    leased = [w.spec(n, ttl=600) for n in range(plan.services)]
    ids = [service.id for service in leased]

    def beat(service_id: str) -> bytes:
        return request("POST", f"/api/heartbeat/{service_id}", b"")

    def taken(reply: Reply, _id: str) -> None:
        if reply.json()["status"] != "ok":
            raise BenchmarkError(f"a heartbeat got {reply.body!r}")

    beats: list[Sample] = []
    registered: list[Sample] = []
    with plan.fleet() as fleet:
        server = filled_registry(plan, fleet, leased)
        names = w.drawn(ids, plan.seed)
        field = [contender(fleet, "heartbeats", server, names, beat, taken)]
        once = replace(plan, repeats=1)
        for _ in range(plan.repeats):
            beats += compete(once, fleet, field)[0].samples
            registered.append(registry_writes(plan, fleet))
    mine = Series("heartbeats", RATE, tuple(beats))
    written = Series("registrations", RATE, tuple(registered))
    title = f"heartbeats, {plan.services:,} leased services, {CONNECTIONS} connections"
    return Row("heartbeat", title, (mine, written), (at_least(mine, written, 3),))
