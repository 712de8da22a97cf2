"""What one client may have of what all share: calls, in a time, and places."""

from modularity_registry.ratelimit.counters import CallCounters, open_counters
from modularity_registry.ratelimit.places import Places
from modularity_registry.ratelimit.rates import FAILURES, Rate, Rates, warn_of_workers

__all__ = [
    "FAILURES",
    "CallCounters",
    "Places",
    "Rate",
    "Rates",
    "open_counters",
    "warn_of_workers",
]
