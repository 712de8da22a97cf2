"""Compares the simulator with ten real replicas on this machine, figure by figure."""

import json
import re
import socket
import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.harness import workload
from benchmarks.harness.backends import first_available
from benchmarks.harness.fill import total_services
from benchmarks.harness.http import call, get, request, send_all
from benchmarks.harness.paths import PROGRAMS
from benchmarks.harness.processes import Server, free_port, wait_until
from benchmarks.harness.programs import Program
from benchmarks.harness.results import BenchmarkError, percentile
from benchmarks.report.markdown import table
from benchmarks.scenarios.stores.replicas import start_replicas
from benchmarks.simulator import population
from benchmarks.simulator.calibrate import local_plan
from benchmarks.simulator.simulation import Setup, Simulation
from modularity_registry.model import rendezvous

SERVICES, REPLICAS, INTERVAL = 20_000, 10, 60.0
ADDRESSES = 200
WINDOW = 60.0
CHURN = 50
KILLED = 3
SAMPLE = 100

Figures = dict[str, float]


def compare(setup: Setup) -> str:
    """Return a table: simulated, real, and their ratio."""
    small = replace(
        setup, services=SERVICES, replicas=REPLICAS, interval=INTERVAL, leases=False,
        detailed=SERVICES, watchers=1,
    )  # fmt: skip
    real = measure(setup.seed)
    simulated = simulate(small)
    rows = [
        (
            name,
            f"{simulated[name]:.2f}",
            f"{value:.2f}",
            f"{simulated[name] / value:.2f}",
        )
        for name, value in real.items()
    ]
    return table(("figure", "simulated", "real", "ratio"), rows)


def simulate(setup: Setup) -> Figures:
    """Return the figures as the simulator has them."""
    simulation = Simulation(setup)
    begin, end = INTERVAL * 2, INTERVAL * 2 + WINDOW
    simulation.time.run(begin)
    simulation.background = float(CHURN)
    before = [(one.checks, one.core.used) for one in simulation.replicas]
    for number in range(KILLED, KILLED + CHURN * int(WINDOW)):
        at = begin + (number - KILLED) // CHURN
        simulation.restart(population.service_id(number), at, 0.0)
    simulation.time.run(end)
    simulation.background = 0.0
    after = [(one.checks, one.core.used) for one in simulation.replicas]
    writes = sum(simulation.store.writes.get(n, 0) for n in range(int(begin), int(end)))
    for number in range(SERVICES):
        if number % ADDRESSES < KILLED:
            simulation.die(population.service_id(number), end)
    simulation.time.run(end + 3 * INTERVAL)
    victim = simulation.replicas[-1]
    simulation.lose([victim.name], end + 3 * INTERVAL)
    simulation.time.run(end + 5 * INTERVAL)
    adopted = [each for one in simulation.replicas for each in one.taken_over]
    return _figures(
        [(b[0] - a[0]) / WINDOW for a, b in zip(before, after, strict=True)],
        [(b[1] - a[1]) / WINDOW for a, b in zip(before, after, strict=True)],
        writes / WINDOW,
        simulation.notices,
        adopted,
    )


def _figures(
    checks: list[float],
    cores: list[float],
    writes: float,
    notices: list[float],
    adopted: list[float],
) -> Figures:
    return {
        "checks a second, mean of the replicas": statistics.mean(checks),
        "checks a second, the busiest replica": max(checks),
        "core of a replica, mean (%)": 100 * statistics.mean(cores),
        "store writes a second": writes,
        "death noticed, p50 (s)": percentile(notices, 0.5),
        "death noticed, p99 (s)": percentile(notices, 0.99),
        "death noticed, worst (s)": max(notices),
        "taken over from a killed replica, p50 (s)": percentile(adopted, 0.5),
        "taken over from a killed replica, worst (s)": max(adopted),
    }


def measure(seed: int) -> Figures:
    """Return the figures of real replicas; takes about eight minutes."""
    plan, port = local_plan(seed), free_port()
    with plan.fleet() as fleet, ExitStack() as stack:
        providers = stack.enter_context(
            Program(plan.load_core, PROGRAMS / "providers.py", [str(port)])
        )
        providers.reply()
        providers.ask(do="open", first=1, last=ADDRESSES)
        kinds = ("redis", "etcd", "sqlite")
        store = first_available(plan, fleet, kinds, stack)
        env = {"HEALTH_CHECK_INTERVAL": f"{INTERVAL:g}"}
        url = store.empty_store()
        servers = start_replicas(plan, fleet, url, REPLICAS, env)
        send_all(servers[0].port, _services(port, range(SERVICES)))
        wait_until(
            lambda: all(total_services(one) == SERVICES for one in servers),
            120,
            "all replicas holding all services",
        )
        # Two rounds, so that those that registered together have drifted apart.
        time.sleep(2 * INTERVAL)
        before = [_counts(one) for one in servers]
        began = time.monotonic()
        _churn(servers[0], port)
        seconds = time.monotonic() - began
        after = [_counts(one) for one in servers]
        rates = [
            [(b - a) / seconds for a, b in zip(one, two, strict=True)]
            for one, two in zip(before, after, strict=True)
        ]
        notices = _kill_providers(providers, servers[0])
        adopted = _kill_replica(servers)
    return _figures(
        [rate[0] for rate in rates],
        [rate[1] for rate in rates],
        sum(rate[2] for rate in rates),
        notices,
        adopted,
    )


def _services(port: int, numbers: range) -> list[bytes]:
    requests = []
    for number in numbers:
        location = f"http://127.0.0.{number % ADDRESSES + 1}:{port}/{number}"
        service = replace(workload.service(number, mode="http"), location=location)
        requests.append(workload.registry_register(service))
    return requests


def _churn(server: Server, port: int) -> None:
    """Register `CHURN` services again each second: each is a write, and a check."""
    for second in range(int(WINDOW)):
        began = time.monotonic()
        first = KILLED + second * CHURN
        send_all(server.port, _services(port, range(first, first + CHURN)), 4)
        time.sleep(max(0.0, began + 1 - time.monotonic()))


def _counts(server: Server) -> tuple[float, float, float]:
    """Return how many checks, seconds of a core and writes it has had."""
    text = call(server.port, request("GET", "/metrics")).body.decode()

    def total(pattern: str) -> float:
        return sum(map(float, re.findall(rf"^{pattern} (\S+)$", text, re.MULTILINE)))

    return (
        total(r"registry_health_check_duration_seconds_count\{.*\}"),
        total("process_cpu_seconds_total"),
        total(r'registry_store_operation_duration_seconds_count\{operation="put"\}'),
    )


def _kill_providers(providers: Program, server: Server) -> list[float]:
    """Return how long each took to be noticed, by a stream of one replica."""
    expected = SERVICES // ADDRESSES * KILLED
    noticed: dict[str, float] = {}
    with socket.create_connection(("127.0.0.1", server.port), 60) as stream:
        stream.sendall(request("GET", "/api/events?type=service.status_changed"))

        def read() -> None:
            for line in stream.makefile("rb"):
                if line.startswith(b"data: {") and b'"unhealthy"' in line:
                    match = re.search(rb'"inst-\d+"', line)
                    if match:
                        noticed.setdefault(json.loads(match[0]), time.monotonic())

        threading.Thread(target=read, daemon=True).start()
        began = time.monotonic()
        providers.ask(do="close", first=1, last=KILLED)
        wait_until(lambda: len(noticed) >= expected, 4 * INTERVAL, "all deaths noticed")
        stream.shutdown(socket.SHUT_RDWR)
    return [at - began for at in noticed.values()]


def _kill_replica(servers: list[Server]) -> list[float]:
    """Return how long it took until others had checked each of some services of one."""
    by_id = {str(get(one.port, "/health")["replica"]): one for one in servers}
    names = sorted(by_id)
    victim = names[-1]
    left = [rendezvous.Named(name) for name in names[:-1]]
    alive = [population.named(name) for name in names]
    candidates = (population.service_id(n) for n in range(KILLED, SERVICES))
    owned = [key for key in candidates if rendezvous.pick(key, alive).id == victim]
    waiting = {key: rendezvous.pick(key, left).id for key in owned[:SAMPLE]}
    by_id[victim].stop()
    began, adopted = time.monotonic(), []
    while waiting and time.monotonic() - began < 3 * INTERVAL:
        for key, owner in list(waiting.items()):
            service = get(by_id[owner].port, f"/api/services/{key}")
            # The owner is named before its first check; only then is there a time.
            if service["evidence"]["checked_at"] is not None:
                adopted.append(time.monotonic() - began)
                del waiting[key]
        time.sleep(0.5)
    if waiting:
        raise BenchmarkError(f"{len(waiting)} services were not taken over")
    return adopted
