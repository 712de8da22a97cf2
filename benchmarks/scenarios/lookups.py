"""Lookups of a capability: against other systems, and small against large."""

from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    Verify,
    all_providers,
    compare,
    consul_providers,
    etcd_providers,
    lookups,
    one_provider,
    system_under_test,
)
from benchmarks.harness.fill import filled_consul, filled_etcd, filled_registry
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
from benchmarks.harness.workload import PER_CAPABILITY
from benchmarks.harness.wrk import CONNECTIONS


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


def peers(plan: Plan) -> Row:
    """The same lookup beside Consul and etcd."""
    keys = list(workload.draw(workload.capabilities(plan.services), plan.seed))
    services = list(workload.services(plan.services))
    with plan.fleet() as fleet:
        registry = filled_registry(plan, fleet, services)
        etcd, consul = filled_etcd(fleet, services), filled_consul(fleet, services)
        add = partial(system_under_test, fleet)
        lookup, list_all = workload.registry_lookup, workload.registry_list
        systems = (
            add("registry", registry, keys, lookup, one_provider),
            add("consul", consul, keys, workload.consul_lookup, consul_providers),
            add("etcd", etcd, keys, workload.etcd_lookup, etcd_providers),
            add("registry list", registry, keys, list_all, all_providers),
        )
        series = compare(plan, fleet, systems)
    checks = (at_least(series[0], series[1], 8), at_least(series[0], series[2], 8))
    notes = (
        f"the registry returns one provider; Consul and etcd list all {PER_CAPABILITY}",
        f"'list': the registry lists all {PER_CAPABILITY} as well; no target",
    )
    title = f"capability lookup beside Consul and etcd, {plan.services:,} services"
    return Row("peers", title, tuple(series), checks, notes)


def scale(plan: Plan) -> Row:
    """The same lookup in a small registry and in a large one."""
    few, many = 100, plan.many_services
    with plan.fleet() as fleet:
        systems = [
            lookups(version, fleet, f"{count:,}", count)
            for count in (few, many)
            for version in plan.versions()
        ]
        series = compare(plan, fleet, systems)
    check = at_least(series[len(plan.versions())], series[0], 0.9)
    title = f"capability lookup, {few} and {many:,} services"
    return Row("scale", title, tuple(series), (check,))
