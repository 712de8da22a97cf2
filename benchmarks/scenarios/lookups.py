"""Lookups of a capability: against other systems, and small against large."""

from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    SystemUnderTest,
    Verify,
    all_providers,
    compare,
    consul_providers,
    etcd_providers,
    one_provider,
    system_under_test,
)
from benchmarks.harness.fill import filled_consul, filled_etcd, filled_registry
from benchmarks.harness.http import Reply, call
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server
from benchmarks.harness.results import BenchmarkError, Check, Row, at_least
from benchmarks.harness.systems import nginx
from benchmarks.harness.workload import PER_CAPABILITY
from benchmarks.harness.wrk import CONNECTIONS

# Capabilities with a single provider, beside those that services share.
SOLE_PROVIDERS = 500


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

    return nginx(fleet, f"location / {{ {settings} }}"), verify


def all_systems(plan: Plan, fleet: Fleet) -> list[SystemUnderTest]:
    """Return the registry and the other systems, all holding the same services."""
    keys = list(workload.draw(workload.capabilities(plan.services), plan.seed))
    numbers = range(plan.services, plan.services + SOLE_PROVIDERS)
    sole_keys = [workload.sole_provider(n).capability for n in numbers]
    sole_keys = list(workload.draw(sole_keys, plan.seed))
    services = list(workload.services(plan.services, SOLE_PROVIDERS))
    registry = filled_registry(plan, fleet, services)
    reply = call(registry.port, workload.registry_lookup(keys[0]))
    static, same_reply = nginx_with_reply(fleet, reply)
    etcd, consul = filled_etcd(fleet, services), filled_consul(fleet, services)
    lookup, list_all = workload.registry_lookup, workload.registry_list
    ask_consul, ask_etcd = workload.consul_lookup, workload.etcd_lookup
    one_of_consul = partial(consul_providers, count=1)
    one_of_etcd = partial(etcd_providers, count=1)
    add = partial(system_under_test, fleet)
    return [
        add("registry", registry, keys, lookup, one_provider),
        add("consul", consul, keys, ask_consul, consul_providers),
        add("etcd", etcd, keys, ask_etcd, etcd_providers),
        add("nginx", static, keys, lookup, same_reply),
        add("registry list", registry, keys, list_all, all_providers),
        add("registry lone", registry, sole_keys, lookup, one_provider),
        add("consul lone", consul, sole_keys, ask_consul, one_of_consul),
        add("etcd lone", etcd, sole_keys, ask_etcd, one_of_etcd),
    ]


def lookup(plan: Plan) -> Row:
    """Look up a provider of a capability among many services."""
    with plan.fleet() as fleet:
        compared = compare(plan, fleet, all_systems(plan, fleet))
    series = {s.system: s for s in compared}
    registry = series["registry"]
    p99 = tuple(sample.p99 or 0.0 for sample in registry.samples)
    checks = (
        at_least(registry, series["consul"], 8),
        at_least(registry, series["etcd"], 8),
        at_least(registry, series["nginx"], 0.45),
        Check("p99", p99, 5, "less", "ms"),
    )
    notes = (
        f"the registry returns one provider; Consul and etcd list all {PER_CAPABILITY}",
        f"'list': the registry lists all {PER_CAPABILITY} as well; no target",
        f"'lone': {SOLE_PROVIDERS} capabilities with a single provider; no target",
    )
    title = f"capability lookup, {plan.services:,} services, {CONNECTIONS} connections"
    return Row("lookup", title, tuple(series.values()), checks, notes)


def scale(plan: Plan) -> Row:
    """The same lookup in a small registry and in a large one."""
    few, many = 100, plan.many_services
    with plan.fleet() as fleet:
        systems = []
        for count in (few, many):
            keys = workload.draw(workload.capabilities(count), plan.seed)
            server = filled_registry(plan, fleet, workload.services(count))
            load = (server, keys, workload.registry_lookup, one_provider)
            systems.append(system_under_test(fleet, f"{count:,}", *load))
        small, large = compare(plan, fleet, systems)
    check = at_least(large, small, 0.85)
    title = f"capability lookup, {few} and {many:,} services"
    return Row("scale", title, (small, large), (check,))
