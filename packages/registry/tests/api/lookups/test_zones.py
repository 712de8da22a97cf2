"""Zones over HTTP: who registers where, and who gets whom."""

import json
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import RegistryFront
from modularity_registry.catalog import documents
from modularity_registry.runtime import Registry
from support.hot_path import ask
from support.lookups import FormerService, json_of, picked, register
from support.registry import loaded_registry, registration, unload


def shown(client: FlaskClient, service_id: str) -> dict[str, Any]:
    body: dict[str, Any] = json_of(client.get(f"/api/services/{service_id}"))
    return body


@pytest.fixture
def three(client: FlaskClient) -> FlaskClient:
    register(client, "a", zone="a", region="eu")
    register(client, "b", zone="b", region="eu", version="2.0")
    register(client, "c", zone="c", region="us")
    return client


def test_a_service_shows_its_zone(client: FlaskClient) -> None:
    register(client, "a", zone="eu-1a", region="eu-1")
    assert shown(client, "a")["zone"] == "eu-1a"
    assert shown(client, "a")["region"] == "eu-1"


def test_a_service_without_a_zone_shows_none(client: FlaskClient) -> None:
    register(client, "a", zone=None)
    assert not {"zone", "region"} & shown(client, "a").keys()


@pytest.mark.parametrize("zone", ["", "-a", "a b", "a/b", 64 * "a", 3])
def test_a_zone_that_is_no_label_is_refused(client: FlaskClient, zone: object) -> None:
    reply = client.post("/api/register", json=registration(zone=zone))
    assert reply.status_code == 400
    assert json_of(reply)["errors"][0]["field"] == "zone"


def test_services_that_say_nothing_get_the_zone_of_the_registry() -> None:
    registry = loaded_registry(zone="eu-1a", region="eu-1")
    client = create_app(registry).test_client()
    register(client, "a")
    register(client, "b", zone="us-1a")
    assert (shown(client, "a")["zone"], shown(client, "a")["region"]) == (
        "eu-1a",
        "eu-1",
    )
    assert shown(client, "b")["zone"] == "us-1a"
    assert "region" not in shown(client, "b")
    entry = registry.catalog.service("a")
    assert entry is not None
    stored = documents.decode("services/a", entry.document).registration
    assert (stored.zone, stored.region) == ("eu-1a", "eu-1")
    unload(registry)


def test_versions_without_zones_read_services_with_one(registry: Registry) -> None:
    client = create_app(registry).test_client()
    register(client, "a", zone="eu-1a", region="eu-1")
    register(client, "b")
    there, nowhere = registry.catalog.service("a"), registry.catalog.service("b")
    assert there is not None and nowhere is not None
    former = msgspec.json.decode(there.document, type=FormerService)
    assert former.registration.id == "a"
    assert b"eu-1a" in there.document
    assert b'"zone"' not in nowhere.document


def test_a_lookup_stays_in_the_zone(three: FlaskClient) -> None:
    assert picked(three, "?near=a") == {"a"}
    assert picked(three, zone="b") == {"b"}
    assert picked(three, "?near=a", zone="b") == {"a"}
    assert picked(three) == {"a", "b", "c"}
    assert picked(three, "?near=none") == {"a", "b", "c"}
    assert picked(three, "?near=eu/none") == {"a", "b"}


def test_a_lookup_leaves_a_zone_that_is_down(three: FlaskClient) -> None:
    three.put("/api/services/a/drain")
    assert picked(three, "?near=a") == {"b", "c"}
    register(three, "b2", zone="b", region="eu")
    register(three, "b3", zone="b", region="eu")
    assert picked(three, "?near=a") == {"b", "b2", "b3"}


def test_a_filter_comes_before_the_zone(three: FlaskClient) -> None:
    assert picked(three, "?near=a&version=2.0") == {"b"}
    assert picked(three, "?near=c&region=eu") == {"a", "b"}


def test_a_place_that_is_none_is_refused(three: FlaskClient) -> None:
    for query, zone, field in (
        ("?near=a/b/c", None, "near"),
        ("?near=", None, "near"),
        ("", "not one", "X-Zone"),
    ):
        headers = {} if zone is None else {"X-Zone": zone}
        reply = three.get(f"/api/capabilities/greet{query}", headers=headers)
        assert reply.status_code == 400
        assert json_of(reply)["errors"][0]["field"] == field


def test_lists_are_filtered_by_zone_and_region(three: FlaskClient) -> None:
    def listed(path: str) -> list[str]:
        return [each["id"] for each in json_of(three.get(path))["services"]]

    assert listed("/api/services?zone=a") == ["a"]
    assert listed("/api/services?region=eu") == ["a", "b"]
    assert listed("/api/capabilities/greet/services?zone=c&region=us") == ["c"]
    assert listed("/api/services?zone=A") == []


def test_explain_says_which_zone_a_provider_is_in(three: FlaskClient) -> None:
    path = "/api/capabilities/greet/explain?zone=a"
    explained = json_of(three.get(path))["providers"]
    reasons = {each["service_id"]: each["reasons"] for each in explained}
    assert reasons["a"] == []
    assert reasons["b"] == ["its zone is b, not a"]


def test_the_header_is_read_on_the_hot_path() -> None:
    registry = loaded_registry()
    app = create_app(registry)
    client = app.test_client()
    for zone in ("a", "b"):
        register(client, zone, zone=zone)
    front = RegistryFront(registry, app)
    for zone in ("a", "b", "a"):
        for _ in range(3):
            reply = ask(
                registry,
                front,
                "GET",
                "/api/capabilities/greet",
                headers={"X-Zone": zone},
            )
            assert reply is not None
            assert json.loads(reply[2])["id"] == zone
            assert "X-Zone" in reply[1]["vary"]
    unload(registry)


def discovered(client: FlaskClient, query: str = "", zone: str = "") -> list[str]:
    reply = client.post(
        f"/api/discover{query}",
        json={"capabilities": ["greet"]},
        headers={"X-Zone": zone} if zone else {},
    )
    return [match["service"]["id"] for match in json_of(reply)["matches"]]


def test_of_equal_matches_the_nearest_come_first(three: FlaskClient) -> None:
    assert discovered(three) == ["a", "b", "c"]
    assert discovered(three, "?near=b") == ["b", "a", "c"]
    assert discovered(three, zone="us/nowhere") == ["c", "a", "b"]
