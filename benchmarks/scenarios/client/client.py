"""The client's view of the registry: its speed, its freshness, and failover."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

from benchmarks.harness import workload
from benchmarks.harness.fill import fill_registry, filled_registry
from benchmarks.harness.http import Connection, call
from benchmarks.harness.paths import CLIENT_SOURCE, PROGRAMS
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import (
    CpuMeter,
    Fleet,
    Server,
    free_port,
    wait_until,
)
from benchmarks.harness.programs import Program
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    ScenarioSkipped,
    Series,
    percentile,
)
from benchmarks.harness.systems import start_registry

LOOPS = 100_000
# Seconds between two registrations.
GAP = 0.025
# Calls a second.
RATE = 200
# Seconds after a kill in which its effects show.
AFTERMATH = 2.0


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CLIENT_SOURCE)}


def _require_client() -> None:
    """Raise `ScenarioSkipped` when the client can't be imported here."""
    run = subprocess.run(
        [sys.executable, "-c", "from modularity_client import Resolver"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if run.returncode != 0:
        # A path follows the reason.
        reason = run.stderr.strip().splitlines()[-1].partition(" (")[0]
        raise ScenarioSkipped(f"the client can't be imported: {reason}")


def consumer(plan: Plan, server: Server, capability: str) -> Program:
    """Return the consumer program; its first reply comes when its view is ready."""
    arguments = (f"http://127.0.0.1:{server.port}", capability)
    script = PROGRAMS / "consumer.py"
    return Program(plan.load_core, script, arguments, _environment())


def resolve(plan: Plan) -> Row:
    """Picking a provider from the client's own view."""
    _require_client()
    providers = [workload.service(n) for n in range(workload.PER_CAPABILITY)]
    with plan.fleet() as fleet:
        server = filled_registry(plan, fleet, workload.services(plan.services))
        with consumer(plan, server, providers[0].capability) as program:
            program.reply()
            meter = CpuMeter(server, program)
            reply = program.ask(do="resolve", loops=LOOPS, repeats=plan.repeats)
            foreign = meter.foreign_share()
    ids = [provider.id for provider in providers]
    if reply["picked"] != ids:
        raise BenchmarkError(f"picked {reply['picked']}, the providers are {ids}")
    samples = tuple(Sample(us, foreign=foreign) for us in reply["us"])
    series = Series("resolve", "us", samples)
    check = Check("a pick", series.values, 2, "less", "us")
    title = f"resolve from the client's view, {len(providers)} providers"
    notes = (f"{LOOPS:,} in a row, in one thread; nothing is sent",)
    return Row("resolve", title, (series,), (check,), notes)


def subscribed(plan: Plan) -> Row:
    """From a registration to the callback of a client that follows the registry."""
    _require_client()
    samples = tuple(_callback_delay(plan) for _ in range(plan.repeats))
    series = Series("callback", "ms", samples)
    check = Check("p99", series.values, 20, "less", "ms")
    title = f"registration to callback, {plan.registrations} registrations, p99"
    notes = ("from sending the registration to the start of the callback",)
    return Row("subscribed", title, (series,), (check,), notes)


def _callback_delay(plan: Plan) -> Sample:
    first, *others = (
        replace(workload.service(n), group="followed")
        for n in range(plan.registrations + 1)
    )
    pause, sent_at = threading.Event(), {}
    with plan.fleet() as fleet:
        server = start_registry(plan, fleet)
        fill_registry(server, [first])
        with consumer(plan, server, first.capability) as program:
            program.reply()
            meter = CpuMeter(server, program)
            with Connection(server.port) as connection:
                for service in others:
                    pause.wait(GAP)
                    raw = workload.registry_register(service)
                    sent_at[service.id] = time.monotonic()
                    connection.send(raw)
                    if connection.receive().status != 201:
                        raise BenchmarkError(f"{service.id} was not registered")
            pause.wait(1)
            foreign = meter.foreign_share()
            called_at = program.ask(do="callbacks")
    missing = sent_at.keys() - called_at.keys()
    if missing:
        raise BenchmarkError(f"no callback for {len(missing)} registrations")
    delays = [1000 * (called_at[name] - sent) for name, sent in sent_at.items()]
    p50, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
    return Sample(p99, p50=p50, p99=p99, foreign=foreign)


def takeover(plan: Plan) -> Row:
    """Calls while one of two providers is killed."""
    _require_client()
    capability = workload.sole_provider(0).capability
    pause = threading.Event()
    with plan.fleet() as fleet:
        server = start_registry(plan, fleet)
        providers = [_provider(fleet, server, n, free_port()) for n in range(2)]
        with consumer(plan, server, capability) as program:
            program.reply()
            began = time.perf_counter()
            program.ask(do="call", rate=RATE)
            for kill in range(plan.provider_kills):
                victim = kill % 2
                _wait_for_all(program, len(providers))
                port = providers[victim].port
                providers[victim].signal(signal.SIGKILL)
                pause.wait(AFTERMATH)
                providers[victim] = _provider(fleet, server, victim, port)
            _wait_for_all(program, len(providers))
            tally = program.ask(do="end")
            seconds = time.perf_counter() - began
    calls, failed = sum(tally["by"].values()) + tally["failed"], tally["failed"]
    if calls < 0.95 * RATE * seconds:
        raise BenchmarkError(f"{calls} calls in {seconds:.0f} s, not {RATE} a second")
    series = Series("failed calls", "calls", (Sample(float(failed)),))
    check = Check("failed calls", series.values, 0, "less", "calls")
    slowest = 1000 * tally["slowest"]
    notes = [f"{calls:,} calls, {plan.provider_kills} kills; slowest {slowest:.0f} ms"]
    notes += [f"one that failed: {error}" for error in tally["errors"][:1]]
    title = f"invoke {RATE} times a second while one of two providers is killed"
    return Row("takeover", title, (series,), (check,), tuple(notes))


def _provider(fleet: Fleet, server: Server, number: int, port: int) -> Server:
    """Return a provider that answers and is registered, as after a restart."""
    service = replace(
        workload.sole_provider(0),
        number=f"{number:09d}",
        location=f"http://127.0.0.1:{port}",
        mode="http",
    )
    command = [sys.executable, str(PROGRAMS / "provider.py"), str(port), service.id]
    provider = fleet.launch(f"provider-{number}", command, port)
    provider.ready("/_module/health")
    reply = call(server.port, workload.registry_register(service))
    if reply.status not in (200, 201):
        raise BenchmarkError(f"a provider was not registered: {reply.body!r}")
    return provider


def _wait_for_all(program: Program, count: int) -> None:
    """Return when each provider has answered a call from now on."""
    before: dict[str, int] = program.ask(do="tally")["by"]

    def all_answered() -> bool:
        answers: dict[str, int] = program.ask(do="tally")["by"]
        return sum(n > before.get(name, 0) for name, n in answers.items()) == count

    wait_until(all_answered, 60, "a call to each provider")
