"""Lookups of a capability: against the peers, and small against large."""

from functools import partial

from benchmarks.harness import workload as w
from benchmarks.harness.comparison import (
    Contender,
    Verify,
    all_providers,
    compete,
    consul_providers,
    contender,
    etcd_providers,
    one_provider,
)
from benchmarks.harness.fill import filled_consul, filled_etcd, filled_registry
from benchmarks.harness.http import Reply, call
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet, Server
from benchmarks.harness.results import BenchmarkError, Check, Row, at_least
from benchmarks.harness.systems import nginx
from benchmarks.harness.wrk import CONNECTIONS

# Services that have a capability to themselves, beside those that share one.
LONE = 500


def nginx_like(fleet: Fleet, reply: Reply) -> tuple[Server, Verify]:
    """Return an nginx that always gives this reply, and what verifies it."""
    own = {"content-length", "content-type", "date", "server", "connection"}
    lines = reply.head.decode().split("\r\n")[1:-2]
    headers = [line.split(": ", 1) for line in lines]
    added = [f"add_header {k} '{v}';" for k, v in headers if k.lower() not in own]
    body = reply.body.decode()
    if "'" in body or "$" in body:
        raise BenchmarkError("this reply can't be written into nginx's settings")
    kind = f"default_type {reply.header('content-type').partition(';')[0]};"
    settings = f"{kind} {' '.join(added)} return 200 '{body}';"

    def verify(got: Reply, _name: str) -> None:
        if got.body != reply.body:
            raise BenchmarkError("nginx does not give the registry's reply")

    return nginx(fleet, f"location / {{ {settings} }}"), verify


def contenders(plan: Plan, fleet: Fleet) -> list[Contender]:
    """Return the registry and the peers, all holding the same services."""
    names = list(w.drawn(w.capabilities(plan.services), plan.seed))
    lone = [w.lone(plan.services + n).capability for n in range(LONE)]
    lone = list(w.drawn(lone, plan.seed))
    services = list(w.fleet(plan.services, LONE))
    ours = filled_registry(plan, fleet, services)
    static, same = nginx_like(fleet, call(ours.port, w.registry_lookup(names[0])))
    etcd, consul = filled_etcd(fleet, services), filled_consul(fleet, services)
    consul_one, etcd_one = partial(consul_providers, count=1), partial(
        etcd_providers, count=1
    )
    return [
        contender(fleet, "registry", ours, names, w.registry_lookup, one_provider),
        contender(fleet, "consul", consul, names, w.consul_lookup, consul_providers),
        contender(fleet, "etcd", etcd, names, w.etcd_lookup, etcd_providers),
        contender(fleet, "nginx", static, names, w.registry_lookup, same),
        contender(fleet, "registry list", ours, names, w.registry_list, all_providers),
        contender(fleet, "registry lone", ours, lone, w.registry_lookup, one_provider),
        contender(fleet, "consul lone", consul, lone, w.consul_lookup, consul_one),
        contender(fleet, "etcd lone", etcd, lone, w.etcd_lookup, etcd_one),
    ]


def lookup(plan: Plan) -> Row:
    """Find a provider of a capability among many services."""
    with plan.fleet() as fleet:
        series = {s.system: s for s in compete(plan, fleet, contenders(plan, fleet))}
    mine = series["registry"]
    p99 = tuple(sample.p99 or 0.0 for sample in mine.samples)
    checks = (
        at_least(mine, series["consul"], 8),
        at_least(mine, series["etcd"], 8),
        at_least(mine, series["nginx"], 0.45),
        Check("p99", p99, 5, "less", "ms"),
    )
    notes = (
        f"the registry picks one provider; Consul and etcd list all {w.PER_CAPABILITY}",
        f"'list': the registry lists all {w.PER_CAPABILITY} as well; no target",
        f"'lone': {LONE} capabilities more, of one provider each; no target",
    )
    title = f"capability lookup, {plan.services:,} services, {CONNECTIONS} connections"
    return Row("lookup", title, tuple(series.values()), checks, notes)


def scale(plan: Plan) -> Row:
    """The same lookup in a small registry and in a large one."""
    few = 100
    with plan.fleet() as fleet:
        field = []
        for count in (few, plan.many):
            names = w.drawn(w.capabilities(count), plan.seed)
            server = filled_registry(plan, fleet, w.fleet(count))
            how = (w.registry_lookup, one_provider)
            field.append(contender(fleet, f"{count:,}", server, names, *how))
        series = compete(plan, fleet, field)
    check = at_least(series[1], series[0], 0.85)
    title = f"capability lookup, {few} and {plan.many:,} services"
    return Row("scale", title, tuple(series), (check,))
