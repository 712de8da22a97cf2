"""Lookups of a capability: against other systems, and few against many."""

import random

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    Verify,
    compare,
    lookups,
    one_provider,
    system_under_test,
)
from benchmarks.harness.fill import filled_registry
from benchmarks.harness.http import Reply, call
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server
from benchmarks.harness.results import (
    BenchmarkError,
    Check,
    Row,
    at_least,
    at_least_baseline,
)
from benchmarks.harness.systems import nginx as start_nginx
from benchmarks.load.wrk import CONNECTIONS

FEW, MANY = 100, 30_000
"""Different capabilities: as a team calls, and more than heads are remembered."""


def nginx_with_reply(fleet: Fleet, reply: Reply) -> tuple[Server, Verify]:
    """Return an nginx that always gives this reply, and what verifies it."""
    set_by_nginx = {"content-length", "content-type", "date", "server", "connection"}
    headers = [line.split(": ", 1) for line in reply.head.decode().split("\r\n")[1:-2]]
    added = [
        f"add_header {name} '{value}';"
        for name, value in headers
        if name.lower() not in set_by_nginx
    ]
    body = reply.body.decode()
    if "'" in body or "$" in body:
        raise BenchmarkError("this reply can't be written into nginx's configuration")
    content_type = reply.header("content-type").partition(";")[0]
    settings = f"default_type {content_type}; {' '.join(added)} return 200 '{body}';"

    def verify(nginx_reply: Reply, _key: str) -> None:
        if nginx_reply.body != reply.body:
            raise BenchmarkError("nginx does not give the registry's reply")

    return start_nginx(fleet, f"location / {{ {settings} }}"), verify


def lookup(plan: Plan) -> Row:
    """Look up a provider of a capability among many services, beside nginx."""
    with plan.fleet() as fleet:
        systems = [
            lookups(version, fleet, "registry", plan.services)
            for version in plan.versions()
        ]
        registry = systems[0]
        reply = call(registry.server.port, registry.request_for(registry.keys[0]))
        nginx, same_reply = nginx_with_reply(fleet, reply)
        load = (nginx, registry.keys, registry.request_for, same_reply)
        systems.append(system_under_test(fleet, "nginx", *load))
        series = compare(plan, fleet, systems)
    p99 = tuple(sample.p99 or 0.0 for sample in series[0].samples)
    checks = (
        at_least(series[0], series[-1], 0.6),
        *at_least_baseline(series, "registry", 1.8),
        Check("p99", p99, 1.5, "less", "ms"),
    )
    title = f"capability lookup, {plan.services:,} services, {CONNECTIONS} connections"
    return Row("lookup", title, tuple(series), checks)


def paths(plan: Plan) -> Row:
    """Lookups of many different capabilities, beside those of a few, in one registry.

    Each capability has one provider.
    """
    services = [workload.sole_provider(number) for number in range(MANY)]
    names = [service.capability for service in services]
    keys = {
        "few": names[:FEW],
        "many": random.Random(plan.seed).sample(names, MANY),
    }
    with plan.fleet() as fleet:
        systems = []
        for version in plan.versions():
            server = filled_registry(version, fleet, services)
            systems += [
                system_under_test(
                    *(fleet, name + version.mark, server, asked),
                    *(workload.registry_lookup, one_provider),
                )
                for name, asked in keys.items()
            ]
        series = compare(plan, fleet, systems)
    title = f"capability lookup, {MANY:,} different ones and {FEW}"
    check = at_least(series[1], series[0], 0.75)
    return Row("paths", title, tuple(series), (check,))
