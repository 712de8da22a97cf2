"""Checks services over HTTP, TCP and gRPC, on one asyncio loop."""

from modularity_registry.health.probes.outcome import Outcome, Target
from modularity_registry.health.probes.prober import Prober

__all__ = ["Outcome", "Prober", "Target"]
