"""Checks services over HTTP, TCP and gRPC, on one asyncio loop."""

from modularity_registry.probe.outcome import Outcome, Target
from modularity_registry.probe.prober import Prober

__all__ = ["Outcome", "Prober", "Target"]
