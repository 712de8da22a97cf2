"""What the registry holds and keeps up with: memory, the start, the health checks."""

import http.client
import threading
import time
from collections.abc import Iterator
from datetime import datetime

from benchmarks.harness import workload as w
from benchmarks.harness.fill import fill_registry, filled_registry, sqlite_url, total
from benchmarks.harness.http import get, pour
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Server, wait_until
from benchmarks.harness.results import BenchmarkError, Check, Row, Sample, Series
from benchmarks.harness.systems import launch_registry, nginx
from benchmarks.harness.wrk import foreign_seconds

# One check of each service a second is far more than one core does: the monitor is
# never without work, and what is counted is its own speed.
INTERVAL = 1
# More than the monitor has under way at once, and nginx's count calls.
IN_FLIGHT = 2_000
# At the targeted rate a round takes 4 s; by then everyone must have had a turn.
MAX_AGE = 10.0


def memory(plan: Plan) -> Row:
    """The memory of the worker for each service that it holds."""
    base, repeats = 1_000, min(plan.repeats, 2)
    grown = []
    for _ in range(repeats):
        with plan.fleet() as fleet:
            # What the first services cost once (imports, pools, threads) is no
            # service's own.
            server = filled_registry(plan, fleet, w.fleet(base))
            before = server.worker_rss()
            fill_registry(server, map(w.spec, range(base, base + plan.many)))
            grown.append((server.worker_rss() - before) / plan.many)
    series = Series("registry", "bytes/service", tuple(map(Sample, grown)))
    check = Check("bytes a service", series.values, 2_500, "less", "bytes")
    size = len(w.registry_body(w.spec(plan.many)))
    notes = (
        f"growth of the worker's resident memory, registrations of {size} bytes",
        "mode 'standalone': nothing is sent to the made-up addresses",
    )
    title = f"memory, {plan.many:,} services"
    return Row("memory", title, (series,), (check,), notes)


def start(plan: Plan) -> Row:
    """The time from starting the process until it may take traffic."""
    samples = []
    with plan.fleet() as fleet:
        url = sqlite_url(fleet)
        filled = filled_registry(plan, fleet, w.fleet(plan.many), url)
        with fleet.lent(filled, gently=True):
            pass
        for _ in range(plan.repeats):
            began = time.perf_counter()
            started = launch_registry(fleet, url, script=plan.registry)
            with fleet.lent(started, gently=True) as server:
                server.ready("/ready")
                samples.append(Sample(time.perf_counter() - began))
                if total(server) != plan.many:
                    raise BenchmarkError(f"ready with {total(server)} of {plan.many:,}")
    series = Series("registry", "s", tuple(samples))
    check = Check("until /ready", series.values, 3, "less", "s")
    title = f"start with {plan.many:,} services in SQLite"
    notes = ("the database is in the page cache, as after a restart",)
    return Row("start", title, (series,), (check,), notes)


def checks(plan: Plan) -> Row:
    """Health checks a second by the registry's own monitor."""
    kept = checked(plan, "kept alive", keep_alive=True)
    fresh = checked(plan, "fresh", keep_alive=False)
    check = Check("checks a second", kept.values, 3_000, "more", "/s")
    notes = (
        f"every service is due every {INTERVAL} s; all were healthy at the end",
        "counted by the nginx that is checked, which 'other core' stands for",
        "'fresh': nginx closes each connection; no target",
    )
    title = f"health checks of {plan.checked:,} services on one core"
    return Row("checks", title, (kept, fresh), (check,), notes)


def checked(plan: Plan, name: str, keep_alive: bool) -> Series:
    """Return checks a second against an nginx on the other core."""
    alive = "" if keep_alive else "keepalive_timeout 0;"
    locations = "location = /count { stub_status; keepalive_timeout 60s; }"
    locations += f"location / {{ {alive} default_type application/json;"
    locations += ' return 200 \'{"status":"healthy"}\'; }'
    env = {"HEALTH_CHECK_INTERVAL": str(INTERVAL), "HEALTH_CHECK_TIMEOUT": "5"}
    addresses = 32  # or closed connections would use up the ports of one pair
    with plan.fleet() as fleet:
        target = nginx(fleet, locations, addresses, core=plan.load_core)
        server = launch_registry(fleet, env=env, script=plan.registry).ready("/ready")
        pour(server.port, _checked_services(plan, target.port, addresses))
        first = served(target)
        # Past the first round everyone has been checked at least once.
        wait_until(
            lambda: served(target) - first > plan.checked, 120, "a round of checks"
        )
        samples = tuple(_window(server, target, plan) for _ in range(plan.repeats))
        _nothing_lost(server, target, plan.checked)
    return Series(name, "checks/s", samples)


def _checked_services(plan: Plan, port: int, addresses: int) -> Iterator[bytes]:
    for n in range(plan.checked):
        location = f"http://127.0.0.{n % addresses + 1}:{port}/{n}"
        service = w.Spec(f"{n:09d}", f"{n // w.PER_CAPABILITY:09d}", location, "http")
        yield w.registry_register(service)


def served(target: Server) -> int:
    """Return how many requests nginx has served so far."""
    line = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    try:
        line.request("GET", "/count")
        page = line.getresponse().read().decode()
    finally:
        line.close()
    return int(page.split("requests")[1].split()[2])


def _window(server: Server, target: Server, plan: Plan) -> Sample:
    before, cpu, began = served(target), server.cpu_seconds(), time.perf_counter()
    client, others = target.cpu_seconds(), foreign_seconds(server, target)
    threading.Event().wait(plan.seconds)
    count, took = served(target) - before, time.perf_counter() - began
    return Sample(
        value=count / took,
        server_busy=(server.cpu_seconds() - cpu) / took,
        client_busy=(target.cpu_seconds() - client) / took,
        foreign=max(0.0, foreign_seconds(server, target) - others) / took,
    )


def _nothing_lost(server: Server, target: Server, expected: int) -> None:
    """Refuse a run in which a check failed, vanished, or left somebody out."""
    healthy = get(server.port, "/api/stats")["active_services"]
    if healthy != expected:
        raise BenchmarkError(f"{healthy} of {expected} services are healthy")
    before = served(target)
    checks = get(server.port, "/api/stats")["checks"]
    after = served(target)
    if checks["failed"]:
        raise BenchmarkError(f"{checks['failed']} checks failed")
    # Those under way are with nginx already; its own count calls are in there too.
    if not before - IN_FLIGHT <= checks["succeeded"] <= after:
        raise BenchmarkError(
            f"the registry counts {checks['succeeded']} checks, nginx {after} requests"
        )
    listed = get(server.port, "/api/services")["services"]
    seen = [datetime.fromisoformat(service["last_seen"]) for service in listed]
    age = (max(seen) - min(seen)).total_seconds()
    if age > MAX_AGE:
        raise BenchmarkError(f"a service was last checked {age:.0f} s before another")
