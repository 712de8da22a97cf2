"""What /metrics shows, and that it is right."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client

from modularity_registry.api.app import create_app
from modularity_registry.errors import StoreUnavailable
from modularity_registry.runtime import Registry
from modularity_registry.telemetry.counters import BOUNDS, Timings
from support.hot_path import HotPath
from support.registry import LOOP, registration

Value = Callable[..., float]


def scraped(client: Client, name: str, **labels: str) -> float:
    text = client.get("/metrics").get_data(as_text=True)
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.fixture
def hot(registry: Registry) -> Client:
    return Client(HotPath(registry, create_app(registry)))


def register(client: Client | FlaskClient, service_id: str, **changes: object) -> None:
    body = registration(service_id, mode="standalone", location="here", **changes)
    assert client.post("/api/register", json=body).status_code in (200, 201)


def test_services_are_counted_by_status_and_mode(hot: Client) -> None:
    for service_id in "abc":
        register(hot, service_id)
    hot.put("/api/services/a/drain")
    hot.delete("/api/services/b")
    name = "registry_services"
    assert scraped(hot, name) == 2
    assert scraped(hot, name, status="draining", mode="standalone") == 1
    assert scraped(hot, name, status="healthy", mode="standalone") == 1
    assert scraped(hot, "registry_capabilities") == 1


def test_each_request_is_counted_once_whichever_way_it_takes(hot: Client) -> None:
    register(hot, "a")
    for _ in range(3):
        hot.get("/api/capabilities/greet")  # by the hot path
    hot.get("/api/capabilities/greet?strategy=random")  # by Flask
    hot.get("/api/capabilities/none")
    hot.post("/api/heartbeat/a")
    hot.post("/api/heartbeat/a", json={"status": "healthy"})
    hot.post("/api/register", json={})
    count = "registry_http_request_duration_seconds_count"

    def counted(route: str, status: int) -> float:
        return scraped(hot, count, route=route, status=str(status))

    assert counted("/api/capabilities/{name}", 200) == 4
    assert counted("/api/capabilities/{name}", 404) == 1
    assert counted("/api/heartbeat/{id}", 200) == 2
    assert counted("/api/register", 201) == 1
    assert counted("/api/register", 400) == 1
    assert scraped(hot, "registry_discovery_queries_total", result="hit") == 4
    assert scraped(hot, "registry_discovery_queries_total", result="miss") == 1
    assert scraped(hot, "registry_heartbeats_total") == 2


def test_no_path_makes_a_label_of_its_own(hot: Client) -> None:
    for path in ("/a", "/b/c", "/api/services/x", "/api/services/y"):
        hot.get(path)
    count = "registry_http_request_duration_seconds_count"
    assert scraped(hot, count, route="other", status="404") == 2
    assert scraped(hot, count, route="/api/services/{id}", status="404") == 2


def test_writes_are_counted_by_what_came_of_them(
    hot: Client, registry: Registry
) -> None:
    register(hot, "a")
    register(hot, "a")
    register(hot, "b")
    hot.delete("/api/services/a")
    entry = registry.catalog.service("b")
    assert entry is not None
    registry.call(registry.commands.expire(entry))
    total = "registry_registrations_total"
    assert scraped(hot, total, result="created") == 2
    assert scraped(hot, total, result="replaced") == 1
    total = "registry_unregistrations_total"
    assert scraped(hot, total, reason="request") == 1
    assert scraped(hot, total, reason="lease") == 1


def test_the_store_is_timed_and_its_errors_are_counted(
    hot: Client, registry: Registry
) -> None:
    register(hot, "a")
    count = "registry_store_operation_duration_seconds_count"
    assert scraped(hot, count, operation="put") == 1
    registry.store.close()
    with pytest.raises(StoreUnavailable):
        registry.call(registry.commands.unregister("a"))
    assert scraped(hot, "registry_store_errors_total", operation="delete") == 1


def test_durations_fall_into_the_buckets_that_hold_them() -> None:
    timings = Timings()
    for seconds in (0.0, 0.0001, 0.00011, 3.0, 11.0):
        timings.observe(seconds)
    expected = [0] * (len(BOUNDS) + 1)
    expected[0], expected[1], expected[14], expected[-1] = 2, 1, 1, 1
    assert timings.counts == expected
    assert timings.count == 5
    assert timings.total == pytest.approx(14.00021)


def test_what_it_is_and_how_it_does(hot: Client, registry: Registry) -> None:
    assert scraped(hot, "registry_info", store="memory") == 1
    assert scraped(hot, "registry_replicas", state="alive") == 1
    assert scraped(hot, "registry_degraded") == 0
    assert scraped(hot, "registry_view_stale_seconds") == 0
    assert scraped(hot, "process_resident_memory_bytes") > 0
    registry.store.close()
    LOOP.call(registry.view_health.ping())
    assert scraped(hot, "registry_degraded") == 1
