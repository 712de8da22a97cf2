"""A status between healthy and unhealthy: who gets calls, and where it is shown."""

import msgspec
import pytest
from flask.testing import FlaskClient

from modularity_registry.api.app import create_app
from modularity_registry.runtime import Registry
from support.lookups import get, json_of, picked, register, report


@pytest.fixture
def pair(client: FlaskClient) -> FlaskClient:
    """A healthy provider a, and b with a warning."""
    register(client, "a")
    register(client, "b")
    report(client, "b", "warning", "queue is long")
    return client


def test_a_warning_is_shown_with_its_reason(pair: FlaskClient) -> None:
    shown = get(pair, "/api/services/b")
    assert (shown["status"], shown["status_reason"]) == ("warning", "queue is long")
    assert shown["evidence"]["faults"] == []
    [warning] = shown["evidence"]["warnings"]
    assert (warning["reason"], warning["source"]) == ("queue is long", "report")
    history = get(pair, "/api/services/b/history")["history"]
    assert [each["status"] for each in history] == ["healthy", "warning"]
    stats = get(pair, "/api/stats")
    assert (stats["active_services"], stats["inactive_services"]) == (2, 0)
    assert stats["services_by_status"]["warning"] == 1
    assert 'registry_services{mode="http",status="warning"} 1.0' in "\n".join(
        line.replace('{status="warning",mode="http"}', '{mode="http",status="warning"}')
        for line in pair.get("/metrics").text.splitlines()
    )


def test_what_is_healthy_is_shown_as_before(client: FlaskClient) -> None:
    register(client, "a")
    by_status = get(client, "/api/stats")["services_by_status"]
    assert by_status == {"healthy": 1, "unhealthy": 0, "draining": 0}
    assert "warnings" not in get(client, "/api/services/a")["evidence"]


def test_a_healthy_provider_comes_first(pair: FlaskClient) -> None:
    assert picked(pair) == {"a"}
    assert picked(pair, "?strategy=random") == {"a"}
    assert picked(pair, "?prefer_healthy=false") == {"a", "b"}
    assert picked(pair, "?prefer_healthy=false&strategy=weighted&near=z") <= {"a", "b"}
    assert picked(pair, "?status=warning") == {"b"}
    report(pair, "a", "unhealthy")
    assert picked(pair) == {"b"}
    report(pair, "b", "unhealthy")
    assert pair.get("/api/capabilities/greet").status_code == 503


def test_a_healthy_provider_comes_before_the_own_zone(client: FlaskClient) -> None:
    register(client, "near", zone="z")
    register(client, "far", zone="y")
    report(client, "near", "warning")
    assert picked(client, "?near=z") == {"far"}
    assert picked(client, "?near=z&prefer_healthy=false") == {"near"}
    report(client, "far", "warning")
    assert picked(client, "?near=z") == {"near"}


def test_a_preference_is_true_or_false(client: FlaskClient) -> None:
    reply = client.get("/api/capabilities/greet?prefer_healthy=maybe")
    assert reply.status_code == 400
    [error] = json_of(reply)["errors"]
    assert error == {"field": "prefer_healthy", "message": "must be true or false"}


def test_lists_filter_by_it(pair: FlaskClient) -> None:
    def ids(query: str) -> list[str]:
        listed = get(pair, f"/api/services?status={query}")["services"]
        return [each["id"] for each in listed]

    assert ids("warning") == ["b"]
    assert ids("active") == ["a", "b"]
    assert ids("healthy") == ["a"]
    assert ids("inactive") == []


def test_explain_says_who_comes_first(pair: FlaskClient) -> None:
    def reasons(query: str = "") -> dict[str, list[str]]:
        path = f"/api/capabilities/greet/explain{query}"
        explained = get(pair, path)["providers"]
        return {each["service_id"]: each["reasons"] for each in explained}

    first = ["healthy providers come before its warning: queue is long"]
    assert reasons() == {"a": [], "b": first}
    assert reasons("?prefer_healthy=false") == {"a": [], "b": []}
    assert reasons("?status=warning")["b"] == []
    pair.put("/api/services/a/drain")
    assert reasons()["b"] == []


def test_discovery_has_it_last(pair: FlaskClient) -> None:
    register(pair, "c", capabilities=["greet", "more"])
    report(pair, "c", "warning")
    wish = {"capabilities": ["greet"], "optional": ["more"]}

    def found(query: str = "") -> list[str]:
        reply = pair.post(f"/api/discover{query}", json=wish)
        return [match["service"]["id"] for match in json_of(reply)["matches"]]

    assert found() == ["a", "c", "b"]
    assert found("?prefer_healthy=false") == ["c", "a", "b"]
    offered = get(pair, "/api/capabilities")["capabilities"]
    providers = {each["capability"]: each["providers"] for each in offered}
    assert providers == {"greet": ["a", "b", "c"], "more": ["c"]}
    report(pair, "a", "warning")
    report(pair, "c", "healthy")
    [greet, _] = get(pair, "/api/capabilities")["capabilities"]
    assert greet["providers"] == ["c", "a", "b"]


def test_a_heartbeat_ends_and_replaces_it(pair: FlaskClient) -> None:
    report(pair, "b", "warning", "queue is longer")
    assert get(pair, "/api/services/b")["status_reason"] == "queue is longer"
    report(pair, "b", "unhealthy", "queue is full")
    shown = get(pair, "/api/services/b")
    assert (shown["status"], shown["status_reason"]) == ("unhealthy", "queue is full")
    assert "warnings" not in shown["evidence"]
    report(pair, "b", "warning", "queue is long")
    assert get(pair, "/api/services/b")["evidence"]["faults"] == []
    assert pair.post("/api/heartbeat/b").status_code == 200
    shown = get(pair, "/api/services/b")
    assert shown["status"] == "healthy"
    assert not {"status_reason", "status_since"} & shown.keys()


def test_an_order_to_drain_wins(pair: FlaskClient) -> None:
    pair.put("/api/services/b/drain")
    assert get(pair, "/api/services/b")["status"] == "draining"
    assert json_of(pair.delete("/api/services/b/drain"))["status"] == "warning"


class FormerFault(msgspec.Struct):
    reason: str


class FormerService(msgspec.Struct):
    """A stored service as versions without warnings read it."""

    faults: tuple[FormerFault, ...] = ()


def test_versions_without_warnings_read_it_as_healthy(registry: Registry) -> None:
    client = create_app(registry).test_client()
    register(client, "a")
    entry = registry.catalog.service("a")
    assert entry is not None and b"warnings" not in entry.document
    report(client, "a", "warning")
    entry = registry.catalog.service("a")
    assert entry is not None and b"warnings" in entry.document
    assert msgspec.json.decode(entry.document, type=FormerService).faults == ()
