"""Registrations and lookups while the leader of an etcd cluster is killed."""

import threading
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from benchmarks.harness import workload
from benchmarks.harness.backends import Backend, backend
from benchmarks.harness.http import Connection, get, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Server, wait_until
from benchmarks.harness.results import BenchmarkError, Check, Row, Sample, Series
from benchmarks.harness.systems import start_registry

MEMBERS = 3
WRITERS = 4
# Seconds between two registrations of a writer, to keep the number of services low.
PAUSE = 0.005
RETRY_PAUSE = 0.02
LIMIT = 60.0


class _Writer(threading.Thread):
    """Registers one service after another; notes when each was acknowledged."""

    def __init__(self, port: int, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[tuple[float, str]] = []
        self.refused = 0
        self._port, self._halt = port, stop
        self._number = number * 1_000_000

    def run(self) -> None:
        while not self._halt.is_set():
            try:
                with Connection(self._port) as connection:
                    self._write(connection)
            except (OSError, BenchmarkError):
                self.refused += 1
                self._halt.wait(RETRY_PAUSE)

    def _write(self, connection: Connection) -> None:
        while not self._halt.is_set():
            # Each id is used once: a refused registration may be stored or not.
            self._number += 1
            service = workload.service(self._number)
            connection.send(workload.registry_register(service))
            accepted = connection.receive().status in (200, 201)
            if accepted:
                self.acknowledged.append((time.perf_counter(), service.id))
            else:
                self.refused += 1
            self._halt.wait(PAUSE if accepted else RETRY_PAUSE)


class _Reader(threading.Thread):
    """Looks a capability up again and again; counts failures and stale replies."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.reads = self.failed = self.stale = 0
        self.slowest = 0.0
        self._port, self._halt = port, stop

    def run(self) -> None:
        raw = workload.registry_lookup(workload.sole_provider(0).capability)
        while not self._halt.is_set():
            try:
                with Connection(self._port) as connection:
                    while not self._halt.wait(PAUSE):
                        self._read(connection, raw)
            except (OSError, BenchmarkError):
                self.reads += 1
                self.failed += 1

    def _read(self, connection: Connection, raw: bytes) -> None:
        began = time.perf_counter()
        connection.send(raw)
        reply = connection.receive()
        self.slowest = max(self.slowest, time.perf_counter() - began)
        self.reads += 1
        self.failed += reply.status != 200
        self.stale += b"x-registry-stale" in reply.head.lower()


def leader(plan: Plan) -> Row:
    """Registrations and lookups while the leader of three etcd members is killed."""
    stop = threading.Event()
    with plan.fleet() as fleet, backend(plan, fleet, "etcd", MEMBERS) as store:
        url = store.empty_store()
        server = start_registry(plan, fleet, url)
        first = workload.registry_register(workload.sole_provider(0))
        send_all(server.port, [first])
        writers = [_Writer(server.port, n + 1, stop) for n in range(WRITERS)]
        reader = _Reader(server.port, stop)
        try:
            for thread in (*writers, reader):
                thread.start()
            kills = _kill_leaders(plan.leader_kills, store, writers)
        finally:
            stop.set()
            for thread in (*writers, reader):
                thread.join(LIMIT)
        server.ready("/ready")
        # A new replica starts from what the store holds.
        other = start_registry(plan, fleet, url)
        held = [_service_ids(replica) for replica in (server, other)]
    acknowledged = sorted(entry for writer in writers for entry in writer.acknowledged)
    lost = max(sum(name not in ids for _, name in acknowledged) for ids in held)
    return _row(kills, [at for at, _ in acknowledged], lost, reader, writers)


def _kill_leaders(count: int, store: Backend, writers: list[_Writer]) -> list[float]:
    """Kill the leader so many times; return when each kill was."""
    kills: list[float] = []
    for _ in range(count):
        threading.Event().wait(1.0)
        reply = store.ask(do="kill_leader")
        kills.append(time.perf_counter())
        wait_until(lambda: _writes_since(writers, kills[-1]), LIMIT, "a write")
        store.ask(do="revive", member=reply["member"])
    return kills


def _writes_since(writers: list[_Writer], since: float) -> bool:
    """Say whether a registration that was sent after ``since`` was acknowledged."""
    # One that the old leader had accepted may still be answered after its end.
    start = since + 2 * PAUSE
    return any(w.acknowledged and w.acknowledged[-1][0] > start for w in writers)


def _service_ids(server: Server) -> set[str]:
    services: list[Mapping[str, Any]] = get(server.port, "/api/services")["services"]
    return {service["id"] for service in services}


def _row(
    kills: list[float],
    acknowledged: list[float],
    lost: int,
    reader: _Reader,
    writers: list[_Writer],
) -> Row:
    gaps = []
    for killed, next_kill in pairwise([*kills, float("inf")]):
        # The gap that the kill falls into counts as well, by its end.
        pairs = pairwise(acknowledged)
        gaps.append(max(b - a for a, b in pairs if killed <= b < next_kill))
    series = Series("no write accepted", "s", tuple(map(Sample, gaps)))
    checks = (
        Check("acknowledged and lost", (float(lost),), 0, "less", ""),
        Check("reads that failed", (float(reader.failed),), 0, "less", ""),
    )
    refused = sum(writer.refused for writer in writers)
    notes = (
        f"{len(acknowledged):,} registrations acknowledged by one replica, {refused:,}"
        f" refused; the longest time without one was {max(gaps):.1f} s",
        f"{reader.reads:,} reads, {reader.stale:,} of them marked as stale; the slowest"
        f" took {1000 * reader.slowest:.0f} ms",
        "verified afterwards at that replica, and at one that was started then",
    )
    title = f"{len(kills)} leaders of {MEMBERS} etcd members killed under load"
    return Row("leader", title, (series,), checks, notes)
