"""How many calls a client may make: counted here, or in a Redis for all replicas."""

from modularity_registry.ratelimit.counters import Ledger, open_ledger
from modularity_registry.ratelimit.rates import FAILURES, Rate, Rates, warn_of_workers

__all__ = ["FAILURES", "Ledger", "Rate", "Rates", "open_ledger", "warn_of_workers"]
