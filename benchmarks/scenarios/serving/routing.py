"""Lookups where zones, priorities, splits and namespaces decide, beside plain ones."""

import json
from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    SystemUnderTest,
    compare,
    lookups,
    one_provider,
    system_under_test,
)
from benchmarks.harness.http import Reply, request, send_all
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet
from benchmarks.harness.results import BenchmarkError, Row, at_least
from benchmarks.harness.systems import start_registry
from benchmarks.harness.workload import Service

ZONES = ("eu-1a", "eu-1b", "eu-1c")
SPLIT = '{"v1":90,"v2":10}'

NAMESPACES = tuple(f"team-{letter}" for letter in "abcdefgh")

PRIMARY = 6
"""Of the ten providers of a capability, so many are primary, in all zones and groups;
the others are backups."""


def routing(plan: Plan) -> Row:
    """The lookup with zones and splits, alone and together, beside a plain one."""
    with plan.fleet() as fleet:
        plain = lookups(plan, fleet, "plain", plan.services)
        zones = _routed(plan, fleet, "zones", zoned=True)
        splits = _routed(plan, fleet, "splits", split=True)
        both = _routed(plan, fleet, "all", zoned=True, split=True)
        series = compare(plan, fleet, (plain, zones, splits, both))
    notes = (
        f"'zones' and 'all': the caller says that it is in one of {len(ZONES)} zones",
        f"'splits' and 'all': each capability is split: {SPLIT}",
        f"'all': {PRIMARY} of {workload.PER_CAPABILITY} providers are primary",
    )
    title = f"capability lookup by zone and split, {plan.services:,} services"
    checks = (at_least(series[3], series[0], 0.85),)
    return Row("routing", title, tuple(series), checks, notes)


def namespaces(plan: Plan) -> Row:
    """The lookup in a registry with namespaces, outside of them and within one."""
    with plan.fleet() as fleet:
        plain = lookups(plan, fleet, "plain", plan.services)
        env = {"REGISTRY_NAMESPACES": ",".join(NAMESPACES)}
        outside = lookups(plan, fleet, "default", plan.services, env=env)
        server = outside.server
        services = workload.services(plan.services)
        send_all(server.port, map(_register_within, services))
        within = system_under_test(
            fleet, "within one", server, plain.keys, _look_up_within, one_provider
        )
        series = compare(plan, fleet, (plain, outside, within))
    notes = (
        f"'default' and 'within one': the registry has {len(NAMESPACES)} namespaces"
        " beside the default one",
    )
    title = f"capability lookup with namespaces, {plan.services:,} services in each"
    checks = tuple(at_least(each, series[0], 0.95) for each in series[1:])
    return Row("namespaces", title, tuple(series), checks, notes)


def _look_up_within(capability: str) -> bytes:
    return request("GET", f"/api/ns/{NAMESPACES[0]}/capabilities/{capability}")


def _register_within(service: Service) -> bytes:
    body = workload.registry_body(service)
    return request("POST", f"/api/ns/{NAMESPACES[0]}/register", body)


def _routed(
    plan: Plan, fleet: Fleet, name: str, zoned: bool = False, split: bool = False
) -> SystemUnderTest:
    """Return a registry where these decide on who gets a call."""
    server = start_registry(plan, fleet)
    register = partial(_register, zoned=zoned, prioritized=zoned and split)
    send_all(server.port, map(register, workload.services(plan.services)))
    capabilities = workload.capabilities(plan.services)
    if split:
        send_all(server.port, map(_split, capabilities))
    headers = f"X-Zone: {ZONES[0]}\r\n" if zoned else ""
    look_up = partial(workload.registry_lookup, headers=headers)

    def verify(reply: Reply, capability: str) -> None:
        one_provider(reply, capability)
        zone = reply.json().get("zone")
        if zone != (ZONES[0] if zoned else None):
            raise BenchmarkError(f"a provider of the zone {zone}")

    keys = workload.draw(capabilities, plan.seed)
    return system_under_test(fleet, name, server, keys, look_up, verify)


def _register(service: Service, zoned: bool, prioritized: bool) -> bytes:
    number = int(service.number)
    body = json.loads(workload.registry_body(service))
    body["version"] = f"{number % 2 + 1}.4.2"
    if zoned:
        body |= {"zone": ZONES[number // 2 % len(ZONES)], "region": "eu-1"}
    if prioritized:
        body["priority"] = int(number % workload.PER_CAPABILITY >= PRIMARY)
    return request("POST", "/api/register", json.dumps(body))


def _split(capability: str) -> bytes:
    return request("PUT", f"/api/capabilities/{capability}/split", SPLIT)
