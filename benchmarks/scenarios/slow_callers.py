"""Calls beside a crowd of callers who are silent, who drip, and who hardly read."""

import random
import resource
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.harness import workload as w
from benchmarks.harness.fill import filled_registry
from benchmarks.harness.http import Connection
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

HERE = Path(__file__).resolve().parents[1]
PROGRAM = HERE.parent / "packages/registry/tests/e2e/fuzz/crowds.py"
# Milliseconds.
LIMIT = 100.0
PACE = 0.005
WRITES = 0.2
FRESH = 0.2
# A list of so many services is 1.5 MB: more than the buffers of a connection hold.
LISTED = 4_000


def slow(plan: Plan) -> Row:
    """Calls beside slow callers."""
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2
    )
    many, few = plan.slow, plan.slow // 10
    crowds: Mapping[str, Mapping[str, int]] = {
        "nobody": {},
        "silent": {"silent": many},
        "dripping": {"dripping": many - 3 * few, "uploading": 2 * few, "chunking": few},
        "all these": {
            "silent": many,
            "dripping": many - 3 * few,
            "uploading": 2 * few,
            "chunking": few,
        },
        "slow readers": {"reading": 2 * few},
    }
    series, checks, notes = [], [], []
    with plan.fleet() as fleet:
        server = filled_registry(plan, fleet, w.fleet(LISTED))
        for name, counts in crowds.items():
            before = server.worker_rss()
            times, note = _beside(plan, server, counts)
            grown = (server.worker_rss() - before) / 1e6
            series.append(_series(f"beside {name}", times))
            p99, most = (percentile(times, share) for share in (0.99, 1.0))
            note += f", the slowest {most:.0f} ms; memory {grown:+.0f} MB"
            notes.append(f"{name}: {note}")
            if counts:
                check = partial(Check, target=LIMIT, better="less", unit="ms")
                checks.append(check(f"p99 beside {name}", (p99,)))
                checks.append(check(f"slowest beside {name}", (most,)))
    title = f"calls beside {many:,} silent and {many:,} dripping callers, in turn"
    return Row("slow", title, tuple(series), tuple(checks), tuple(notes))


def _series(name: str, times: list[float]) -> Series:
    figures = (percentile(times, share) for share in (0.5, 0.5, 0.99))
    return Series(name, "ms", (Sample(*figures),))


def _beside(
    plan: Plan, server: Server, counts: Mapping[str, int]
) -> tuple[list[float], str]:
    """Return the milliseconds of each call beside this crowd, and how that went."""
    seconds = plan.slow_seconds
    if not counts:
        times = _calls(plan, server, seconds)
        return times, f"{len(times):,} calls"
    with Program(plan.load_core, PROGRAM) as program:
        there = program.ask(port=server.port, counts=counts, seconds=seconds)["open"]
        times = _calls(plan, server, seconds - 1)
        came = program.answer()
    openings = sum(came["openings"].values())
    note = f"{len(times):,} calls, {sum(there.values()):,} in the crowd,"
    note += f" {openings:,} openings, refused with {came['statuses'] or 'nothing'}"
    return times, note


def _calls(plan: Plan, server: Server, seconds: float) -> list[float]:
    """Make lookups, some registrations among them, some on a connection of their own.

    Returns the milliseconds of each, connecting included.
    """
    rng = random.Random(plan.seed)
    names = w.capabilities(LISTED)
    times: list[float] = []
    pause, end = threading.Event(), time.perf_counter() + seconds
    with Connection(server.port) as kept:
        while time.perf_counter() < end:
            if rng.random() < WRITES:
                # Of those that are there: the lists stay as long as they are.
                raw = w.registry_register(w.spec(rng.randrange(LISTED)))
            else:
                raw = w.registry_lookup(rng.choice(names))
            began = time.perf_counter()
            if rng.random() < FRESH:
                with Connection(server.port) as own:
                    own.send(raw)
                    reply = own.receive()
            else:
                kept.send(raw)
                reply = kept.receive()
            times.append((time.perf_counter() - began) * 1000)
            if reply.status != 200:
                raise BenchmarkError(f"a call got {reply.status}: {reply.body[:200]!r}")
            pause.wait(PACE)
    return times
