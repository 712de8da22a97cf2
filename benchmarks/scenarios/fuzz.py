"""Spoiled requests by the hundred thousand, and whether the registry minds.

The requests are made by the registry's own tests, in their package ``e2e.fuzz``.
"""

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Server, wait_until
from benchmarks.harness.results import Check, Row, Sample, Series
from benchmarks.harness.systems import launch_registry

TESTS = Path(__file__).resolve().parents[2] / "packages" / "registry" / "tests"
sys.path.append(str(TESTS))

# Only now are they found.
from e2e.fuzz.caller import (  # noqa: E402
    Caller,
    Exchange,
    Findings,
    exchanges,
    seeds_of,
)
from e2e.fuzz.cases import made_from_document  # noqa: E402
from e2e.fuzz.serving import clear, open_files, still_right  # noqa: E402

EXAMPLES = 40
# What fills up to a bound of its own does so in the first part, but for the changes
# that streams can resume from: 128 MiB at most, of which some 700 changes of services
# with up to 16 KiB of metadata take about 30.
WARM = 0.3
MEGABYTES = 40.0
REST = 30.0
SHOWN = 5


def fuzz(plan: Plan) -> Row:
    """Spoiled requests."""
    rng = random.Random(plan.seed)
    made = made_from_document(plan.seed, EXAMPLES if plan.fuzzed > 50_000 else 5)
    source = exchanges(seeds_of(made, rng), rng)
    env = {"REGISTRY_ALLOWED_NETWORKS": "loopback", "HEALTH_CHECK_INTERVAL": "3600"}
    with plan.fleet() as fleet:
        server = launch_registry(fleet, env=env, script=plan.registry).ready("/ready")
        return _row(plan, server, source, len(made))


def _row(plan: Plan, server: Server, source: Iterator[Exchange], made: int) -> Row:
    workers = server.pids()[1:]
    files = open_files(workers[0])
    caller = Caller(server.port)
    began = time.perf_counter()
    warm = int(plan.fuzzed * WARM)
    caller.send(source, warm)
    clear(server.port)
    before = server.worker_rss()
    found = caller.send(source, plan.fuzzed - warm)
    took = time.perf_counter() - began
    again = caller.repeat_late()
    clear(server.port)
    wait_until(lambda: open_files(workers[0]) <= files, REST, "the end of connections")
    grown = (server.worker_rss() - before) / (1 << 20)
    problems = [*found.faults[:SHOWN], *again[:SHOWN]]
    if server.pids()[1:] != workers:
        problems.append("another process answers at the end than at the beginning")
    wrong = still_right(server.port)
    if wrong is not None:
        problems.append(f"the registry is wrong afterwards: {wrong}")
    log = server.log.read_text(errors="replace")
    words = [word for word in ("Traceback", "panicked", " ERROR ") if word in log]
    problems += [f"its log says {word!r}" for word in words]
    series = Series("registry", "calls/s", (Sample(found.calls / took),))
    checks = (
        Check("memory of the last part", (grown,), MEGABYTES, "less", "MiB"),
        Check("late again when sent alone", (float(len(again)),), 0.0, "less", ""),
    )
    notes = _notes(plan, found, made)
    title = f"{plan.fuzzed:,} spoiled requests"
    return Row("fuzz", title, (series,), checks, notes, tuple(problems))


def _notes(plan: Plan, found: Findings, made: int) -> tuple[str, ...]:
    statuses = ", ".join(f"{k}: {n:,}" for k, n in sorted(found.statuses.items()))
    return (
        f"seed {plan.seed}, from {made:,} requests made by the document",
        f"{found.calls:,} calls; {statuses}; cut {found.cut:,}",
        f"slowest exchange {found.slowest:.2f} s, {len(found.late)} over a second",
    )
