"""The scenarios by name, in the order in which they are run."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from adoption import adoption
from capacity import checks, memory, start
from clients import resolve, subscribed, takeover
from elections import leader
from fuzz import fuzz
from guarded import guarded
from lookups import lookup, scale
from plan import Plan
from replicas import beats, propagation, workers
from rows import BenchmarkError, Row
from slow import slow
from stores import firstview, storelookup, stores
from watchers import bystanders, open_, watch
from writes import durable, heartbeat, register

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
    """Return the scenario's row; one that could not be measured says why."""
    scenario = SCENARIOS[name]
    try:
        return scenario(plan)
    except (BenchmarkError, OSError, LookupError, ValueError) as error:
        # One row less must not cost the others, and never passes.
        title = (scenario.__doc__ or name).strip().rstrip(".").lower()
        return Row(name, title, problems=(f"{type(error).__name__}: {error}",))
