"""The scenarios by name, in the order in which they run."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from benchmarks.harness.plan import Plan
from benchmarks.harness.results import BenchmarkError, Row, ScenarioSkipped
from benchmarks.scenarios.adoption import adoption
from benchmarks.scenarios.capacity import checks, memory, start
from benchmarks.scenarios.client import resolve, subscribed, takeover
from benchmarks.scenarios.fuzz import fuzz
from benchmarks.scenarios.leader_loss import leader
from benchmarks.scenarios.lookups import lookup, scale
from benchmarks.scenarios.replicas import beats, propagation, workers
from benchmarks.scenarios.slow_callers import slow
from benchmarks.scenarios.stores import firstview, storelookup, stores
from benchmarks.scenarios.tokens import guarded
from benchmarks.scenarios.watchers import bystanders, open_, watch
from benchmarks.scenarios.writes import durable, heartbeat, register

Scenario = Callable[[Plan], Row]

SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "lookup": lookup,
        "scale": scale,
        "guarded": guarded,
        "register": register,
        "durable": durable,
        "heartbeat": heartbeat,
        "memory": memory,
        "start": start,
        "checks": checks,
        "watch": watch,
        "bystanders": bystanders,
        "open": open_,
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
        "leader": leader,
        "fuzz": fuzz,
        "slow": slow,
    }
)


def run(name: str, plan: Plan) -> Row:
    """Return the scenario's row; if it could not be measured, the row says why."""
    scenario = SCENARIOS[name]
    title = (scenario.__doc__ or name).strip().rstrip(".").lower()
    try:
        return scenario(plan)
    except ScenarioSkipped as reason:
        return Row(name, title, notes=(f"not measured: {reason}",))
    except (BenchmarkError, OSError, LookupError, ValueError) as error:
        # A row that fails must not cost the others, and never passes.
        return Row(name, title, problems=(f"{type(error).__name__}: {error}",))
