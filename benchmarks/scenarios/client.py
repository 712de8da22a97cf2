"""The client's view of the registry: how fast, how fresh, and how it survives."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import workload as w
from benchmarks.harness.fill import fill_registry, filled_registry
from benchmarks.harness.http import Connection, call
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server, free_port, wait_until
from benchmarks.harness.programs import Program
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    percentile,
)
from benchmarks.harness.systems import launch_registry
from benchmarks.harness.wrk import foreign_seconds

HERE = Path(__file__).resolve().parents[1]
CLIENT = HERE.parent / "packages" / "client" / "src"
CONSUMER, PROVIDER = HERE / "programs/consumer.py", HERE / "programs/provider.py"
LOOPS = 100_000
GAP = 0.025
RATE = 200
# The dead one's calls, and those of the next seconds, are all in what is counted.
AFTERMATH = 2.0
Measure = Callable[[Plan], Row]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CLIENT)}


def client_missing() -> str | None:
    """Return why the client can't be used here; None when it can."""
    run = subprocess.run(
        [sys.executable, "-c", "from modularity_client import Resolver"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if run.returncode == 0:
        return None
    # What comes after the reason is a path.
    return run.stderr.strip().splitlines()[-1].partition(" (")[0]


def needs_client(measure: Measure) -> Measure:
    """Return the scenario, or a row that says why there are no figures."""

    def row(plan: Plan) -> Row:
        missing = client_missing()
        if missing is None:
            return measure(plan)
        key = measure.__name__
        note = f"not measured, for the client can't be used here: {missing}"
        title = (measure.__doc__ or key).strip().rstrip(".").lower()
        return Row(key, title, notes=(note,))

    return row


def consumer(plan: Plan, server: Server, capability: str) -> Program:
    """Return a consumer of the capability whose view of it is ready; to be entered."""
    arguments = (f"http://127.0.0.1:{server.port}", capability)
    return Program(plan.load_core, CONSUMER, arguments, _environment())


@needs_client
def resolve(plan: Plan) -> Row:
    """Picking a provider from the client's own view."""
    name = w.spec(0).capability
    with plan.fleet() as fleet:
        server = filled_registry(plan, fleet, w.fleet(plan.services))
        with consumer(plan, server, name) as program:
            program.answer()
            began, others = time.perf_counter(), foreign_seconds(server, program)
            found = program.ask(do="resolve", loops=LOOPS, repeats=plan.repeats)
            others = max(0.0, foreign_seconds(server, program) - others)
            foreign = others / (time.perf_counter() - began)
    known = [w.spec(n).id for n in range(w.PER_CAPABILITY)]
    if found["picked"] != known:
        raise BenchmarkError(f"picked {found['picked']}, there are {known}")
    samples = tuple(Sample(each, foreign=foreign) for each in found["us"])
    series = Series("resolve", "us", samples)
    check = Check("a pick", series.values, 2, "less", "us")
    title = f"resolve from the client's view, {w.PER_CAPABILITY} providers"
    notes = (f"{LOOPS:,} in a row, by one thread; nothing is sent",)
    return Row("resolve", title, (series,), (check,), notes)


@needs_client
def subscribed(plan: Plan) -> Row:
    """From a registration to the callback of a client that follows."""
    samples = tuple(_noticed(plan) for _ in range(plan.repeats))
    series = Series("callback", "ms", samples)
    check = Check("p99", series.values, 20, "less", "ms")
    title = f"registration to callback, {plan.registrations} registrations, p99"
    notes = ("from sending the registration to the start of the callback",)
    return Row("subscribed", title, (series,), (check,), notes)


def _noticed(plan: Plan) -> Sample:
    first, *others = (
        replace(w.spec(n), group="followed") for n in range(plan.registrations + 1)
    )
    pause, sent = threading.Event(), {}
    with plan.fleet() as fleet:
        server = launch_registry(fleet, script=plan.registry).ready("/ready")
        fill_registry(server, [first])
        with consumer(plan, server, first.capability) as program:
            program.answer()
            began, before = time.perf_counter(), foreign_seconds(server, program)
            with Connection(server.port) as line:
                for service in others:
                    pause.wait(GAP)
                    raw = w.registry_register(service)
                    sent[service.id] = time.monotonic()
                    line.send(raw)
                    if line.receive().status != 201:
                        raise BenchmarkError(f"{service.id} was not taken")
            pause.wait(1)
            foreign = foreign_seconds(server, program) - before
            took = time.perf_counter() - began
            heard = program.ask(do="heard")
    missing = sent.keys() - heard.keys()
    if missing:
        raise BenchmarkError(f"of {len(missing)} registrations nobody was told")
    after = [1000 * (heard[name] - at) for name, at in sent.items()]
    p99 = percentile(after, 0.99)
    half = percentile(after, 0.5)
    return Sample(p99, p50=half, p99=p99, foreign=max(0.0, foreign) / took)


@needs_client
def takeover(plan: Plan) -> Row:
    """Calls while one of two providers is killed."""
    capability = w.lone(0).capability
    pause = threading.Event()
    with plan.fleet() as fleet:
        server = launch_registry(fleet, script=plan.registry).ready("/ready")
        providers = {n: _provider(fleet, server, n, free_port()) for n in range(2)}
        with consumer(plan, server, capability) as program:
            program.answer()
            began = time.perf_counter()
            program.ask(do="call", rate=RATE)
            for kill in range(plan.kills):
                victim = kill % 2
                _served_by_all(program, len(providers))
                port = providers[victim].port
                providers[victim].signal(signal.SIGKILL)
                pause.wait(AFTERMATH)
                providers[victim] = _provider(fleet, server, victim, port)
            _served_by_all(program, len(providers))
            found = program.ask(do="end")
            took = time.perf_counter() - began
    calls = sum(found["by"].values()) + found["failed"]
    if calls < 0.95 * RATE * took:
        raise BenchmarkError(f"{calls} calls in {took:.0f} s are not {RATE} a second")
    series = Series("failed calls", "calls", (Sample(float(found["failed"])),))
    check = Check("failed calls", series.values, 0, "less", "calls")
    slowest = 1000 * found["slowest"]
    notes = [f"{calls:,} calls, {plan.kills} kills; the slowest took {slowest:.0f} ms"]
    notes += [f"one that failed: {fault}" for fault in found["faults"][:1]]
    title = f"invoke {RATE} times a second while a provider of two is killed"
    return Row("takeover", title, (series,), (check,), tuple(notes))


def _provider(fleet: Fleet, server: Server, number: int, port: int) -> Server:
    """Return a provider that answers and is registered, as after a restart."""
    service = replace(
        w.lone(0),
        number=f"{number:09d}",
        location=f"http://127.0.0.1:{port}",
        mode="http",
    )
    command = [sys.executable, str(PROVIDER), str(port), service.id]
    started = fleet.launch(f"provider-{number}", command, port)
    started.ready("/_module/health")
    reply = call(server.port, w.registry_register(service))
    if reply.status not in (200, 201):
        raise BenchmarkError(f"a provider was not taken: {reply.body!r}")
    return started


def _served_by_all(program: Program, count: int) -> None:
    """Return when each provider has answered a call that was made from now on."""
    before: dict[str, int] = program.ask(do="tally")["by"]

    def all_serve() -> bool:
        now: dict[str, int] = program.ask(do="tally")["by"]
        return sum(now[name] > before.get(name, 0) for name in now) == count

    wait_until(all_serve, 60, "a call to each provider")
