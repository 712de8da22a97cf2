"""Fixtures of the registry's tests."""

import os
from collections.abc import Generator, Iterator

import hypothesis
import pytest
from flask.testing import FlaskClient

from modularity_registry.runtime import Registry
from modularity_registry.web.app import create_app
from support import ManualClock, loaded_registry

# A busy machine is slow, and a failure has to be repeatable from what was printed.
hypothesis.settings.register_profile("registry", deadline=None, print_blob=True)
hypothesis.settings.load_profile("registry")


Report = Generator[None, pytest.TestReport, pytest.TestReport]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Report:
    """Where everything is installed, a test that skips has lost what it needs."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if os.environ.get("CI") == "true" and skipped:
        report.outcome = "failed"
    return report


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = loaded_registry()
    yield registry
    registry.feed.stop()
    registry.store.close()


@pytest.fixture
def clock(registry: Registry) -> ManualClock:
    assert isinstance(registry.clock, ManualClock)
    return registry.clock


@pytest.fixture
def client(registry: Registry) -> FlaskClient:
    return create_app(registry).test_client()
