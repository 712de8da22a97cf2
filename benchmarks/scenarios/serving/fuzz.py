"""Malformed requests by the hundred thousand, and how the registry bears them.

The registry's own tests make the requests, in their package ``e2e.fuzz``.
"""

import random
import sys
import time
from collections.abc import Iterator

from benchmarks.harness.paths import REGISTRY_TESTS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Server, wait_until
from benchmarks.harness.results import Check, Row, Sample, Series
from benchmarks.harness.systems import start_registry

TESTS = str(REGISTRY_TESTS)
sys.path.append(TESTS)

# These are on the path only now.
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
# Caches fill up in the first part of the calls. Only the changes that streams can
# resume from go on growing, to 128 MiB at most: some 700 changes of services with up to
# 16 KiB of metadata take about 30 MiB.
WARMUP_SHARE = 0.3
MEMORY_LIMIT = 40.0  # MiB
CLOSE_LIMIT = 30.0
MAX_PROBLEMS = 5


def fuzz(plan: Plan) -> Row:
    """Malformed requests."""
    rng = random.Random(plan.seed)
    examples = EXAMPLES if plan.fuzz_calls > 50_000 else 5
    seeds = made_from_document(plan.seed, examples)
    source = exchanges(seeds_of(seeds, rng), rng)
    env = {"REGISTRY_ALLOWED_NETWORKS": "loopback", "HEALTH_CHECK_INTERVAL": "3600"}
    with plan.fleet() as fleet:
        server = start_registry(plan, fleet, env=env)
        return _row(plan, server, source, len(seeds))


def _row(plan: Plan, server: Server, source: Iterator[Exchange], seeds: int) -> Row:
    pids = server.pids()
    files = open_files(pids[-1])
    caller = Caller(server.port)
    began = time.perf_counter()
    warmup = int(plan.fuzz_calls * WARMUP_SHARE)
    caller.send(source, warmup)
    clear(server.port)
    before = server.worker_rss()
    findings = caller.send(source, plan.fuzz_calls - warmup)
    rate = Sample(findings.calls / (time.perf_counter() - began))
    late_again = caller.repeat_late()
    clear(server.port)
    wait_until(
        lambda: open_files(pids[-1]) <= files, CLOSE_LIMIT, "end of all connections"
    )
    growth = (server.worker_rss() - before) / (1 << 20)
    checks = (
        Check("memory of the last part", (growth,), MEMORY_LIMIT, "less", "MiB"),
        Check("late again when sent alone", (float(len(late_again)),), 0.0, "less", ""),
    )
    problems = [*findings.faults[:MAX_PROBLEMS], *late_again[:MAX_PROBLEMS]]
    problems += _problems_afterwards(server, pids)
    return Row(
        "fuzz",
        f"{plan.fuzz_calls:,} malformed requests",
        (Series("registry", "calls/s", (rate,)),),
        checks,
        _notes(plan, findings, seeds),
        tuple(problems),
    )


def _problems_afterwards(server: Server, pids: list[int]) -> Iterator[str]:
    """Yield what is wrong with the registry's process, its answers and its log."""
    if server.pids() != pids:
        yield "its process was replaced"
    problem = still_right(server.port)
    if problem is not None:
        yield f"the registry answers wrongly afterwards: {problem}"
    log = server.log.read_text(errors="replace")
    for word in ("Traceback", "panicked", " ERROR "):
        if word in log:
            yield f"its log contains {word!r}"


def _notes(plan: Plan, findings: Findings, seeds: int) -> tuple[str, ...]:
    statuses = ", ".join(f"{k}: {n:,}" for k, n in sorted(findings.statuses.items()))
    return (
        f"seed {plan.seed}, {seeds:,} requests made from the OpenAPI document",
        f"{findings.calls:,} calls; {statuses}; cut {findings.cut:,}",
        f"slowest exchange {findings.slowest:.2f} s, {len(findings.late)} over a"
        " second",
    )
