"""What one registry can hold and do: memory, and health checks."""

import http.client
import threading
import time
from datetime import datetime
from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    Measure,
    SystemUnderTest,
    measure_system,
    one_provider,
    system_under_test,
    take_turns,
)
from benchmarks.harness.http import get, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import CpuMeter, Fleet, Server, wait_until
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Sample,
    Series,
    at_least,
)
from benchmarks.harness.systems import HEALTHY, nginx, start_registry

# Checking each service every second is far more than one core can do. The monitor is
# never idle, so its own speed is what is counted.
INTERVAL = 1
# More than the checks that the monitor has under way at once, and the requests for
# nginx's own count.
IN_FLIGHT = 2_000
# At the target rate a round takes 4 s; within this age every service had its turn.
MAX_AGE = 10.0
# More addresses give more pairs of ports for the connections that nginx closes.
ADDRESSES = 32
CHECK_RATE = 3_000
"""Checks a second that one core makes beside lookups."""
HOUR = 3_600
COUNT = "location = /count { stub_status; keepalive_timeout 60s; }"


def memory(plan: Plan) -> Row:
    """The worker's memory for each service that it holds and checks."""
    measures = {f"registry{v.mark}": partial(_growth, v) for v in plan.versions()}
    series = take_turns(min(plan.repeats, 2), measures, "bytes/service")
    check = Check("bytes a service", series[0].values, 2_200, "less", "bytes")
    notes = (
        "growth of the worker's resident memory; two capabilities, two entries of"
        " metadata, as many checks as services by then",
    )
    title = f"memory, {plan.many_services:,} checked services"
    return Row("memory", title, tuple(series), (check,), notes)


def _growth(version: Plan) -> Sample:
    base, many = 1_000, version.many_services
    with version.fleet() as fleet:
        locations = f"location / {{ {HEALTHY} }}"
        target = nginx(fleet, locations, ADDRESSES, core=version.load_core)
        server = start_registry(version, fleet)

        def register(count: int, first: int = 0) -> None:
            checked = (count, target.port, ADDRESSES, first)
            send_all(server.port, workload.checked_services(*checked))

            def all_checked() -> bool:
                checks = get(server.port, "/api/stats")["checks"]
                return bool(checks["succeeded"] >= first + count)

            wait_until(all_checked, 180, "a round of checks")

        # The first services pay for imports, pools and threads: not counted.
        register(base)
        before = server.worker_rss()
        register(many, base)
        return Sample((server.worker_rss() - before) / many)


def checks(plan: Plan) -> Row:
    """Health checks a second by the registry's own monitor."""
    kept_alive = _check_rate(plan, "kept alive", keep_alive=True)
    fresh = _check_rate(plan, "fresh", keep_alive=False)
    check = Check("checks a second", kept_alive.values, CHECK_RATE, "more", "/s")
    notes = (
        f"every service is due every {INTERVAL} s; all were healthy at the end",
        "counted by the nginx that is checked; it runs on 'other core'",
        "'fresh': nginx closes each connection; no target",
    )
    title = f"health checks of {plan.checked_services:,} services on one core"
    return Row("checks", title, (kept_alive, fresh), (check,), notes)


def checked(plan: Plan) -> Row:
    """Lookups beside health checks on the same core, and without."""
    rates: list[float] = []
    with plan.fleet() as fleet:
        locations = f"{COUNT} location / {{ {HEALTHY} }}"
        target = nginx(fleet, locations, ADDRESSES, core=plan.load_core)
        without = _lookups_of_checked(plan, fleet, target, "no checks", HOUR)
        interval = plan.checked_services / CHECK_RATE
        beside = _lookups_of_checked(plan, fleet, target, "checks", interval)

        def beside_checks() -> Sample:
            before, began = _served_requests(target), time.perf_counter()
            sample = measure_system(plan, fleet, beside, (target,), pausing=False)
            count = _served_requests(target) - before
            rates.append(count / (time.perf_counter() - began))
            return sample

        measures: dict[str, Measure] = {
            without.name: partial(measure_system, plan, fleet, without),
            beside.name: beside_checks,
        }
        series = take_turns(plan.repeats, measures)
    p99 = tuple(sample.p99 or 0.0 for sample in series[1].samples)
    checks = (
        Check("checks a second", tuple(rates), CHECK_RATE, "more", "/s"),
        at_least(series[1], series[0], 0.5),
        Check("p99 beside checks", p99, 10, "less", "ms"),
    )
    notes = (
        f"{plan.checked_services:,} services, each due every {interval:g} s; the nginx"
        " that is checked counts, and shares the other core with the load",
    )
    title = "capability lookup beside health checks on one core"
    return Row("checked", title, tuple(series), checks, notes)


def _lookups_of_checked(
    plan: Plan, fleet: Fleet, target: Server, name: str, interval: float
) -> SystemUnderTest:
    """Return a registry whose services, at ``target``, have all been checked once."""
    env = {"HEALTH_CHECK_INTERVAL": f"{interval:g}", "HEALTH_CHECK_TIMEOUT": "5"}
    server = start_registry(plan, fleet, env=env)
    count = plan.checked_services
    before = _served_requests(target)
    send_all(server.port, workload.checked_services(count, target.port, ADDRESSES))
    wait_until(
        lambda: _served_requests(target) - before > count, 120, "a round of checks"
    )
    keys = list(workload.draw(workload.capabilities(count), plan.seed))
    lookup = workload.registry_lookup
    return system_under_test(fleet, name, server, keys, lookup, one_provider)


def _check_rate(plan: Plan, name: str, keep_alive: bool) -> Series:
    """Return checks a second against an nginx on the other core."""
    keep = "" if keep_alive else "keepalive_timeout 0;"
    locations = f"{COUNT} location / {{ {keep} {HEALTHY} }}"
    env = {"HEALTH_CHECK_INTERVAL": str(INTERVAL), "HEALTH_CHECK_TIMEOUT": "5"}
    count = plan.checked_services
    with plan.fleet() as fleet:
        target = nginx(fleet, locations, ADDRESSES, core=plan.load_core)
        server = start_registry(plan, fleet, env=env)
        services = workload.checked_services(count, target.port, ADDRESSES)
        send_all(server.port, services)
        first = _served_requests(target)
        wait_until(
            lambda: _served_requests(target) - first > count,
            120,
            "first round of checks",
        )
        samples = tuple(_sample(server, target, plan) for _ in range(plan.repeats))
        _verify_checks(server, target, count)
    return Series(name, "checks/s", samples)


def _served_requests(target: Server) -> int:
    """Return how many requests nginx has served so far."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    try:
        connection.request("GET", "/count")
        page = connection.getresponse().read().decode()
    finally:
        connection.close()
    return int(page.split("requests")[1].split()[2])


def _sample(server: Server, target: Server, plan: Plan) -> Sample:
    before, began = _served_requests(target), time.perf_counter()
    meter = CpuMeter(server, target)
    threading.Event().wait(plan.seconds)
    count = _served_requests(target) - before
    seconds = time.perf_counter() - began
    server_used, target_used = meter.used()
    return Sample(
        value=count / seconds,
        server_busy=server_used / seconds,
        client_busy=target_used / seconds,
        foreign=meter.foreign_share(),
    )


def _verify_checks(server: Server, target: Server, expected: int) -> None:
    """Raise if a check failed or got lost, or if a service was not checked."""
    healthy = get(server.port, "/api/stats")["active_services"]
    if healthy != expected:
        raise BenchmarkError(f"{healthy} of {expected} services are healthy")
    before = _served_requests(target)
    checks = get(server.port, "/api/stats")["checks"]
    after = _served_requests(target)
    if checks["failed"]:
        raise BenchmarkError(f"{checks['failed']} checks failed")
    # nginx has counted the checks under way, and the requests for its count.
    if not before - IN_FLIGHT <= checks["succeeded"] <= after:
        raise BenchmarkError(
            f"the registry counts {checks['succeeded']} checks, nginx {after} requests"
        )
    services = get(server.port, "/api/services")["services"]
    seen = [datetime.fromisoformat(service["last_seen"]) for service in services]
    age = (max(seen) - min(seen)).total_seconds()
    if age > MAX_AGE:
        raise BenchmarkError(f"a service was last checked {age:.0f} s before another")
