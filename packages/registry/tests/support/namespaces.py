"""Registries with namespaces."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modularity_registry import config, runtime
from modularity_registry.runtime import Registry
from support.registry import LOOP, ManualClock, unload

A, B = "/api/ns/team-a", "/api/ns/team-b"
"""Where the API of the two namespaces is that `divided` has."""


@contextmanager
def divided(clock: ManualClock | None = None, **settings: Any) -> Iterator[Registry]:
    """A registry with two namespaces, without monitors, on a clock by hand."""
    settings = {"namespace": ("team-a", "team-b"), **settings}
    registry = runtime.build(
        config.Settings(**settings), clock or ManualClock(), replica="replica-1"
    )
    load(registry)
    try:
        yield registry
    finally:
        unload(registry)


def load(registry: Registry) -> None:
    """Load the views of all namespaces."""
    for one in registry.all_namespaces:
        LOOP.call(one.feed.start())
    if registry.token_file is not None:
        LOOP.call(registry.token_file.start())
