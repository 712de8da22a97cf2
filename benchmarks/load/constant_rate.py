"""Runs `programs/constant_rate.py`, which makes calls at a constant rate."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness.comparison import SystemUnderTest
from benchmarks.harness.paths import PROGRAMS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import CpuMeter, Fleet, Server
from benchmarks.harness.programs import Program
from benchmarks.harness.results import BenchmarkError, Sample

# A call waits for a free connection when a system has fallen behind, as at a client
# with a pool of them.
CONNECTIONS = 64
KEPT = 0.97
"""The share of the offered rate that is answered if a system keeps up: the rest is the
time that the last answers take after the last call."""

ENOUGH = 1_000
"""Answers from which on there is a 99.9th percentile."""


@contextmanager
def generator(
    plan: Plan, folder: Path, port: int, texts: Sequence[str], protocol: str = "http"
) -> Iterator[Program]:
    """Yield a program that makes these calls, on the core of the load."""
    file = folder / f"calls-{port}.json"
    file.write_text(json.dumps(list(texts)))
    script = PROGRAMS / "constant_rate.py"
    with Program(plan.load_core, script, (str(port), protocol, str(file))) as program:
        program.reply()
        yield program


def requests_of(system: SystemUnderTest) -> list[str]:
    """Return the requests that a system gets, as texts."""
    return [system.request_for(key).decode() for key in system.keys]


def measure_rate(
    fleet: Fleet,
    server: Server,
    program: Program,
    rate: float,
    seconds: float,
    connections: int = CONNECTIONS,
) -> Sample:
    """Offer ``rate`` calls a second; return what was answered, a second, and how late.

    A rate of 0 makes as many calls as the connections can. Raises `BenchmarkError`
    when a call fails.
    """
    command = {"rate": rate, "seconds": seconds, "connections": connections}
    with fleet.pausing_others(server):
        meter = CpuMeter(server, program)
        reply: dict[str, Any] = program.ask(**command)
        used = meter.used()
        foreign = meter.foreign_share()
    if not reply["answered"]:
        raise BenchmarkError(f"{server.name} answered no call in time")
    took: float = reply["seconds"]
    return Sample(
        value=reply["answered"] / took,
        p50=1000 * reply["p50"],
        p99=1000 * reply["p99"],
        p999=1000 * reply["p999"] if reply["answered"] >= ENOUGH else None,
        server_busy=used[0] / took,
        client_busy=reply["cpu"] / took,
        reply_bytes=reply["reply_bytes"],
        foreign=foreign,
        lag=1000 * reply["lag"],
    )


def kept_up(sample: Sample, rate: float) -> bool:
    """Say whether as many calls were answered as were offered, within the run."""
    return sample.value >= KEPT * rate
