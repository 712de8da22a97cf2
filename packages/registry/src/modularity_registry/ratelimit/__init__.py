"""Rate limits by client, counted in this process or in Redis for all replicas."""

from modularity_registry.ratelimit.counters import CallCounters, open_counters
from modularity_registry.ratelimit.rates import FAILURES, Rate, Rates, warn_of_workers

__all__ = [
    "FAILURES",
    "CallCounters",
    "Rate",
    "Rates",
    "open_counters",
    "warn_of_workers",
]
