"""Registrations and reads while the members of an etcd lose their leader."""

import threading
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from benchmarks.harness import workload as w
from benchmarks.harness.backends import backend
from benchmarks.harness.http import Connection, get, pour
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Server, wait_until
from benchmarks.harness.results import BenchmarkError, Check, Row, Sample, Series
from benchmarks.harness.systems import launch_registry

MEMBERS = 3
WRITERS = 4
# Between two registrations of a writer, so that all stays within bounds.
PAUSE = 0.005
AGAIN = 0.02
LIMIT = 60.0


class _Writer(threading.Thread):
    """Registers one service after another; knows which were acknowledged, and when."""

    def __init__(self, port: int, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.acked: list[tuple[float, str]] = []
        self.refused = 0
        self._port, self._halt = port, stop
        self._next = number * 1_000_000

    def run(self) -> None:
        while not self._halt.is_set():
            try:
                with Connection(self._port) as line:
                    self._write(line)
            except (OSError, BenchmarkError):
                self.refused += 1
                self._halt.wait(AGAIN)

    def _write(self, line: Connection) -> None:
        while not self._halt.is_set():
            # Never the same again: what became of a refused one may be unknown.
            self._next += 1
            service = w.spec(self._next)
            line.send(w.registry_register(service))
            taken = line.receive().status in (200, 201)
            if taken:
                self.acked.append((time.perf_counter(), service.id))
            else:
                self.refused += 1
            self._halt.wait(PAUSE if taken else AGAIN)


class _Reader(threading.Thread):
    """Looks a capability up again and again; knows how often that failed."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.made = self.failed = self.stale = 0
        self.slowest = 0.0
        self._port, self._halt = port, stop

    def run(self) -> None:
        raw = w.registry_lookup(w.lone(0).capability)
        while not self._halt.is_set():
            try:
                with Connection(self._port) as line:
                    while not self._halt.wait(PAUSE):
                        self._read(line, raw)
            except (OSError, BenchmarkError):
                self.made += 1
                self.failed += 1

    def _read(self, line: Connection, raw: bytes) -> None:
        began = time.perf_counter()
        line.send(raw)
        reply = line.receive()
        self.slowest = max(self.slowest, time.perf_counter() - began)
        self.made += 1
        self.failed += reply.status != 200
        self.stale += b"x-registry-stale" in reply.head.lower()


def leader(plan: Plan) -> Row:
    """Registrations and reads while the leader of three etcd members is killed."""
    kills: list[float] = []
    stop = threading.Event()
    with plan.fleet() as fleet, backend(plan, fleet, "etcd", MEMBERS) as store:
        place = store.place()
        server = launch_registry(fleet, place, script=plan.registry).ready("/ready")
        pour(server.port, [w.registry_register(w.lone(0))])
        writers = [_Writer(server.port, n + 1, stop) for n in range(WRITERS)]
        reader = _Reader(server.port, stop)
        try:
            for thread in (*writers, reader):
                thread.start()
            for _ in range(plan.elections):
                threading.Event().wait(1.0)
                killed = store.order(do="kill_leader")
                kills.append(time.perf_counter())
                wait_until(lambda: _goes_on(writers, kills[-1]), LIMIT, "a write")
                store.order(do="revive", member=killed["member"])
        finally:
            stop.set()
            for thread in (*writers, reader):
                thread.join(LIMIT)
        server.ready("/ready")
        # What the store holds is what another replica begins with.
        other = launch_registry(fleet, place, script=plan.registry).ready("/ready")
        kept = [_ids(each) for each in (server, other)]
    acked = sorted(each for writer in writers for each in writer.acked)
    lost = max(sum(service not in ids for _, service in acked) for ids in kept)
    return _leader_row(plan, kills, [at for at, _ in acked], lost, reader, writers)


def _goes_on(writers: list[_Writer], since: float) -> bool:
    """Say whether a registration that began after then was acknowledged."""
    # One that the leader had taken may still be answered after its end.
    return any(w.acked and w.acked[-1][0] > since + 2 * PAUSE for w in writers)


def _ids(server: Server) -> set[str]:
    services: list[Mapping[str, Any]] = get(server.port, "/api/services")["services"]
    return {service["id"] for service in services}


def _leader_row(
    plan: Plan,
    kills: list[float],
    acked: list[float],
    lost: int,
    reader: _Reader,
    writers: list[_Writer],
) -> Row:
    gaps = []
    for killed, following in pairwise([*kills, float("inf")]):
        # The one that the kill falls into counts as well, by its end.
        gaps.append(max(b - a for a, b in pairwise(acked) if killed <= b < following))
    series = Series("no write taken", "s", tuple(map(Sample, gaps)))
    checks = (
        Check("acknowledged and lost", (float(lost),), 0, "less", ""),
        Check("reads that failed", (float(reader.failed),), 0, "less", ""),
    )
    refused = sum(writer.refused for writer in writers)
    notes = (
        f"{len(acked):,} registrations acknowledged by one replica, {refused:,}"
        f" refused; the longest time without one acknowledged was {max(gaps):.1f} s",
        f"{reader.made:,} reads, {reader.stale:,} of them marked as stale; the slowest"
        f" took {1000 * reader.slowest:.0f} ms",
        "looked up afterwards in that replica, and in one that was started then",
    )
    title = f"{plan.elections} leaders of {MEMBERS} etcd members killed under load"
    return Row("leader", title, (series,), checks, notes)
