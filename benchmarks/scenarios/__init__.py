"""The scenarios by name, in the order in which they run."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from benchmarks.harness.plan import Plan
from benchmarks.harness.results import BenchmarkError, Row, ScenarioSkipped
from benchmarks.scenarios.adoption import adoption
from benchmarks.scenarios.callers import callers, flask, lists
from benchmarks.scenarios.capacity import checked, checks, memory, start
from benchmarks.scenarios.client import resolve, subscribed, takeover
from benchmarks.scenarios.dns import srv
from benchmarks.scenarios.first_day import firstday
from benchmarks.scenarios.fuzz import fuzz
from benchmarks.scenarios.leader_loss import leader
from benchmarks.scenarios.lookups import lookup, peers, scale
from benchmarks.scenarios.replicas import beats, propagation, workers
from benchmarks.scenarios.routing import routing
from benchmarks.scenarios.slow_callers import slow
from benchmarks.scenarios.stores import firstview, storelookup, stores
from benchmarks.scenarios.watchers import bystanders, fanout, streams, watch
from benchmarks.scenarios.writes import heartbeat, register

Scenario = Callable[[Plan], Row]

SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "lookup": lookup,
        "callers": callers,
        "scale": scale,
        "routing": routing,
        "flask": flask,
        "lists": lists,
        "peers": peers,
        "register": register,
        "heartbeat": heartbeat,
        "dns": srv,
        "memory": memory,
        "start": start,
        "checks": checks,
        "checked": checked,
        "watch": watch,
        "bystanders": bystanders,
        "fanout": fanout,
        "streams": streams,
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
