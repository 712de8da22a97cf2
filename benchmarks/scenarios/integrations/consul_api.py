"""Consul's API, as programs written for Consul call it, beside Consul itself."""

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    compare,
    consul_providers,
    system_under_test,
)
from benchmarks.harness.fill import filled_consul
from benchmarks.harness.http import get, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    Series,
    at_least,
)
from benchmarks.harness.systems import start_registry
from benchmarks.scenarios.events.watchers import (
    allow_files,
    consul_watch,
    measure_changes,
    open_watchers,
    room,
)

SWITCHED_ON = ("--integrations", "consul")
BYSTANDERS = 200
"""Queries for services that nobody changes."""


def _filled(plan: Plan, fleet: Fleet, services: list[workload.Service]) -> Server:
    """Return a registry whose services were registered by Consul's API."""
    server = start_registry(plan, fleet, options=SWITCHED_ON)
    send_all(server.port, map(workload.consul_register, services))
    total = get(server.port, "/api/stats")["total_services"]
    if total != len(services):
        raise BenchmarkError(f"the registry holds {total} of {len(services)} services")
    return server


def consul_api(plan: Plan) -> Row:
    """The healthy instances of a service by Consul's API, beside Consul."""
    keys = list(workload.draw(workload.capabilities(plan.services), plan.seed))
    services = list(workload.services(plan.services))
    ask, verify = workload.consul_lookup, consul_providers
    with plan.fleet() as fleet:
        systems = [
            system_under_test(
                fleet,
                f"registry{version.mark}",
                _filled(version, fleet, services),
                *(keys, ask, verify),
            )
            for version in plan.versions()
        ]
        consul = filled_consul(fleet, services)
        systems.append(system_under_test(fleet, "consul", consul, keys, ask, verify))
        series = compare(plan, fleet, systems)
    title = f"Consul's API: healthy instances of a service, {plan.services:,} services"
    check = at_least(series[0], series[-1], 5)
    return Row("consul-api", title, tuple(series), (check,))


def consul_blocking(plan: Plan) -> Row:
    """From a change to each of many blocking queries by Consul's API."""
    count = plan.watchers
    allow_files(count + BYSTANDERS)
    queries = [consul_watch(workload.sole_provider(0).capability)] * count
    others = [
        consul_watch(workload.sole_provider(number + 1).capability)
        for number in range(BYSTANDERS)
    ]
    env, measured = room(count + BYSTANDERS), []
    for _ in range(plan.repeats):
        with plan.fleet() as fleet:
            server = start_registry(plan, fleet, env=env, options=SWITCHED_ON)
            with open_watchers(plan, server.port, queries + others, "query") as program:
                measured.append(
                    measure_changes(
                        *(plan, server, program, workload.consul_register, count)
                    )
                )
    series = Series("registry", "ms", tuple(delays.sample for delays in measured))
    check = Check("p99", series.values, 60, "less", "ms")
    slowest = max(max(delays.received) for delays in measured)
    notes = (
        f"the slowest took {slowest:.1f} ms",
        f"none of {BYSTANDERS} queries for other services was answered",
    )
    title = f"Consul's API: change to blocking query, {count:,} queries, p99"
    return Row("consul-blocking", title, (series,), (check,), notes)
