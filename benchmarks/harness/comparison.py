"""Measures systems in turns with the same requests, and verifies their replies."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.harness import workload
from benchmarks.harness.fill import fill_registry
from benchmarks.harness.http import Connection, Reply, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, HasCpuTime, Server
from benchmarks.harness.results import BenchmarkError, Sample, Series
from benchmarks.harness.systems import start_registry
from benchmarks.harness.workload import PER_CAPABILITY
from benchmarks.load.wrk import CONNECTIONS, cycle_script, measure, wrk

VERIFIED_REPLIES = 50
RATE = "calls/s"
Verify = Callable[[Reply, str], None]
Measure = Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class SystemUnderTest:
    """A server, the requests it gets, and how its replies are verified.

    The load has its own core unless ``cores`` are named.
    """

    name: str
    server: Server
    script: Path
    keys: tuple[str, ...]
    request_for: Callable[[str], bytes]
    verify: Verify
    connections: int = CONNECTIONS
    cores: tuple[int, ...] = ()

    def verify_replies(self) -> float:
        """Verify some replies, and return their mean size in bytes."""
        size, keys = 0, self.keys[:VERIFIED_REPLIES]
        with Connection(self.server.port) as connection:
            for key in keys:
                connection.send(self.request_for(key))
                reply = connection.receive()
                if reply.status != 200:
                    raise BenchmarkError(f"{self.name} answered {reply.status}")
                self.verify(reply, key)
                size += reply.size
        return size / len(keys)


def system_under_test(
    fleet: Fleet,
    name: str,
    server: Server,
    keys: Iterable[str],
    request_for: Callable[[str], bytes],
    verify: Verify,
) -> SystemUnderTest:
    """Return a system that gets the request for each of the keys in turn."""
    all_keys = tuple(keys)
    path = fleet.folder / f"{name.replace(' ', '-')}-{server.port}.lua"
    script = cycle_script(path, map(request_for, all_keys))
    return SystemUnderTest(name, server, script, all_keys, request_for, verify)


def lookups(
    version: Plan,
    fleet: Fleet,
    name: str,
    count: int,
    request_for: Callable[[str], bytes] = workload.registry_lookup,
    env: Mapping[str, str] | None = None,
) -> SystemUnderTest:
    """Return a new registry with so many services, and lookups drawn at random."""
    server = start_registry(version, fleet, env=env)
    fill_registry(server, workload.services(count))
    keys = workload.draw(workload.capabilities(count), version.seed)
    name += version.mark
    return system_under_test(fleet, name, server, keys, request_for, one_provider)


def take_turns(
    repeats: int, measures: Mapping[str, Measure], unit: str = RATE
) -> list[Series]:
    """Return a series for each measurement, in the order given.

    The order is reversed every time (A B, B A), so neither a drift of the machine nor
    the place in the round favours one of them.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in measures}
    for turn in range(repeats):
        for name in measures if turn % 2 == 0 else reversed(list(measures)):
            samples[name].append(measures[name]())
    return [Series(name, unit, tuple(taken)) for name, taken in samples.items()]


def compare(
    plan: Plan,
    fleet: Fleet,
    systems: Sequence[SystemUnderTest],
    beside: Sequence[HasCpuTime] = (),
    pausing: bool = True,
) -> list[Series]:
    """Return a series for each system, measured in turns.

    Without ``pausing`` the other servers keep running: the store would give up a
    replica that is paused.
    """
    measures = {
        system.name: partial(measure_system, plan, fleet, system, beside, pausing)
        for system in systems
    }
    return take_turns(plan.repeats, measures)


def measure_system(
    plan: Plan,
    fleet: Fleet,
    system: SystemUnderTest,
    beside: Sequence[HasCpuTime] = (),
    pausing: bool = True,
) -> Sample:
    """Return one repeat: the load on the system, its replies verified around it."""
    server, script = system.server, system.script
    load = (system.connections, system.cores)
    with fleet.pausing_others(server) if pausing else nullcontext():
        size = system.verify_replies()
        wrk(server.port, script, plan.warmup, *load)
        _, sample = measure(server, script, plan.seconds, beside, *load)
        system.verify_replies()
    # wrk reads no reply, but another kind of reply has another size.
    if not 0.9 < (sample.reply_bytes or 0) / size < 1.1:
        raise BenchmarkError(
            f"{system.name}: replies of {sample.reply_bytes:.0f} bytes under load, of"
            f" {size:.0f} before"
        )
    return sample


def one_provider(reply: Reply, capability: str) -> None:
    """Raise unless the reply is one healthy provider of the capability."""
    service = reply.json()
    if service["status"] != "healthy" or capability not in service["capabilities"]:
        raise BenchmarkError(f"a wrong provider of {capability}: {service}")


def all_providers(reply: Reply, capability: str) -> None:
    """Raise unless the reply is every provider of the capability."""
    body = reply.json()
    providers = [s for s in body["services"] if capability in s["capabilities"]]
    if not len(providers) == body["count"] == PER_CAPABILITY:
        raise BenchmarkError(f"{len(providers)} providers of {capability}")


def consul_providers(reply: Reply, capability: str) -> None:
    """Raise unless Consul's reply is every instance of the service."""
    names = [entry["Service"]["Service"] for entry in reply.json()]
    if names != [capability] * PER_CAPABILITY:
        raise BenchmarkError(f"Consul: {len(names)} instances of {capability}")


def etcd_providers(reply: Reply, capability: str) -> None:
    """Raise unless etcd's reply is every key under the capability."""
    values = [json.loads(base64.b64decode(kv["value"])) for kv in reply.json()["kvs"]]
    matching = [value for value in values if capability in value["capabilities"]]
    if not len(matching) == len(values) == PER_CAPABILITY:
        raise BenchmarkError(f"etcd: {len(matching)} keys under {capability}")


def read_once(server: Server, keys: Iterable[str]) -> None:
    """Read the providers of each capability: a registry makes their JSON only then."""
    send_all(server.port, map(workload.registry_list, sorted(set(keys))))
