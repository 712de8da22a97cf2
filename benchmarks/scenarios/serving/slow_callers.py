"""Calls beside a crowd of slow callers: silent, dripping, or hardly reading."""

import random
import resource
import threading
import time
from collections.abc import Mapping

from benchmarks.harness import workload
from benchmarks.harness.fill import filled_registry
from benchmarks.harness.http import Connection, Reply
from benchmarks.harness.paths import REGISTRY_TESTS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Server
from benchmarks.harness.programs import Program
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    percentile,
)

CROWDS_SCRIPT = REGISTRY_TESTS / "e2e" / "fuzz" / "crowds.py"
# Milliseconds.
LIMIT = 100.0
# Seconds between two calls.
PAUSE = 0.005
REGISTRATION_SHARE = 0.2
NEW_CONNECTION_SHARE = 0.2
# A list of so many services is 1.5 MB: more than the buffers of a connection hold.
SERVICES = 4_000


def slow(plan: Plan) -> Row:
    """Calls beside slow callers."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    many = plan.slow_callers
    series, checks, notes = [], [], []
    with plan.fleet() as fleet:
        server = filled_registry(plan, fleet, workload.services(SERVICES))
        for name, counts in _crowds(many).items():
            before = server.worker_rss()
            times, note = _call_beside(plan, server, counts)
            growth = (server.worker_rss() - before) / 1e6
            p50, p99, slowest = (percentile(times, share) for share in (0.5, 0.99, 1.0))
            series.append(Series(f"beside {name}", "ms", (Sample(p50, p50, p99),)))
            note += f", the slowest {slowest:.0f} ms; memory {growth:+.0f} MB"
            notes.append(f"{name}: {note}")
            if counts:
                for label, value in (("p99", p99), ("slowest", slowest)):
                    text = f"{label} beside {name}"
                    checks.append(Check(text, (value,), LIMIT, "less", "ms"))
    title = f"calls beside {many:,} silent and {many:,} dripping callers, in turn"
    return Row("slow", title, tuple(series), tuple(checks), tuple(notes))


def _crowds(many: int) -> Mapping[str, Mapping[str, int]]:
    few = many // 10
    silent = {"silent": many}
    dripping = {"dripping": many - 3 * few, "uploading": 2 * few, "chunking": few}
    return {
        "nobody": {},
        "silent": silent,
        "dripping": dripping,
        "all these": {**silent, **dripping},
        "slow readers": {"reading": 2 * few},
    }


def _call_beside(
    plan: Plan, server: Server, counts: Mapping[str, int]
) -> tuple[list[float], str]:
    """Return the milliseconds of each call beside this crowd, and a note on it."""
    seconds = plan.slow_seconds
    if not counts:
        times = _call(plan, server, seconds)
        return times, f"{len(times):,} calls"
    with Program(plan.load_core, CROWDS_SCRIPT) as crowd:
        opened = crowd.ask(port=server.port, counts=counts, seconds=seconds)["open"]
        times = _call(plan, server, seconds - 1)
        outcome = crowd.reply()
    openings = sum(outcome["openings"].values())
    note = f"{len(times):,} calls, {sum(opened.values()):,} in the crowd,"
    note += f" {openings:,} openings, refused with {outcome['statuses'] or 'nothing'}"
    return times, note


def _call(plan: Plan, server: Server, seconds: float) -> list[float]:
    """Return the milliseconds of each call, connecting included.

    The calls are lookups and some registrations, some on a new connection.
    """
    rng = random.Random(plan.seed)
    capabilities = workload.capabilities(SERVICES)
    times: list[float] = []
    pause, end = threading.Event(), time.perf_counter() + seconds
    with Connection(server.port) as kept:
        while time.perf_counter() < end:
            if rng.random() < REGISTRATION_SHARE:
                # Of services that exist, so the lists keep their length.
                service = workload.service(rng.randrange(SERVICES))
                raw = workload.registry_register(service)
            else:
                raw = workload.registry_lookup(rng.choice(capabilities))
            began = time.perf_counter()
            if rng.random() < NEW_CONNECTION_SHARE:
                with Connection(server.port) as connection:
                    reply = _exchange(connection, raw)
            else:
                reply = _exchange(kept, raw)
            times.append((time.perf_counter() - began) * 1000)
            if reply.status != 200:
                raise BenchmarkError(f"a call got {reply.status}: {reply.body[:200]!r}")
            pause.wait(PAUSE)
    return times


def _exchange(connection: Connection, raw: bytes) -> Reply:
    connection.send(raw)
    return connection.receive()
