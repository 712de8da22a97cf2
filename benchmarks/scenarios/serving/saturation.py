"""Latency as the load grows, in an open loop: calls come whether answers do or not."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from benchmarks.harness import workload
from benchmarks.harness.comparison import (
    SystemUnderTest,
    consul_providers,
    etcd_providers,
    lookups,
    system_under_test,
    take_turns,
)
from benchmarks.harness.fill import filled_consul, filled_etcd
from benchmarks.harness.http import call
from benchmarks.harness.plan import Plan
from benchmarks.harness.processes import Fleet
from benchmarks.harness.programs import Program
from benchmarks.harness.results import BenchmarkError, Row, Sample, Series
from benchmarks.load.constant_rate import (
    CONNECTIONS,
    generator,
    kept_up,
    measure_rate,
    requests_of,
)
from benchmarks.report.rows import number
from benchmarks.scenarios.serving.lookups import nginx_with_reply

CEILING = "generator"
STEPS = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Shares of the generator's fastest rate; the first that it keeps is its ceiling."""

QUEUED = 5
"""At its ceiling, p99 is below so many times the lag that is allowed."""


def saturation(plan: Plan) -> Row:
    """Lookups at a constant rate, up to more than each system answers."""
    series: list[Series] = []
    notes: list[str] = []
    with plan.fleet() as fleet, ExitStack() as stack:
        systems = _systems(plan, fleet)
        programs: dict[str, Program] = {}
        for name, system in systems.items():
            system.verify_replies()
            texts = requests_of(system)
            loads = generator(plan, fleet.folder, system.server.port, texts)
            programs[name] = stack.enter_context(loads)
        offer = partial(_offer, plan, fleet, systems, programs)
        ceiling = _ceiling(plan, offer)
        series.append(Series(CEILING, "calls/s", (ceiling,)))
        # Each system's most, as a closed loop finds it.
        most = take_turns(
            plan.repeats, {name: partial(offer, name, 0.0) for name in systems}
        )
        series += most
        capacity = {one.system: one.median for one in most}
        for share in plan.load_shares:
            rates = {name: share * capacity[name] for name in systems}
            within = [name for name in systems if rates[name] <= ceiling.value]
            notes += [
                f"left out: {name} at {rates[name]:,.0f} calls/s, which is more than"
                f" the generator's own ceiling of {ceiling.value:,.0f}"
                for name in systems
                if name not in within
            ]
            turns = {name: partial(offer, name, rates[name]) for name in within}
            for one in take_turns(plan.repeats, turns):
                late = one.median_of("lag") or 0.0
                if late <= plan.max_lag:
                    series.append(replace(one, at=rates[one.system]))
                else:
                    notes.append(
                        f"left out: {one.system} at {rates[one.system]:,.0f} calls/s,"
                        f" where the generator itself was {number(late)} ms late"
                    )
        for system in systems.values():
            system.verify_replies()
    title = (
        f"capability lookup at a constant rate, {plan.services:,} services,"
        f" {CONNECTIONS} connections"
    )
    notes.append("latency counts from when a call was due, not from when it was sent")
    axis = "calls offered a second"
    return Row("saturation", title, tuple(series), notes=tuple(notes), axis=axis)


def _systems(plan: Plan, fleet: Fleet) -> dict[str, SystemUnderTest]:
    """Return the systems by name; nginx gives one of the registry's replies."""
    registry = lookups(plan, fleet, "registry", plan.services)
    services = list(workload.services(plan.services))
    keys = registry.keys
    reply = call(registry.server.port, registry.request_for(keys[0]))
    nginx, same_reply = nginx_with_reply(fleet, reply)
    consul, etcd = filled_consul(fleet, services), filled_etcd(fleet, services)
    peers = (
        ("consul", consul, workload.consul_lookup, consul_providers),
        ("etcd", etcd, workload.etcd_lookup, etcd_providers),
        ("nginx", nginx, registry.request_for, same_reply),
    )
    systems = {"registry": registry}
    for name, server, request_for, verify in peers:
        systems[name] = system_under_test(
            fleet, name, server, keys, request_for, verify
        )
    return systems


def _offer(
    plan: Plan,
    fleet: Fleet,
    systems: Mapping[str, SystemUnderTest],
    programs: Mapping[str, Program],
    name: str,
    rate: float,
) -> Sample:
    server, program = systems[name].server, programs[name]
    seconds = plan.seconds if rate else plan.warmup
    return measure_rate(fleet, server, program, rate, seconds)


def _ceiling(plan: Plan, offer: "partial[Sample]") -> Sample:
    """Return the highest rate at which the generator was on time against nginx."""
    offer("nginx", 0.0)
    fastest = offer("nginx", 0.0).value
    for step in STEPS:
        sample = offer("nginx", step * fastest)
        on_time = (sample.lag or 0.0) <= plan.max_lag
        no_queue = (sample.p99 or 0.0) <= QUEUED * plan.max_lag
        if on_time and no_queue and kept_up(sample, step * fastest):
            return replace(sample, value=step * fastest)
    raise BenchmarkError(
        f"the generator can't keep {STEPS[-1] * fastest:,.0f} calls a second here;"
        " is something else running on its core?"
    )
