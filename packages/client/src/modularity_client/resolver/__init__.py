"""Providers by capability, answered from a view in memory."""

from modularity_client.resolver.resolver import Resolver

__all__ = ["Resolver"]
