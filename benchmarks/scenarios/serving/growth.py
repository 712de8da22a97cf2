"""What a registry costs as its services grow: lookups, memory, and the start."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    Measure,
    SystemUnderTest,
    all_providers,
    consul_providers,
    etcd_providers,
    measure_system,
    one_provider,
    read_once,
    system_under_test,
    take_turns,
)
from benchmarks.harness.fill import (
    fill_store,
    put_into_consul,
    put_into_etcd,
    put_into_zookeeper,
    sqlite_url,
    total_services,
)
from benchmarks.harness.http import call, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server
from benchmarks.harness.programs import Program
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    at_least,
)
from benchmarks.harness.systems import consul, etcd, start_registry, zookeeper
from benchmarks.harness.workload import PER_CAPABILITY, Service
from benchmarks.load.constant_rate import generator, measure_rate
from benchmarks.load.wrk import CONNECTIONS
from benchmarks.scenarios.serving.lookups import nginx_with_reply

CHUNK = 10_000
"""Services that are written before the clock is looked at."""

LARGE = 100_000
"""Up to this many services, the start is repeated."""

START_LIMIT = 300.0
MEASURABLE = 10_000
"""Services from which on their memory stands out from that of the process."""

HTTP = {
    "consul": (workload.consul_lookup, consul_providers),
    "etcd": (workload.etcd_lookup, etcd_providers),
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Another system, with what fills it and its memory without services."""

    name: str
    server: Server
    put: Callable[[Server, Iterable[Service]], None]
    empty: int


def growth(plan: Plan) -> Row:
    """Lookups, memory and start, by the number of services."""
    series: list[Series] = []
    notes = [
        f"the registry returns one provider; 'registry list' and the others all"
        f" {PER_CAPABILITY}",
        "memory: growth of the resident memory; of Consul, etcd and ZooKeeper it"
        " includes what filling left behind",
        "start: the registry over SQLite, whose file is in the page cache",
        "each service had been read once before: the registry makes its JSON then",
    ]
    with plan.fleet() as fleet:
        url, held = sqlite_url(fleet), 0
        empty = _empty_registry(plan, fleet)
        peers = _peers(fleet, notes)
        nginx: SystemUnderTest | None = None
        for size in plan.sizes:
            fill_store(workload.services(size, held), url)
            peers = [p for p in peers if _grown(plan, fleet, p, held, size, notes)]
            starts = plan.repeats if size <= LARGE else 1
            server, times = _started(plan, fleet, url, size, starts)
            with fleet.stopping(server):
                memory = {"registry": server.worker_rss() - empty}
                memory |= {p.name: p.server.worker_rss() - p.empty for p in peers}
                keys = list(workload.draw(workload.capabilities(size), plan.seed))
                nginx = nginx or _nginx(fleet, server, keys)
                read_once(server, keys)
                rates = _rates(plan, fleet, server, peers, nginx, keys)
            series += [replace(one, at=size) for one in rates]
            series.append(Series("registry", "s", tuple(times), size))
            if size >= MEASURABLE:
                series += [
                    Series(name, "bytes/service", (Sample(bytes_ / size),), size)
                    for name, bytes_ in memory.items()
                ]
            held = size
    title = f"lookup, memory and start by number of services, {CONNECTIONS} connections"
    checks = _checks(series)
    return Row("growth", title, tuple(series), checks, tuple(notes), axis="services")


def _empty_registry(plan: Plan, fleet: Fleet) -> int:
    with fleet.stopping(start_registry(plan, fleet, sqlite_url(fleet))) as server:
        return server.worker_rss()


def _peers(fleet: Fleet, notes: list[str]) -> list[Peer]:
    """Return the systems that can run here, each with its node or root."""
    peers = []
    for name, start, put in (
        ("consul", partial(consul, dev=False), put_into_consul),
        ("etcd", etcd, put_into_etcd),
        ("zookeeper", zookeeper, put_into_zookeeper),
    ):
        try:
            server = start(fleet)
        except BenchmarkError as error:
            notes.append(f"left out: {error}")
            continue
        if name == "consul":
            send_all(server.port, [workload.consul_node()])
        peers.append(Peer(name, server, put, server.worker_rss()))
    return peers


def _grown(
    plan: Plan, fleet: Fleet, peer: Peer, held: int, size: int, notes: list[str]
) -> bool:
    """Say whether it holds so many services; it is stopped if that takes too long."""
    began = time.perf_counter()
    with fleet.pausing_others(peer.server):
        for first in range(held, size, CHUNK):
            end = min(size, first + CHUNK)
            peer.put(peer.server, workload.services(end, first))
            elapsed = time.perf_counter() - began
            whole = elapsed * (size - held) / (end - held)
            if whole > plan.fill_limit and end < size:
                break
        else:
            return True
    notes.append(
        f"{peer.name} would take {whole:,.0f} s to load {size - held:,} further"
        f" services, so it is left out at {size:,}"
    )
    with fleet.stopping(peer.server):
        return False


def _started(
    plan: Plan, fleet: Fleet, url: str, size: int, repeats: int
) -> tuple[Server, list[Sample]]:
    """Return a registry that holds the services, and the seconds of each start."""
    times: list[Sample] = []
    for number in count(1):
        began = time.perf_counter()
        server = start_registry(plan, fleet, url, limit=START_LIMIT)
        times.append(Sample(time.perf_counter() - began))
        if (total := total_services(server)) != size:
            raise BenchmarkError(f"ready with {total:,} of {size:,} services")
        if number == repeats:
            break
        with fleet.stopping(server):
            continue
    return server, times


def _nginx(fleet: Fleet, server: Server, keys: Sequence[str]) -> SystemUnderTest:
    reply = call(server.port, workload.registry_lookup(keys[0]))
    nginx, same_reply = nginx_with_reply(fleet, reply)
    ask = workload.registry_lookup
    return system_under_test(fleet, "nginx", nginx, keys, ask, same_reply)


def _rates(
    plan: Plan,
    fleet: Fleet,
    server: Server,
    peers: Sequence[Peer],
    nginx: SystemUnderTest,
    keys: Sequence[str],
) -> list[Series]:
    """Return the lookups a second of each system, measured in turns."""
    ask, list_all = workload.registry_lookup, workload.registry_list
    with ExitStack() as stack:
        systems = [
            system_under_test(fleet, "registry", server, keys, ask, one_provider),
            system_under_test(
                fleet, "registry list", server, keys, list_all, all_providers
            ),
        ]
        systems += [
            system_under_test(fleet, peer.name, peer.server, keys, *HTTP[peer.name])
            for peer in peers
            if peer.name in HTTP
        ]
        measures: dict[str, Measure] = {
            system.name: partial(measure_system, plan, fleet, system)
            for system in systems
        }
        for peer in peers:
            if peer.name == "zookeeper":
                texts = [workload.zookeeper_lookup(key) for key in keys]
                port = peer.server.port
                loads = generator(plan, fleet.folder, port, texts, "zookeeper")
                program = stack.enter_context(loads)
                measures[peer.name] = partial(
                    _zookeeper_rate, plan, fleet, peer.server, program
                )
        measures[nginx.name] = partial(measure_system, plan, fleet, nginx)
        return take_turns(plan.repeats, measures)


def _zookeeper_rate(
    plan: Plan, fleet: Fleet, server: Server, program: Program
) -> Sample:
    load = partial(measure_rate, fleet, server, program, 0.0, connections=CONNECTIONS)
    load(plan.warmup)
    sample = load(plan.seconds)
    # The program counts both replies of a lookup: ten services of 340 bytes at least.
    if (sample.reply_bytes or 0) < 340 * PER_CAPABILITY:
        raise BenchmarkError(f"ZooKeeper's replies have {sample.reply_bytes} bytes")
    return sample


def _checks(series: Sequence[Series]) -> tuple[Check, ...]:
    rates = {(s.system, s.at): s for s in series if s.unit == "calls/s"}
    starts = {s.at: s for s in series if s.unit == "s"}
    checks = []
    few, some, many = 100, 10_000, LARGE
    if ("registry", many) in rates and ("registry", few) in rates:
        small, large = rates["registry", few], rates["registry", many]
        checks.append(at_least(large, small, 0.9))
    checks += [
        at_least(rates["registry", some], rates[peer, some], 8)
        for peer in HTTP
        if (peer, some) in rates
    ]
    if many in starts:
        text = f"until /ready with {many:,}"
        checks.append(Check(text, starts[many].values, 3, "less", "s"))
    return tuple(checks)
