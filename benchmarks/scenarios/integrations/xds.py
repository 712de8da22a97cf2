"""Nodes of xDS by the thousand: how soon each is told of a change."""

import random
from dataclasses import replace

from benchmarks.harness import workload
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import free_port
from benchmarks.harness.results import Check, Row, Sample, Series
from benchmarks.harness.systems import start_registry
from benchmarks.scenarios.events.watchers import (
    PAUSE,
    allow_files,
    measure,
    open_watchers,
    room,
)

# The addresses are nobody's: no check may find that out meanwhile.
UNCHECKED = {"REGISTRY_HEALTH_CHECK_INTERVAL": "3600"}


def xds_nodes(plan: Plan) -> Row:
    """From a change of a service to each of many Envoys that has it as an endpoint."""
    count = plan.xds_nodes
    allow_files(count)
    memories: list[Sample] = []
    samples = tuple(_repeat(plan, count, memories) for _ in range(plan.repeats))
    series = Series("registry", "ms", samples)
    memory = Series("memory", "bytes/stream", tuple(memories))
    checks = (Check("p99", series.values, 150, "less", "ms"),)
    notes = (
        "each node has a connection and a stream of its own, and accepts each response",
    )
    title = f"change to node by xDS, {count:,} nodes, {plan.changes} changes, p99"
    return Row("xds-nodes", title, (series, memory), checks, notes)


def _repeat(plan: Plan, count: int, memories: list[Sample]) -> Sample:
    """Return one repeat with a fresh registry; add its memory for each node."""
    port = free_port()
    options = ("--integrations", "envoy", "--xds-port", str(port))
    capability = workload.sole_provider(0).capability.encode()
    env = room(count) | UNCHECKED
    with plan.fleet() as fleet:
        server = start_registry(plan, fleet, env=env, options=options)
        before = server.worker_rss()
        with open_watchers(plan, port, [capability] * count, "xds") as nodes:
            memories.append(Sample((server.worker_rss() - before) / count))
            return measure(server, nodes, _changes(plan), count).sample


def _changes(plan: Plan) -> list[dict[str, object]]:
    """Return changes that move a service to another address, by which each is told."""
    rng = random.Random(plan.seed)
    service = replace(workload.sole_provider(0), mode="http")
    changes: list[dict[str, object]] = []
    for number in range(plan.changes):
        address = f"10.99.1.{100 + number}"
        moved = replace(service, location=f"http://{address}:8080")
        raw = workload.registry_register(moved).decode()
        changes.append({"raw": raw, "marker": address, "pause": rng.uniform(*PAUSE)})
    return changes
