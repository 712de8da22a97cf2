"""Fixtures of the registry's tests."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from modularity_registry.api.app import create_app
from modularity_registry.runtime import Registry
from support.registry import ManualClock, loaded_registry, unload


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = loaded_registry()
    yield registry
    unload(registry)


@pytest.fixture
def clock(registry: Registry) -> ManualClock:
    assert isinstance(registry.clock, ManualClock)
    return registry.clock


@pytest.fixture
def client(registry: Registry) -> FlaskClient:
    return create_app(registry).test_client()
