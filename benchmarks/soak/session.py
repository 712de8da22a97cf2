"""One soak: a registry, the load, the samples, and what is left at the end."""

import asyncio
import re
import signal
from collections.abc import Sequence

from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server, free_port
from benchmarks.harness.results import BenchmarkError
from benchmarks.harness.systems import start_registry
from benchmarks.soak.callers.calls import Tally
from benchmarks.soak.callers.pace import becomes
from benchmarks.soak.callers.population import FILL
from benchmarks.soak.load import NAMESPACE, Load
from benchmarks.soak.report import Outcome, progress
from benchmarks.soak.samples import Process, Sample
from benchmarks.soak.verdict import judge

INTERVAL = 5.0
"""Seconds between two samples of a long run."""

SAMPLES = 30
"""A short run has so many."""

FILL_RATE = 100
"""A run has to take so much longer for each change that is filled in: 100 s for all."""

MINUTE = 60.0

SETTLE = 60.0
"""Seconds within which all connections must be gone after the load."""

_TOKEN = re.compile(r"mreg_[\w-]{43}")
_BAD_WORDS = ("Traceback", "panicked", " ERROR ")


async def soak(plan: Plan, cores: Sequence[int], seconds: float) -> Outcome:
    """Return what a registry needed under load for so many seconds."""
    tally = Tally()
    with plan.fleet() as fleet:
        data = fleet.folder / "data"
        data.mkdir()
        counts, dns_port = fleet.folder / "counts", free_port()
        server = start_registry(
            plan,
            fleet,
            f"sqlite:///{data}/registry.db",
            {"SOAK_COUNTS": str(counts)},
            cores=cores,
            options=_options(fleet, dns_port),
        )
        process = Process(server, counts, data)
        before = process.descriptors()
        load = Load(server.port, dns_port, _token(server), plan.seed, tally)
        async with load:
            await load.prepare(min(FILL, int(FILL_RATE * seconds)))
            samples = await _sampled(load, process, seconds)
        left = await _left(process, before, tally)
        _read_log(server, tally)
    return Outcome(seconds, samples, judge(samples, seconds), tally, left)


def _options(fleet: Fleet, dns_port: int) -> list[str]:
    options = ["--auth", "--anonymous", "read", "--namespace", NAMESPACE]
    options += ["--allowed-networks", "loopback", "--dns-port", str(dns_port)]
    audit = fleet.folder / "data" / "audit"
    options += ["--audit-file", str(audit), "--audit-megabytes", "1"]
    return [*options, "--audit-files", "2"]


def _token(server: Server) -> str:
    text = _TOKEN.search(server.log.read_text())
    if text is None:
        raise BenchmarkError("the registry has printed no token")
    return text[0]


async def _sampled(load: Load, process: Process, seconds: float) -> list[Sample]:
    process.begin()
    samples = [await process.sample()]
    shown = 0.0
    running = asyncio.create_task(load.run(seconds))
    try:
        while not running.done():
            await asyncio.wait((running,), timeout=min(INTERVAL, seconds / SAMPLES))
            if not running.done():
                samples.append(await process.sample())
                if samples[-1].seconds >= shown:
                    print(progress(samples[-1]), flush=True)
                    shown += MINUTE
        await running
    finally:
        running.cancel()
    return samples


async def _left(process: Process, before: int, tally: Tally) -> dict[str, int]:
    """Return what the process holds when everybody has gone."""

    async def closed() -> bool:
        return process.descriptors() <= before

    if not await becomes(closed, SETTLE):
        more = process.descriptors() - before
        tally.fault(f"{more} descriptors are still open {SETTLE:.0f} s after the load")
    return await process.count(signal.SIGUSR1)


def _read_log(server: Server, tally: Tally) -> None:
    for line in server.log.read_text(errors="replace").splitlines():
        if any(word in line for word in _BAD_WORDS):
            tally.fault(f"the log has: {line}")
