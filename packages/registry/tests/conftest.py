"""Fixtures of the registry's tests, and which of them need a library that is large."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from modularity_registry.api.app import create_app
from modularity_registry.runtime import Registry
from support.registry import ManualClock, loaded_registry, unload

HERE = Path(__file__).parent

LIBRARIES = {
    "api/test_openapi.py": "openapi_spec_validator",
    "api/test_tracing.py": "opentelemetry.sdk",
    "e2e/browser": "playwright",
    "e2e/dashboard": "playwright",
    "e2e/envoy": "envoy.service",
    "e2e/dashboard/test_envoy.py": "envoy.service",
    "e2e/deploy/test_chart.py": "helm_python",
    "e2e/deploy/test_compose.py": "yaml",
    "e2e/docs/test_quick_start.py": "playwright",
    "e2e/docs/test_site.py": "zensical",
    "e2e/fuzz": "schemathesis",
    "e2e/mesh": "envoy.service",
    "e2e/openapi": "openapi_python_client",
    "e2e/packaging": "twine",
    "e2e/proxies/test_kubernetes_endpoints.py": "kubernetes_validate",
    "e2e/ratelimit": "redis",
    "e2e/upgrade": "pyetcd",
    "faults/replicas": "redis",
    "faults/stores": "redis",
    "fuzzing": "quickjs",
    "integration/integrations/test_consul_answers.py": "re2",
    "integration/integrations/test_consul_clients.py": "consul",
    "integration/eureka": "py_eureka_client",
    "integration/load": "benchmarks",
    "integration/stores/consul": "consul",
    "integration/stores/etcd": "pyetcd",
    "integration/stores/postgresql": "psycopg",
    "integration/stores/redis": "redis",
    "integration/stores/zookeeper": "kazoo",
    "integration/transfer": "redis",
    "unit/config/test_secrets.py": "redis",
    "unit/integrations/test_consul_parts.py": "re2",
    "unit/envoy": "envoy.service",
    "unit/integrations/eureka": "defusedxml",
    "unit/mesh": "envoy.service",
    "unit/report": "benchmarks",
    "unit/simulator": "benchmarks",
    "unit/test_executes_nothing_by_name.py": "pyetcd",
}
"""Tests, and what they import that only the environment of the root has."""


def _installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False


_left_out = {
    HERE / tests: library
    for tests, library in LIBRARIES.items()
    if not _installed(library)
}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out tests whose library is not installed."""
    return True if collection_path in _left_out else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were left out, and how to run them."""
    for path, library in _left_out.items():
        tests = path.relative_to(HERE)
        terminalreporter.write_line(f"left out: {tests} needs the library {library}")
    if _left_out:
        terminalreporter.write_line("Run `uv run pytest` at the root for all tests.")


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
