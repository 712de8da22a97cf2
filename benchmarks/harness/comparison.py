"""Contenders that get the same calls in turns, and what their replies must hold."""

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.http import Connection, Reply
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server
from benchmarks.harness.results import BenchmarkError, Sample, Series
from benchmarks.harness.workload import PER_CAPABILITY
from benchmarks.harness.wrk import CONNECTIONS, Busy, cycle_script, measure, wrk

PROBES = 50
RATE = "calls/s"
Verify = Callable[[Reply, str], None]


@dataclass(frozen=True, slots=True)
class Contender:
    """A system under test, the calls it gets, and how its replies are checked.

    The load has so many ``connections``, and its own core unless ``cores`` are named.
    """

    system: str
    server: Server
    script: Path
    names: tuple[str, ...]
    call: Callable[[str], bytes]
    verify: Verify
    connections: int = CONNECTIONS
    cores: tuple[int, ...] = ()

    def probe(self) -> float:
        """Return the mean size of some replies in bytes, once each was verified."""
        size = 0
        with Connection(self.server.port) as line:
            for name in self.names[:PROBES]:
                line.send(self.call(name))
                reply = line.receive()
                if reply.status != 200:
                    raise BenchmarkError(f"{self.system} answered {reply.status}")
                self.verify(reply, name)
                size += reply.size
        return size / len(self.names[:PROBES])


def contender(
    fleet: Fleet,
    system: str,
    server: Server,
    names: Iterable[str],
    make: Callable[[str], bytes],
    verify: Verify,
) -> Contender:
    """Return a contender that gets a call for each of the names in turn."""
    known = tuple(names)
    path = fleet.folder / f"{system.replace(' ', '-')}-{server.port}.lua"
    script = cycle_script(path, map(make, known))
    return Contender(system, server, script, known, make, verify)


def compete(
    plan: Plan,
    fleet: Fleet,
    field: Sequence[Contender],
    beside: Sequence[Busy] = (),
    pausing: bool = True,
) -> list[Series]:
    """Return a series for each contender, measured in turns.

    The order is turned round every time (A B, B A), so that neither a drift of the
    machine nor the place in the round favours anyone. Without ``pausing`` the others
    run on meanwhile: a replica that is paused would be lost to its store.
    """
    taken: dict[str, list[Sample]] = {each.system: [] for each in field}
    for turn in range(plan.repeats):
        for each in field if turn % 2 == 0 else reversed(field):
            with fleet.only(each.server) if pausing else nullcontext():
                size = each.probe()
                port, how = each.server.port, (each.connections, each.cores)
                wrk(port, each.script, plan.warm, *how)
                _, sample = measure(
                    each.server, port, each.script, plan.seconds, beside, *how
                )
                each.probe()
            # wrk reads no reply, but replies of another kind have another size.
            if not 0.9 < (sample.reply_bytes or 0) / size < 1.1:
                raise BenchmarkError(
                    f"{each.system}: replies of {sample.reply_bytes:.0f} bytes under"
                    f" load, of {size:.0f} before"
                )
            taken[each.system].append(sample)
    return [Series(name, RATE, tuple(samples)) for name, samples in taken.items()]


def one_provider(reply: Reply, capability: str) -> None:
    """Refuse a reply that is not one healthy provider of the capability."""
    service = reply.json()
    if service["status"] != "healthy" or capability not in service["capabilities"]:
        raise BenchmarkError(f"a wrong provider of {capability}: {service}")


def all_providers(reply: Reply, capability: str) -> None:
    """Refuse a reply that is not every provider of the capability."""
    body = reply.json()
    right = [s for s in body["services"] if capability in s["capabilities"]]
    if not len(right) == body["count"] == PER_CAPABILITY:
        raise BenchmarkError(f"{len(right)} providers of {capability}")


def consul_providers(
    reply: Reply, capability: str, count: int = PER_CAPABILITY
) -> None:
    """Refuse a reply of Consul that is not every instance of the service."""
    found = [entry["Service"]["Service"] for entry in reply.json()]
    if found != [capability] * count:
        raise BenchmarkError(f"Consul: {len(found)} instances of {capability}")


def etcd_providers(reply: Reply, capability: str, count: int = PER_CAPABILITY) -> None:
    """Refuse a reply of etcd that is not every key under the capability."""
    values = [base64.b64decode(kv["value"]) for kv in reply.json()["kvs"]]
    right = [v for v in values if capability in json.loads(v)["capabilities"]]
    if not len(right) == len(values) == count:
        raise BenchmarkError(f"etcd: {len(right)} keys under {capability}")
