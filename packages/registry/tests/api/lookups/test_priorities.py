"""Primary and backup providers: a lower number comes first."""

import json
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import RegistryFront
from modularity_registry.runtime import Registry
from support.hot_path import ask
from support.lookups import FormerService, get, json_of, picked, register, report
from support.registry import registration


@pytest.fixture
def three(client: FlaskClient) -> FlaskClient:
    """Two primary providers and a backup."""
    register(client, "a")
    register(client, "b", priority=0)
    register(client, "backup", priority=10)
    return client


def test_a_priority_is_shown_unless_it_is_none(three: FlaskClient) -> None:
    assert get(three, "/api/services/backup")["priority"] == 10
    assert "priority" not in get(three, "/api/services/a")
    assert "priority" not in get(three, "/api/services/b")


@pytest.mark.parametrize("priority", [-1, 65_536, 1.5, "1", None, True])
def test_a_priority_that_is_none_is_refused(client: FlaskClient, priority: Any) -> None:
    reply = client.post("/api/register", json=registration(priority=priority))
    assert reply.status_code == 400
    assert json_of(reply)["errors"][0]["field"] == "priority"


def test_a_backup_is_returned_once_no_primary_is(three: FlaskClient) -> None:
    for strategy in ("round_robin", "random", "weighted"):
        assert picked(three, f"?strategy={strategy}") == {"a", "b"}
    three.put("/api/services/a/drain")
    assert picked(three) == {"b"}
    report(three, "b", "unhealthy")
    assert picked(three) == {"backup"}
    report(three, "b", "healthy")
    assert picked(three) == {"b"}


def test_a_healthy_backup_comes_before_a_primary_with_a_warning(
    three: FlaskClient,
) -> None:
    report(three, "a", "warning")
    assert picked(three) == {"b"}
    report(three, "b", "warning")
    assert picked(three) == {"backup"}
    assert picked(three, "?prefer_healthy=false") == {"a", "b"}
    report(three, "backup", "warning")
    assert picked(three) == {"a", "b"}


def test_a_filter_comes_before_the_priority(three: FlaskClient) -> None:
    register(three, "newer", priority=20, version="2.0.0")
    assert picked(three, "?version=2.0.0") == {"newer"}


def test_explain_says_whose_priority_is_better(three: FlaskClient) -> None:
    def reasons(query: str = "") -> dict[str, list[str]]:
        path = f"/api/capabilities/greet/explain{query}"
        explained = get(three, path)["providers"]
        return {each["service_id"]: each["reasons"] for each in explained}

    later = ["its priority is 10, and providers of priority 0 come first"]
    assert reasons() == {"a": [], "b": [], "backup": later}
    report(three, "a", "warning")
    report(three, "b", "warning")
    assert reasons()["backup"] == []
    assert reasons()["a"] == ["healthy providers come before its warning: reported"
                              " itself as warning"]  # fmt: skip
    assert reasons("?prefer_healthy=false")["backup"] == later


def test_discovery_has_backups_last(three: FlaskClient) -> None:
    register(three, "more", capabilities=["greet", "more"], priority=5)
    wish = {"capabilities": ["greet"], "optional": ["more"]}
    matches = json_of(three.post("/api/discover", json=wish))["matches"]
    assert [match["service"]["id"] for match in matches] == ["a", "b", "more", "backup"]


def test_the_hot_path_knows_priorities(registry: Registry) -> None:
    client = create_app(registry).test_client()
    register(client, "a", priority=1)
    register(client, "b", priority=2)
    front = RegistryFront(registry, create_app(registry))
    for query in ("", "strategy=weighted", "near=z", "prefer_healthy=false"):
        path = "/api/capabilities/greet"
        reply = ask(registry, front, "GET", path, query)
        assert reply is not None
        assert json.loads(reply[2])["id"] == "a"


def test_versions_without_priorities_read_services_with_one(registry: Registry) -> None:
    client = create_app(registry).test_client()
    register(client, "a", priority=3)
    register(client, "b")
    first, plain = registry.catalog.service("a"), registry.catalog.service("b")
    assert first is not None and plain is not None
    former = msgspec.json.decode(first.document, type=FormerService)
    assert former.registration.id == "a"
    assert b"priority" not in plain.document
