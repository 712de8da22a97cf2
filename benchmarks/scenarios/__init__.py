"""The scenarios by name, in the order in which they run."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from benchmarks.harness.plan import Plan
from benchmarks.harness.results import BenchmarkError, Row, ScenarioSkipped
from benchmarks.scenarios.client.client import resolve, subscribed, takeover
from benchmarks.scenarios.client.first_day import firstday
from benchmarks.scenarios.events.fanout import fanout
from benchmarks.scenarios.events.watchers import bystanders, streams, watch
from benchmarks.scenarios.integrations.consul_api import consul_api, consul_blocking
from benchmarks.scenarios.integrations.dns import srv
from benchmarks.scenarios.integrations.xds import xds_nodes
from benchmarks.scenarios.serving.callers import callers, flask, lists
from benchmarks.scenarios.serving.capacity import checked, checks, memory
from benchmarks.scenarios.serving.fuzz import fuzz
from benchmarks.scenarios.serving.growth import growth
from benchmarks.scenarios.serving.lookups import lookup, paths
from benchmarks.scenarios.serving.routing import namespaces, routing
from benchmarks.scenarios.serving.saturation import saturation
from benchmarks.scenarios.serving.slow_callers import slow
from benchmarks.scenarios.serving.writes import heartbeat, register
from benchmarks.scenarios.stores.adoption import adoption
from benchmarks.scenarios.stores.leader_loss import leader
from benchmarks.scenarios.stores.million import million
from benchmarks.scenarios.stores.replicas import beats, propagation, workers
from benchmarks.scenarios.stores.stores import firstview, storelookup, stores

Scenario = Callable[[Plan], Row]

SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "lookup": lookup,
        "paths": paths,
        "callers": callers,
        "growth": growth,
        "saturation": saturation,
        "routing": routing,
        "namespaces": namespaces,
        "flask": flask,
        "lists": lists,
        "register": register,
        "heartbeat": heartbeat,
        "dns": srv,
        "memory": memory,
        "checks": checks,
        "checked": checked,
        "watch": watch,
        "bystanders": bystanders,
        "fanout": fanout,
        "streams": streams,
        "consul-api": consul_api,
        "consul-blocking": consul_blocking,
        "xds-nodes": xds_nodes,
        "resolve": resolve,
        "subscribed": subscribed,
        "takeover": takeover,
        "stores": stores,
        "storelookup": storelookup,
        "workers": workers,
        "propagation": propagation,
        "adoption": adoption,
        "beats": beats,
        "firstview": firstview,
        "million": million,
        "firstday": firstday,
        "leader": leader,
        "fuzz": fuzz,
        "slow": slow,
    }
)


def run(name: str, plan: Plan) -> Row:
    """Return the scenario's row; if it could not be measured, the row says why.

    A scenario that does not take turns with the other registry is run a second time
    for it; that run's targets do not count.
    """
    row = _measure(name, plan)
    other = plan.versions()[-1]
    if other is plan or any(" @" in one.system for one in row.series):
        return row
    second = _measure(name, other)
    series = [replace(x, system=x.system + other.mark) for x in second.series]
    problems = [f"{problem}{other.mark}" for problem in second.problems]
    notes = (*row.notes, *problems)
    return replace(row, series=(*row.series, *series), notes=notes)


def _measure(name: str, plan: Plan) -> Row:
    scenario = SCENARIOS[name]
    title = (scenario.__doc__ or name).strip().rstrip(".").lower()
    try:
        return scenario(plan)
    except ScenarioSkipped as reason:
        return Row(name, title, notes=(f"not measured: {reason}",))
    except (BenchmarkError, OSError, LookupError, ValueError) as error:
        # A row that fails must not cost the others, and never passes.
        return Row(name, title, problems=(f"{type(error).__name__}: {error}",))
