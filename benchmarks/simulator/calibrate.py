"""Measures the costs on this machine, with the registry's own parts in this process."""

import asyncio
import gc
import os
import random
import resource
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import uvloop

from benchmarks.harness import workload
from benchmarks.harness.backends import first_available
from benchmarks.harness.machine import cpu_name
from benchmarks.harness.paths import PROGRAMS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import free_port
from benchmarks.harness.programs import Program
from benchmarks.simulator import population
from benchmarks.simulator.costs import Costs, compared
from modularity_registry.catalog import documents
from modularity_registry.clock import SystemClock
from modularity_registry.config import Settings
from modularity_registry.events.interest import Interest
from modularity_registry.events.listener import Batch, Listener
from modularity_registry.model import status
from modularity_registry.model.service import Fault, Service
from modularity_registry.runtime import Registry, build
from modularity_registry.schema.parse import parse_registration
from modularity_registry.stores import open_store
from modularity_registry.stores.base import LARGEST_BATCH, Store, Write
from modularity_registry.stores.memory import MemoryStore

SERVICES = 20_000
CHECKED = 1_000
WINDOWS = 6
"""Seconds of checks; the cheapest counts, since other programs disturb."""

HOSTS = 32
WRITES = 4_000
STORES = ("etcd", "redis", "sqlite")
"""The first that can run here is measured."""

STREAM = 7_000.0
"""The target of the row `watch`, which the registry meets."""

BASE = 85e6
"""Of docs/operating.md; the real run shows it as well."""

CLOCK = SystemClock()


def calibrate(seed: int) -> tuple[Costs, dict[str, str]]:
    """Return the costs on this machine, which takes about a minute, and its name."""
    batch, write, kind = _store(seed)
    costs = Costs(
        **uvloop.run(_view()),
        check=uvloop.run(_check()),
        delivery=uvloop.run(_delivery()),
        base=BASE,
        stream=STREAM,
        batch=batch,
        write=write,
    )
    machine = {"cpu": cpu_name(), "store": kind, "date": f"{CLOCK.now():%Y-%m-%d}"}
    return costs, machine


def seconds_of(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the seconds of a core that a call takes: the least of some."""

    def once() -> float:
        began = time.process_time()
        call()
        return time.process_time() - began

    return min(once() for _ in range(repeats))


class Capture(Listener):
    """A stream that keeps what it was told."""

    __slots__ = ("text",)

    def hear(self, batch: Batch) -> None:
        self.text = batch.text

    def end(self) -> None:
        """There is nothing to end."""


async def _view() -> dict[str, float]:
    """Return what reading the store and following it costs, and takes."""
    gc.collect()
    before = _resident()
    store = MemoryStore()
    now = CLOCK.now()
    services = [population.service(n, now, leases=False) for n in range(SERVICES)]
    for first in range(0, SERVICES, LARGEST_BATCH):
        part = services[first : first + LARGEST_BATCH]
        store.commit([_put(each, None) for each in part])
    # An hour, so that no check is made meanwhile.
    settings = Settings(health_check_interval=3_600)
    registry = build(settings, store=store)
    began = time.process_time()
    await registry.start()
    load = (time.process_time() - began) / SERVICES
    del services[3_000:]
    gc.collect()
    # The store keeps the documents, as the view does: they count once.
    taken = (_resident() - before) / SERVICES
    listener = Capture()
    capability = services[0].registration.capabilities[0]
    registry.hub.watch(listener, Interest(frozenset({capability})))
    fault = Fault("check", "connection refused; 3 checks in a row failed", now)
    changes = [_put(status.with_fault(each, fault), None) for each in services]
    apply = _per_write(store, changes)
    await asyncio.sleep(0.1)
    costs = {
        "load": load,
        "apply": apply,
        "register": await _registrations(registry) / 500,
        "document": float(len(changes[0].value or b"")),
        "event": float(len(listener.text) / listener.text.count(b"event: ")),
        "service": taken,
        **_records(store),
    }
    costs |= await _division(registry, store)
    await registry.stop()
    return costs


def _put(each: Service, expected: int | None) -> Write:
    key = documents.key_of(each.registration.id)
    return Write(key, documents.encode(each), expected)


def _per_write(store: MemoryStore, writes: list[Write]) -> float:
    """Return the seconds for each write that the view takes in."""

    def commit() -> None:
        for write in writes:
            store.commit([write])

    alone = MemoryStore()

    def store_only() -> None:
        for write in writes:
            alone.commit([write])

    return (seconds_of(commit, 1) - seconds_of(store_only, 1)) / len(writes)


async def _registrations(registry: Registry) -> float:
    began = time.process_time()
    for number in range(SERVICES, SERVICES + 500):
        body = workload.registry_body(workload.service(number))
        registration = parse_registration(body.encode())
        await registry.commands.register(registration, caller_is_local=True)
    return time.process_time() - began


def _records(store: MemoryStore) -> dict[str, float]:
    now = CLOCK.now()
    names = population.replica_names(100)

    def writes(heartbeats: int) -> list[Write]:
        ids = tuple(population.service_id(n) for n in range(heartbeats))
        return [
            Write(
                documents.key_of_replica(name),
                documents.encode_replica(
                    documents.ReplicaRecord(1, name, "0", now, ids, "10.0.0.1:5000")
                ),
            )
            for name in names * 5
        ]

    plain, full = writes(0), writes(200)
    store.commit(plain[:64])
    store.commit(plain[64:100])
    record = _per_write(store, plain)
    heartbeat = (_per_write(store, full) - record) / 200
    size = float(len(plain[0].value or b""))
    return {"record": record, "heartbeat": heartbeat, "record_size": size}


async def _division(registry: Registry, store: MemoryStore) -> dict[str, float]:
    """Return what a new division costs: of two numbers of replicas, a line."""
    total = len(registry.catalog.ids())
    seconds = {}
    for count in (100, 10):
        for name in population.replica_names(100)[count:]:
            store.commit([Write(documents.key_of_replica(name), None)])
        await asyncio.sleep(0.1)
        taken = []
        for _ in range(8):  # the first still hands services over
            began = time.process_time()
            registry.monitor.redistribute(any_lost=False)
            while not registry.monitor.idle:
                await asyncio.sleep(0)
            taken.append(time.process_time() - began)
        seconds[len(registry.membership.alive)] = min(taken[1:]) / total
    (most, many), (least, few) = seconds.items()
    pick = (many - few) / (compared(most) - compared(least))
    return {"pick": pick, "look": few - pick * compared(least)}


async def _check() -> float:
    """Return the seconds of a core for a check, of many that a registry makes."""
    port = free_port()
    core = sorted(os.sched_getaffinity(0))[-1]
    with Program(core, PROGRAMS / "providers.py", [str(port)]) as providers:
        providers.reply()
        providers.ask(do="open", first=1, last=HOSTS)
        registry = build(Settings(health_check_interval=1.0))
        await registry.start()
        for number in range(CHECKED):
            address = f"127.0.0.{number % HOSTS + 1}"
            model = workload.service(number, mode="http")
            body = workload.registry_body(model).replace(
                model.location, f"http://{address}:{port}/{number}"
            )
            registration = parse_registration(body.encode())
            await registry.commands.register(registration, caller_is_local=True)
        await asyncio.sleep(2)
        windows = []
        for _ in range(WINDOWS):
            before, began = registry.monitor.succeeded, time.process_time()
            await asyncio.sleep(1)
            made = registry.monitor.succeeded - before
            windows.append((time.process_time() - began) / made)
        await registry.stop()
    return min(windows)


async def _delivery() -> float:
    """Return the seconds of a core to write an event to one stream."""
    ours, theirs = socket.socketpair()
    with subprocess.Popen(
        ["cat"], stdin=theirs.fileno(), stdout=subprocess.DEVNULL
    ) as reader:
        theirs.close()
        _, writer = await asyncio.open_connection(sock=ours)
        event = bytes(700)
        began = time.process_time()
        for _ in range(200):
            for _ in range(20):
                writer.write(event)
            await writer.drain()
            await asyncio.sleep(0)
        used = time.process_time() - began
        writer.close()
        await writer.wait_closed()
        reader.wait(10)
    return used / 4_000


def _store(seed: int) -> tuple[float, float, str]:
    """Return the seconds of a round trip, and those for each write of full batches."""
    plan = local_plan(seed)
    with plan.fleet() as fleet, ExitStack() as stack:
        found = first_available(plan, fleet, STORES, stack)
        store = open_store(found.empty_store())
        try:
            trips = [_trip(store, number, 1, seed) for number in range(100)]
            batches = range(WRITES // LARGEST_BATCH)
            full = [_trip(store, number, LARGEST_BATCH, seed) for number in batches]
        finally:
            store.close()
    return statistics.median(trips), statistics.mean(full) / LARGEST_BATCH, found.kind


def local_plan(seed: int) -> Plan:
    """Return a plan for this machine's cores, with its data in the temporary folder."""
    cores = sorted(os.sched_getaffinity(0))
    return Plan(seed, cores[0], cores[-1], Path(tempfile.gettempdir()))


def _trip(store: Store, number: int, size: int, seed: int) -> float:
    """Return the seconds that a batch of this size takes."""
    value = random.Random(seed).randbytes(225).hex().encode()
    batch = [Write(f"services/{number}-{size}-{n}", value) for n in range(size)]
    began = time.perf_counter()
    store.commit(batch)
    return time.perf_counter() - began


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
