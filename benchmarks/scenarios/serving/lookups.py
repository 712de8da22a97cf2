"""Lookups of a capability: against other systems, and small against large."""

from benchmarks.harness.comparison import (
    Verify,
    compare,
    lookups,
    system_under_test,
)
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
