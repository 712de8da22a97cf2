"""Who calls whom, by HTTP."""

import math
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from modularity_registry.catalog import call_graph
from modularity_registry.catalog.call_graph import Traffic
from modularity_registry.schema import MAX_INVOCATIONS, Invocation
from support.registry import ManualClock, registration


def register(client: FlaskClient, service_id: str) -> None:
    response = client.post("/api/register", json=registration(service_id))
    assert response.status_code == 201


def call(client: FlaskClient, consumer: str, provider: str, **more: Any) -> int:
    body = {"consumer_id": consumer, "provider_id": provider, "capability": "greet"}
    return client.post("/api/track/invocation", json={**body, **more}).status_code


def shown(client: FlaskClient, path: str) -> dict[str, Any]:
    response = client.get(path)
    assert response.status_code == 200, response.json
    body: dict[str, Any] = response.get_json()
    return body


def test_calls_are_summed_up(client: FlaskClient, clock: ManualClock) -> None:
    register(client, "p")
    register(client, "c")
    assert call(client, "c", "p", success=True, latency_ms=10) == 200
    clock.advance(5)
    assert call(client, "c", "p", success=False, latency_ms=20) == 200
    assert call(client, "c", "p", success=True) == 200
    consumer = shown(client, "/api/connections/c")
    [edge] = consumer["consuming"]
    assert (consumer["service_id"], consumer["service_name"]) == ("c", "Hello")
    assert consumer["providing"] == []
    assert edge["provider_id"] == "p"
    assert edge["provider_name"] == "Hello"
    assert edge["request_count"] == 3
    assert edge["success_rate"] == 0.6667
    assert edge["avg_latency_ms"] == 15.0
    assert edge["first_seen"] < edge["last_seen"]
    provider = shown(client, "/api/connections/p")
    assert provider["providing"][0]["consumer_id"] == "c"
    assert provider["consuming"] == []


def test_a_caller_need_not_be_registered(client: FlaskClient) -> None:
    register(client, "p")
    assert call(client, "stranger", "p") == 200
    body = shown(client, "/api/connections/stranger")
    assert body["service_name"] is None
    graph = shown(client, "/api/graph")
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert nodes["stranger"]["registered"] is False
    assert nodes["p"]["registered"] is True
    assert graph["edges"] == [
        {
            "from": "stranger",
            "to": "p",
            "capability": "greet",
            "weight": 1,
            "avg_latency_ms": None,
            "success_rate": 1.0,
            "calls_per_second": 0.02,
        }
    ]


def test_a_provider_must_be_registered(client: FlaskClient) -> None:
    assert call(client, "c", "nobody") == 404


def test_a_service_nobody_knows_has_no_connections(client: FlaskClient) -> None:
    assert client.get("/api/connections/none").status_code == 404
    register(client, "quiet")
    body = shown(client, "/api/connections/quiet")
    assert (body["consuming"], body["providing"]) == ([], [])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"consumer_id": "-"}, "consumer_id"),
        ({"provider_id": None}, "provider_id"),
        ({"capability": "a b"}, "capability"),
        ({"success": "yes"}, "success"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_reports_are_named(
    client: FlaskClient, change: dict[str, Any], field: str
) -> None:
    register(client, "p")
    body = {"consumer_id": "c", "provider_id": "p", "capability": "greet"} | change
    response = client.post("/api/track/invocation", json=body)
    assert response.status_code == 400
    assert [each["field"] for each in response.get_json()["errors"]] == [field]


# Several in one call


def invocation(provider: str, **more: Any) -> dict[str, Any]:
    return {"consumer_id": "c", "provider_id": provider, "capability": "greet", **more}


def report(client: FlaskClient, *invocations: Any) -> TestResponse:
    return client.post("/api/track/invocations", json={"invocations": invocations})


def test_several_calls_are_recorded_as_if_reported_one_by_one(
    client: FlaskClient,
) -> None:
    register(client, "p")
    register(client, "q")
    response = report(
        client,
        invocation("p", latency_ms=10),
        invocation("q"),
        invocation("p", latency_ms=20, success=False),
    )
    assert (response.status_code, response.get_json()) == (
        200,
        {
            "status": "ok",
            "message": "3 invocations recorded",
            "recorded": 3,
            "unknown": [],
        },
    )
    several = shown(client, "/api/connections/c")["consuming"]
    assert [edge["request_count"] for edge in several] == [1, 2]
    assert (several[1]["avg_latency_ms"], several[1]["success_rate"]) == (15.0, 0.5)


def test_calls_to_unknown_providers_are_named_and_keep_no_other_from_being_recorded(
    client: FlaskClient,
) -> None:
    register(client, "p")
    providers = ["gone", "p", "nobody", "gone"]
    body = report(client, *map(invocation, providers)).get_json()
    assert body["message"] == "1 invocation recorded"
    assert (body["recorded"], body["unknown"]) == (1, ["gone", "nobody"])
    [edge] = shown(client, "/api/connections/c")["consuming"]
    assert edge["provider_id"] == "p"
    body = report(client, invocation("gone")).get_json()
    assert (body["recorded"], body["unknown"]) == (0, ["gone"])


def test_a_malformed_call_is_named_by_its_place_and_none_is_recorded(
    client: FlaskClient,
) -> None:
    register(client, "p")
    response = report(
        client,
        invocation("p"),
        invocation("-", colour="red"),
        "p",
        invocation("p", latency_ms=-1),
    )
    assert response.status_code == 400
    assert {
        (each["field"], each["message"]) for each in response.get_json()["errors"]
    } >= {
        ("invocations.1.colour", "is not a known field"),
        ("invocations.2", "must be an object"),
        ("invocations.3.latency_ms", "must be at least 0"),
    }
    assert "invocations.1.provider_id" in response.get_json()["detail"]
    assert shown(client, "/api/graph")["edges"] == []


def test_a_call_reports_at_least_one_invocation_and_at_most_1000(
    client: FlaskClient,
) -> None:
    register(client, "p")
    full = [invocation("p")] * MAX_INVOCATIONS
    assert report(client, *full).get_json()["recorded"] == 1000
    for invocations in ([], [*full, invocation("p")]):
        response = report(client, *invocations)
        assert response.status_code == 400
        assert [each["field"] for each in response.get_json()["errors"]] == [
            "invocations"
        ]
    assert client.post("/api/track/invocations", json={}).status_code == 400
    [edge] = shown(client, "/api/connections/c")["consuming"]
    assert edge["request_count"] == 1000


def test_the_graph_follows_filters(client: FlaskClient) -> None:
    register(client, "p")
    register(client, "q")
    call(client, "q", "p")
    graph = shown(client, "/api/graph?name=Nobody")
    assert graph == {"nodes": [], "edges": []}
    tag = client.get("/api/graph").headers["ETag"]
    assert client.get("/api/graph", headers={"If-None-Match": tag}).status_code == 304
    call(client, "q", "p")
    assert client.get("/api/graph", headers={"If-None-Match": tag}).status_code == 200


def note(pairs: Traffic, consumer: str) -> None:
    pairs.note(Invocation(consumer, "p", "greet", True, None))


def test_the_rate_is_that_of_the_last_minute(
    client: FlaskClient, clock: ManualClock
) -> None:
    register(client, "p")
    # Two calls a second, for a quarter of an hour.
    for _ in range(900):
        report(client, *[invocation("p")] * 2)
        clock.advance(1)
    response = client.get("/api/graph")
    [edge] = response.get_json()["edges"]
    assert edge["calls_per_second"] == pytest.approx(2, rel=0.02)
    # It fades while nobody calls, and a caller that asks again is told.
    clock.advance(60)
    tag = {"If-None-Match": response.headers["ETag"]}
    [edge] = client.get("/api/graph", headers=tag).get_json()["edges"]
    assert edge["calls_per_second"] == pytest.approx(2 / math.e, rel=0.02)
    clock.advance(600)
    assert shown(client, "/api/graph")["edges"][0]["calls_per_second"] == 0


def test_silent_pairs_are_forgotten(clock: ManualClock) -> None:
    pairs = Traffic(clock)
    note(pairs, "a")
    clock.advance(call_graph.KEPT_SECONDS / 2)
    note(pairs, "b")
    clock.advance(call_graph.KEPT_SECONDS / 2)
    assert [pair.consumer_id for pair in pairs.pairs()] == ["b"]
    note(pairs, "a")
    assert {pair.calls for pair in pairs.pairs()} == {1}


def test_memory_is_bounded(clock: ManualClock) -> None:
    pairs = Traffic(clock)
    for number in range(call_graph.MAX_PAIRS + 10):
        note(pairs, f"c{number}")
    kept = pairs.pairs()
    assert len(kept) == call_graph.MAX_PAIRS
    assert kept[0].consumer_id == "c10"
