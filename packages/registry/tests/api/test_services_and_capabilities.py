"""The HTTP contract, row by row."""

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from modularity_registry.api.app import create_app
from modularity_registry.catalog.entry import Entry, Vitals
from modularity_registry.catalog.selection import Filter
from modularity_registry.errors import OutcomeUnknown
from modularity_registry.model.service import Fault
from modularity_registry.runtime import Registry
from modularity_registry.writes.commands import Commands
from support.registry import LOOP, ManualClock, loaded_registry, registration

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def register(
    client: FlaskClient, service_id: str = "a", **changes: Any
) -> TestResponse:
    response = client.post("/api/register", json=registration(service_id, **changes))
    assert response.status_code in (200, 201), response.json
    return response


def add_fault(registry: Registry, service_id: str, why: str = "it is on fire") -> None:
    entry = registry.catalog.service(service_id)
    assert entry is not None
    fault = Fault("check", why, registry.clock.now())
    registry.call(registry.commands.add_fault(entry, fault))


def ids(response: TestResponse) -> list[str]:
    assert response.status_code == 200, response.json
    assert response.json is not None
    assert response.json["count"] == len(response.json["services"])
    return [each["id"] for each in response.json["services"]]


def body_of(response: TestResponse) -> dict[str, Any]:
    assert response.status_code == 200, response.json
    body: dict[str, Any] = json.loads(response.data)
    return body


def problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.json
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = json.loads(response.data)
    assert body["code"] == code
    assert body["status"] == status
    assert body["error"] == body["detail"] != ""
    assert body["type"] and body["title"]
    assert ("errors" in body) == (status == 400)
    assert (response.headers.get("Retry-After") is not None) == (status == 503)
    return body


# Registering


def test_register_answers_201_then_200(client: FlaskClient) -> None:
    first, second = register(client, "hello"), register(client, "hello", name="Other")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json is not None and second.json is not None
    for body in (first.json, second.json):
        assert body["status"] == "registered"
        assert body["service_id"] == "hello"
        assert body["message"] == "Service registered successfully"
    assert second.json["revision"] > first.json["revision"]


def test_a_service_is_shown_whole(client: FlaskClient) -> None:
    register(client, "a", weight=3, ttl=20, health={"path": "/up", "interval": 9})
    shown = body_of(client.get("/api/services/a"))
    evidence = shown.pop("evidence")
    assert TIME.fullmatch(shown.pop("registered_at"))
    assert TIME.fullmatch(shown.pop("last_seen"))
    assert shown == {
        "id": "a",
        "name": "Hello",
        "version": "1.2.0",
        "capabilities": ["greet"],
        "location": "http://127.0.0.1:9001",
        "mode": "http",
        "status": "healthy",
        "metadata": {"runtime": "python", "region": "eu"},
        "weight": 3,
        "ttl": 20.0,
        "health": {"path": "/up", "interval": 9.0, "timeout": 5.0},
        "failed_checks": 0,
        "revision": 1,
    }
    assert set(evidence) == {
        "checked_at", "latency_ms", "outcome", "message", "since", "next_check",
        "checked_by", "faults", "drain",
    }  # fmt: skip


def test_a_registration_replaces_the_old_one_whole(client: FlaskClient) -> None:
    register(client, "a", weight=7, ttl=20, capabilities=["old"], metadata={"x": 1})
    client.put("/api/services/a/drain")
    register(client, "a", capabilities=["new"], metadata=...)
    shown = body_of(client.get("/api/services/a"))
    assert (shown["weight"], shown["ttl"], shown["metadata"]) == (1, None, {})
    assert (shown["capabilities"], shown["status"]) == (["new"], "healthy")
    assert ids(client.get("/api/capabilities/old/services")) == []


def test_names_that_differ_by_case_are_different(client: FlaskClient) -> None:
    register(client, "a", capabilities=["Greet"])
    register(client, "A", capabilities=["greet"])
    assert ids(client.get("/api/services")) == ["A", "a"]
    assert ids(client.get("/api/capabilities/Greet/services")) == ["a"]


def test_put_registers_at_its_own_address(client: FlaskClient) -> None:
    body = registration(id=...)
    assert client.put("/api/services/a", json=body).status_code == 201
    assert client.put("/api/services/a", json=body).status_code == 200
    problem(
        client.put("/api/services/b", json=registration("a")), 400, "invalid_request"
    )


@pytest.mark.parametrize("method", ["put", "delete"])
def test_if_match_makes_a_write_conditional(client: FlaskClient, method: str) -> None:
    revision = register(client, "a").json["revision"]  # type: ignore[index]
    body = registration("a") if method == "put" else None

    def call(tag: str) -> TestResponse:
        headers = {"If-Match": tag}
        path = "/api/services/a"
        return client.open(path, method=method, headers=headers, json=body)

    for tag in ('"999"', '"0"', '""', '"x"', "junk", f'"{revision + 1}"'):
        problem(call(tag), 412, "revision_mismatch")
    read = client.get("/api/services/a")
    assert read.json is not None and read.json["revision"] == revision
    assert call(read.headers["ETag"]).status_code == 200


def test_if_match_takes_a_bare_revision_and_a_star(client: FlaskClient) -> None:
    revision = register(client, "a").json["revision"]  # type: ignore[index]
    body = registration("a")
    for tag in (f'"{revision}"', "*"):
        headers = {"If-Match": tag}
        assert (
            client.put("/api/services/a", json=body, headers=headers).status_code == 200
        )
    response = client.put(
        "/api/services/b", json={**body, "id": "b"}, headers={"If-Match": "*"}
    )
    problem(response, 412, "revision_mismatch")


def test_if_none_match_star_only_creates(client: FlaskClient) -> None:
    headers = {"If-None-Match": "*"}
    for status in (201, 412):
        response = client.put(
            "/api/services/a", json=registration("a"), headers=headers
        )
        assert response.status_code == status


def test_every_bad_field_is_named(client: FlaskClient) -> None:
    response = client.post("/api/register", json={"id": "!", "colour": 1, "mode": 2})
    body = problem(response, 400, "invalid_request")
    fields = {each["field"] for each in body["errors"]}
    assert fields == {"id", "name", "capabilities", "location", "mode", "colour"}
    assert all(each["message"] for each in body["errors"])
    assert ids(client.get("/api/services")) == []


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254", "http://8.8.8.8", "http://0.0.0.0:1"]
)
def test_the_address_policy_is_a_400_for_the_location(
    client: FlaskClient, location: str
) -> None:
    response = client.post("/api/register", json=registration(location=location))
    body = problem(response, 400, "address_refused")
    assert [each["field"] for each in body["errors"]] == ["location"]
    assert ids(client.get("/api/services")) == []


@pytest.mark.parametrize("header", [None, "X-Forwarded-For", "Forwarded", "Via"])
def test_loopback_locations_are_for_callers_on_loopback(
    client: FlaskClient, header: str | None
) -> None:
    remote = {"REMOTE_ADDR": "10.1.2.3" if header is None else "127.0.0.1"}
    response = client.post(
        "/api/register",
        json=registration(location="http://127.0.0.1:9"),
        environ_base=remote,
        headers={header: "10.1.2.3"} if header else {},
    )
    problem(response, 400, "address_refused")


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.1.2.3"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_registration_remembers_whether_it_came_from_loopback(
    client: FlaskClient, registry: Registry, method: str, peer: str
) -> None:
    path = "/api/register" if method == "POST" else "/api/services/a"
    body = registration("a", location="http://10.0.0.1:9")
    here = {"REMOTE_ADDR": peer}
    client.open(path, method=method, json=body, environ_base=here)
    client.put("/api/services/a/drain", environ_base={"REMOTE_ADDR": "127.0.0.1"})
    entry = registry.catalog.service("a")
    assert entry is not None
    assert entry.service.loopback is (peer == "127.0.0.1")


# Unregistering


@pytest.mark.parametrize("path", ["/api/services/a", "/api/unregister/a"])
def test_unregister(client: FlaskClient, path: str) -> None:
    register(client, "a")
    body = body_of(client.delete(path))
    assert (body["status"], body["service_id"]) == ("unregistered", "a")
    assert body["message"] == "Service unregistered successfully"
    problem(client.delete(path), 404, "service_not_found")
    problem(client.get("/api/services/a"), 404, "service_not_found")


# Capabilities


def test_a_capability_gives_one_provider_ready_to_call(client: FlaskClient) -> None:
    register(client, "a")
    body = body_of(client.get("/api/capabilities/greet"))
    assert (body["id"], body["location"]) == ("a", "http://127.0.0.1:9001")
    assert "evidence" not in body


def test_never_offered_is_404_and_nobody_healthy_is_503(
    client: FlaskClient, registry: Registry
) -> None:
    problem(client.get("/api/capabilities/greet"), 404, "capability_not_found")
    register(client, "a")
    add_fault(registry, "a")
    problem(client.get("/api/capabilities/greet"), 503, "no_healthy_provider")
    client.delete("/api/services/a")
    problem(client.get("/api/capabilities/greet"), 503, "no_healthy_provider")


def test_providers_take_turns(client: FlaskClient) -> None:
    for name in "abc":
        register(client, name)
    order = [body_of(client.get("/api/capabilities/greet"))["id"] for _ in range(6)]
    assert order[:3] == order[3:] and sorted(order[:3]) == ["a", "b", "c"]


def test_hash_keeps_its_provider_and_moves_few(client: FlaskClient) -> None:
    for number in range(10):
        register(client, f"s{number}")

    def owner(key: int) -> str:
        path = f"/api/capabilities/greet?strategy=hash&key=k{key}"
        found: str = body_of(client.get(path))["id"]
        return found

    before = {key: owner(key) for key in range(200)}
    assert {key: owner(key) for key in range(200)} == before
    client.delete("/api/services/s3")
    moved = {key for key in range(200) if owner(key) != before[key]}
    assert moved == {key for key in range(200) if before[key] == "s3"}


def test_weighted_follows_the_weights(client: FlaskClient) -> None:
    for name, weight in (("none", 0), ("one", 1), ("three", 3)):
        register(client, name, weight=weight)
    path = "/api/capabilities/greet?strategy=weighted"
    for suffix in ("", "&mode=http"):
        got = [body_of(client.get(path + suffix))["id"] for _ in range(800)]
        assert got.count("none") == 0
        assert 2 < got.count("three") / got.count("one") < 4.5


def test_weights_of_zero_are_used_when_there_are_no_others(client: FlaskClient) -> None:
    register(client, "a", weight=0)
    assert client.get("/api/capabilities/greet?strategy=weighted").status_code == 200


def test_random_reaches_everybody(client: FlaskClient) -> None:
    for name in "abc":
        register(client, name)
    path = "/api/capabilities/greet?strategy=random"
    assert {body_of(client.get(path))["id"] for _ in range(100)} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ("strategy=best", "strategy"),
        ("strategy=hash", "key"),
        ("key=x", "key"),
        ("limit=3", "limit"),
        ("colour=red", "colour"),
    ],
)
def test_bad_arguments_of_a_lookup(
    client: FlaskClient, arguments: str, field: str
) -> None:
    register(client, "a")
    response = client.get(f"/api/capabilities/greet?{arguments}")
    body = problem(response, 400, "invalid_request")
    assert [each["field"] for each in body["errors"]] == [field]


def test_filters_narrow_a_lookup(client: FlaskClient) -> None:
    register(client, "old", version="1.9.0")
    register(client, "new", version="2.0.0", metadata={"region": "us"})
    for argument, expected in (
        ("version=%3E%3D2", "new"),
        ("version=1.9.0", "old"),
        ("metadata.region=us", "new"),
    ):
        for _ in range(4):
            body = body_of(client.get(f"/api/capabilities/greet?{argument}"))
            assert body["id"] == expected
    response = client.get("/api/capabilities/greet?version=3")
    problem(response, 503, "no_healthy_provider")


def test_capabilities_with_slashes(client: FlaskClient) -> None:
    register(client, "a", capabilities=["weather/current", "x/explain"])
    name = "weather/current"
    assert body_of(client.get(f"/api/capabilities/{name}"))["id"] == "a"
    assert ids(client.get(f"/api/capabilities/{name}/services")) == ["a"]
    assert ids(client.get("/api/capabilities/x/explain/services")) == ["a"]


def test_only_capabilities_with_a_healthy_provider_are_listed(
    client: FlaskClient, registry: Registry
) -> None:
    register(client, "a", capabilities=["x", "y"])
    register(client, "b", capabilities=["y", "z"])
    add_fault(registry, "b")
    body = body_of(client.get("/api/capabilities"))
    assert body["capabilities"] == [
        {"capability": "x", "providers": ["a"], "count": 1},
        {"capability": "y", "providers": ["a"], "count": 1},
    ]
    assert (body["count"], body["revision"]) == (2, registry.catalog.revision)


def test_every_provider_is_listed_healthy_or_not(
    client: FlaskClient, registry: Registry
) -> None:
    register(client, "a")
    register(client, "b")
    add_fault(registry, "a")
    assert ids(client.get("/api/capabilities/greet/services")) == ["a", "b"]
    assert ids(client.get("/api/capabilities/greet/services?status=active")) == ["b"]
    assert ids(client.get("/api/capabilities/unknown/services")) == []


def test_explain_says_why(client: FlaskClient, registry: Registry) -> None:
    for name in ("good", "ill", "away"):
        register(client, name)
    add_fault(registry, "ill", "it is on fire")
    client.put("/api/services/away/drain", json={"reason": "new disk"})
    body = body_of(client.get("/api/capabilities/greet/explain?version=1.2.0"))
    providers = {each["service_id"]: each for each in body["providers"]}
    assert providers["good"]["returned"] is True
    assert providers["good"]["reasons"] == []
    assert "it is on fire" in providers["ill"]["reasons"][0]
    assert "new disk" in providers["away"]["reasons"][0]
    body = body_of(client.get("/api/capabilities/greet/explain?version=9"))
    assert not any(each["returned"] for each in body["providers"])
    problem(client.get("/api/capabilities/x/explain"), 404, "capability_not_found")


def test_only_verified_services(client: FlaskClient, registry: Registry) -> None:
    for each in ("a", "b"):
        register(client, each, checks=[{"name": "works", "kind": "module"}])
    entry = registry.catalog.service("a")
    assert entry is not None
    registry.call(registry.commands.verify(entry))
    assert ids(client.get("/api/services?verified=true")) == ["a"]
    assert ids(client.get("/api/services?verified=false")) == ["b"]
    for _ in range(3):
        found = body_of(client.get("/api/capabilities/greet?verified=true"))
        assert found["id"] == "a"
    problem(client.get("/api/services?verified=yes"), 400, "invalid_request")
    fault = Fault("check", "it greets nobody", registry.clock.now(), "works")
    registry.call(registry.commands.add_fault(entry, fault))
    assert ids(client.get("/api/services?verified=true")) == []


# Discovery


def test_discover(client: FlaskClient, registry: Registry) -> None:
    register(client, "both", capabilities=["a", "b", "c"])
    register(client, "more", capabilities=["a", "b", "c", "d"])
    register(client, "less", capabilities=["a"])
    register(client, "ill", capabilities=["a", "b", "c", "d"])
    add_fault(registry, "ill")
    response = client.post(
        "/api/discover", json={"capabilities": ["a", "b"], "optional": ["d"]}
    )
    body = body_of(response)
    assert body["count"] == 2
    first, second = body["matches"]
    assert [first["service"]["id"], second["service"]["id"]] == ["more", "both"]
    assert (first["match_score"], second["match_score"]) == (3, 2)
    assert first["provides_required"] == ["a", "b"]
    assert (first["provides_optional"], second["provides_optional"]) == (["d"], [])
    nobody = client.post("/api/discover", json={"capabilities": ["a", "zz"]})
    assert nobody.json is not None and nobody.json["matches"] == []


@pytest.mark.parametrize("body", [{}, {"capabilities": []}])
def test_discover_without_a_required_capability_ranks_all_healthy_ones(
    client: FlaskClient, registry: Registry, body: dict[str, Any]
) -> None:
    register(client, "none", capabilities=[])
    register(client, "one", capabilities=["a", "x"])
    register(client, "two", capabilities=["a", "b"])
    register(client, "ill", capabilities=["a", "b"])
    add_fault(registry, "ill")
    response = client.post("/api/discover", json=body | {"optional": ["b", "a"]})
    matches = body_of(response)["matches"]
    found = [(match["service"]["id"], match["match_score"]) for match in matches]
    assert found == [("two", 2), ("one", 1), ("none", 0)]
    assert matches[0]["provides_optional"] == ["b", "a"]
    assert matches[0]["provides_required"] == []


def test_a_filter_looks_at_each_service_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"c{number}" for number in range(50)]
    for number in range(20):
        version = f"{number % 2 + 1}.0"
        register(client, f"s{number}", capabilities=names, version=version)
    looked_at: list[str] = []
    real = Filter.matches

    def matches(selection: Filter, entry: Entry) -> bool:
        looked_at.append(entry.id)
        return real(selection, entry)

    monkeypatch.setattr(Filter, "matches", matches)
    body = body_of(client.get("/api/capabilities?version=>=2"))
    assert body["count"] == 50
    assert {row["count"] for row in body["capabilities"]} == {10}
    assert len(looked_at) == len(set(looked_at)) == 20
    looked_at.clear()
    asked = {"capabilities": ["c0"], "optional": names}
    body_of(client.post("/api/discover?version=>=2", json=asked))
    assert len(looked_at) == len(set(looked_at)) == 20


# Lists


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("", ["a", "b", "c", "d"]),
        ("status=healthy", ["a", "d"]),
        ("status=active", ["a", "d"]),
        ("status=unhealthy", ["b"]),
        ("status=draining", ["c"]),
        ("status=inactive", ["b", "c"]),
        ("status=draining&status=unhealthy", ["b", "c"]),
        ("capability=x", ["a", "b"]),
        ("capability=x&capability=y", ["b"]),
        ("capability=zz", []),
        ("mode=embedded", ["d"]),
        ("name=Four", ["d"]),
        ("name=", []),
        ("version=", []),
        ("version=1.2.0", ["a", "b", "c"]),
        ("version=%3E%3D1.2%2C%3C2", ["a", "b", "c"]),
        ("version=%3E%3D2", ["d"]),
        ("metadata.region=eu", ["a", "b", "c"]),
        ("metadata.n=7", ["d"]),
        ("metadata.deep.dot=true", ["d"]),
        ("metadata.none=1", []),
    ],
)
def test_filters(
    client: FlaskClient, registry: Registry, argument: str, expected: list[str]
) -> None:
    register(client, "a", capabilities=["x"])
    register(client, "b", capabilities=["x", "y"])
    register(client, "c")
    register(
        client, "d", name="Four", mode="embedded", location="here", version="2.0.1",
        metadata={"n": 7, "deep.dot": True},
    )  # fmt: skip
    add_fault(registry, "b")
    client.put("/api/services/c/drain")
    assert ids(client.get(f"/api/services?{argument}")) == expected


@pytest.mark.parametrize(
    ("argument", "field"),
    [
        ("status=fine", "status"),
        ("mode=smoke", "mode"),
        ("version=%3E%3Dx", "version"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=10001", "limit"),
        ("cursor=!!!", "cursor"),
        ("cursor=", "cursor"),
        ("name=a&name=b", "name"),
        ("stauts=healthy", "stauts"),
        ("metadata.=1", "metadata."),
    ],
)
def test_bad_arguments_are_named(
    client: FlaskClient, argument: str, field: str
) -> None:
    body = problem(client.get(f"/api/services?{argument}"), 400, "invalid_request")
    assert [each["field"] for each in body["errors"]] == [field]


@pytest.mark.parametrize(
    ("path", "items", "key"),
    [
        ("/api/services", "services", "id"),
        ("/api/capabilities/all/services", "services", "id"),
        ("/api/capabilities/all/explain", "providers", "service_id"),
        ("/api/capabilities", "capabilities", "capability"),
    ],
)
def test_pages_cover_the_list_once(
    client: FlaskClient, path: str, items: str, key: str
) -> None:
    for number in range(7):
        register(client, f"s{number}", capabilities=["all", f"c{number}"])
    whole = [each[key] for each in body_of(client.get(path))[items]]
    seen, cursor = [], ""
    for _ in range(10):
        body = body_of(client.get(f"{path}?limit=3{cursor}"))
        assert body["count"] == len(body[items]) <= 3
        seen += [each[key] for each in body[items]]
        if "next" not in body:
            break
        cursor = f"&cursor={body['next']}"
    assert seen == whole


def test_a_page_goes_on_where_it_was_when_the_last_item_is_gone(
    client: FlaskClient,
) -> None:
    for number in range(4):
        register(client, f"s{number}")
    body = body_of(client.get("/api/services?limit=2"))
    client.delete("/api/services/s1")
    assert ids(client.get(f"/api/services?cursor={body['next']}")) == ["s2", "s3"]


READS = [
    "/api/services",
    "/api/services/a",
    "/api/capabilities",
    "/api/capabilities/greet",
    "/api/capabilities/greet/services",
    "/api/capabilities/greet/explain",
    "/api/stats",
]


@pytest.mark.parametrize("path", READS)
def test_reads_carry_etag_and_revision(
    client: FlaskClient, registry: Registry, path: str
) -> None:
    register(client, "a")
    first = client.get(path)
    assert first.headers["X-Registry-Revision"] == str(registry.catalog.revision)
    tag = first.headers["ETag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == tag
    register(client, "a", version="9.9.9")
    after = client.get(path, headers={"If-None-Match": tag})
    assert after.status_code == 200
    assert after.headers["ETag"] != tag
    if path not in READS[1:2] + READS[3:4]:
        assert after.json is not None
        assert after.json["revision"] == registry.catalog.revision


def test_a_capability_that_did_not_change_keeps_its_etag(client: FlaskClient) -> None:
    register(client, "a")
    tag = client.get("/api/capabilities/greet/services").headers["ETag"]
    register(client, "b", capabilities=["other"])
    response = client.get(
        "/api/capabilities/greet/services", headers={"If-None-Match": tag}
    )
    assert response.status_code == 304


# Draining


def test_drain_takes_out_of_discovery_and_back(client: FlaskClient) -> None:
    register(client, "a")
    body = body_of(client.put("/api/services/a/drain", json={"reason": "upgrade"}))
    assert body["status"] == "draining"
    problem(client.get("/api/capabilities/greet"), 503, "no_healthy_provider")
    shown = body_of(client.get("/api/services/a"))
    assert shown["status"] == "draining"
    assert shown["evidence"]["drain"]["reason"] == "upgrade"
    again = body_of(client.put("/api/services/a/drain", json={"reason": "upgrade"}))
    assert again["revision"] == body["revision"]
    back = body_of(client.delete("/api/services/a/drain"))
    assert back["status"] == "healthy"
    assert client.get("/api/capabilities/greet").status_code == 200


def test_drain_hides_and_reveals_a_fault(
    client: FlaskClient, registry: Registry
) -> None:
    register(client, "a")
    client.put("/api/services/a/drain")
    add_fault(registry, "a")
    shown = body_of(client.get("/api/services/a"))
    assert shown["status"] == "draining"
    back = body_of(client.delete("/api/services/a/drain"))
    assert back["status"] == "unhealthy"


@pytest.mark.parametrize("method", ["put", "delete"])
def test_drain_of_an_unknown_service(client: FlaskClient, method: str) -> None:
    response = getattr(client, method)("/api/services/none/drain")
    problem(response, 404, "service_not_found")


# Heartbeats


@pytest.mark.parametrize("path", ["/api/heartbeat/a", "/api/services/a/heartbeat"])
def test_heartbeats(client: FlaskClient, clock: ManualClock, path: str) -> None:
    register(client, "a", ttl=15)
    before = client.get("/api/services/a").json
    clock.advance(5)
    body = body_of(client.post(path))
    assert (body["status"], body["ttl"]) == ("ok", 15.0)
    assert body["message"]
    after = client.get("/api/services/a").json
    assert before is not None and after is not None
    assert after["last_seen"] > before["last_seen"]
    assert after["revision"] == before["revision"], "a heartbeat writes nothing"


def test_a_heartbeat_of_a_stranger_tells_it_to_register(client: FlaskClient) -> None:
    problem(client.post("/api/heartbeat/none"), 404, "not_registered")


def test_a_service_may_report_itself_unhealthy(client: FlaskClient) -> None:
    register(client, "a", mode="standalone", location="here")
    sick = {"status": "unhealthy", "note": "disk full"}
    assert client.post("/api/heartbeat/a", json=sick).status_code == 200
    shown = body_of(client.get("/api/services/a"))
    assert shown["status"] == "unhealthy"
    assert shown["evidence"]["faults"][0]["reason"] == "disk full"
    assert shown["status_reason"] == "disk full"
    assert shown["status_since"] == shown["evidence"]["since"]
    again = client.post("/api/heartbeat/a", json=sick)
    assert again.status_code == 200
    unchanged = body_of(client.get("/api/services/a"))
    assert unchanged["revision"] == shown["revision"]
    assert client.post("/api/heartbeat/a").status_code == 200
    well = body_of(client.get("/api/services/a"))
    assert well["status"] == "healthy"


def test_a_heartbeat_does_not_outvote_the_checks(
    client: FlaskClient, registry: Registry
) -> None:
    register(client, "a")
    add_fault(registry, "a")
    client.post("/api/heartbeat/a", json={"status": "healthy"})
    shown = body_of(client.get("/api/services/a"))
    assert shown["status"] == "unhealthy"


# The registry itself


def test_health(client: FlaskClient, registry: Registry) -> None:
    body = body_of(client.get("/health"))
    assert TIME.fullmatch(body.pop("timestamp"))
    assert body.pop("version")
    assert body == {
        "status": "healthy",
        "service": "modularity-registry",
        "store": "memory",
        "revision": registry.catalog.revision,
        "replica": registry.replica,
        "replicas": [],
    }


def test_without_its_store_it_reads_on_but_is_not_ready(
    client: FlaskClient, registry: Registry
) -> None:
    register(client, "a")
    assert client.get("/ready").status_code == 200
    registry.store.close()
    LOOP.call(registry.view_health.ping())
    health = client.get("/health")
    assert health.status_code == 200
    assert health.json is not None and health.json["status"] == "degraded"
    assert health.json["reasons"]
    problem(client.get("/ready"), 503, "not_ready")
    assert client.get("/api/capabilities/greet").status_code == 200
    problem(
        client.post("/api/register", json=registration("b")), 503, "store_unavailable"
    )
    assert ids(client.get("/api/services")) == ["a"]


def test_a_write_that_the_store_did_not_confirm_has_an_unknown_outcome(
    client: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = OutcomeUnknown.because("the store did not answer")
    monkeypatch.setattr(registry.store, "commit", lambda batch: [unknown])
    reply = client.post("/api/register", json=registration("b"))
    problem(reply, 504, "outcome_unknown")
    assert reply.json is not None
    assert reply.json["detail"] == (
        "the store did not answer; the write may or may not have been made:"
        " read before you retry"
    )


def test_stats(client: FlaskClient, registry: Registry) -> None:
    register(client, "a", capabilities=["x", "y"])
    register(client, "b", metadata={})
    register(client, "c", metadata={"runtime": "go"})
    add_fault(registry, "b")
    client.put("/api/services/c/drain")
    body = body_of(client.get("/api/stats"))
    assert body["total_services"] == 3
    assert (body["active_services"], body["inactive_services"]) == (1, 2)
    assert body["total_capabilities"] == 3
    assert body["services_by_runtime"] == {"python": 1, "unknown": 1, "go": 1}
    statuses = {"healthy": 1, "unhealthy": 1, "draining": 1}
    assert body["services_by_status"] == statuses
    assert {"checks", "watchers", "uptime_seconds"} <= set(body)


# Errors that have no route of their own


@pytest.mark.parametrize("path", ["/nothing", "/api/", "/api/services/", "/api/a/b"])
def test_unknown_paths(client: FlaskClient, path: str) -> None:
    problem(client.get(path), 404, "not_found")


def test_wrong_methods(client: FlaskClient) -> None:
    response = client.post("/api/services")
    problem(response, 405, "method_not_allowed")
    assert "GET" in response.headers["Allow"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", None]
)
def test_a_body_that_is_not_declared_as_json(
    client: FlaskClient, content_type: str | None
) -> None:
    data = json.dumps(registration())
    response = client.post("/api/register", data=data, content_type=content_type)
    problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=UTF-8", "application/x+json"],
)
def test_a_body_that_is(client: FlaskClient, content_type: str) -> None:
    data = json.dumps(registration())
    response = client.post("/api/register", data=data, content_type=content_type)
    assert response.status_code == 201


def test_an_unexpected_failure_is_a_500_without_internals(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Commands, "drain", fail)
    app = create_app(registry)
    app.testing = False
    register(app.test_client(), "a")
    response = app.test_client().put("/api/services/a/drain")
    assert response.status_code == 500
    assert b"secret" not in response.data


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Commands, "drain", fail)
    client = create_app(loaded_registry(debug=True)).test_client()
    register(client, "a")
    assert b"secret" in client.put("/api/services/a/drain").data
    for elsewhere in (
        {"REMOTE_ADDR": "10.0.0.9"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "10.0.0.9"},
    ):
        response = client.put("/api/services/a/drain", environ_base=elsewhere)
        assert response.status_code == 500
        assert b"secret" not in response.data


# Browsers


def test_cors_is_for_the_origins_that_are_set(client: FlaskClient) -> None:
    good = client.get("/api/services", headers={"Origin": "http://localhost:3000"})
    assert good.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    bad = client.get("/api/services", headers={"Origin": "http://evil.example"})
    assert "Access-Control-Allow-Origin" not in bad.headers
    preflight = client.options(
        "/api/services/a",
        headers={
            "Origin": "http://localhost:3000",
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "content-type,if-match",
        },
    )
    assert preflight.status_code == 200
    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]


def test_secrets_of_checks_are_kept_but_never_shown(
    client: FlaskClient, registry: Registry
) -> None:
    check = {"kind": "http", "method": "POST", "headers": {"X-Key": "s3cret"}}
    checks = [{"name": "db", "body": "s3cret", **check}, {"name": "b", "kind": "tcp"}]
    register(client, checks=checks)
    replies = [
        client.get(path).data
        for path in ("/api/services/a", "/api/services", "/api/capabilities/greet")
    ]
    assert all(b"s3cret" not in reply for reply in replies)
    shown = body_of(client.get("/api/services/a"))
    assert shown["checks"] == [
        {
            "name": "db",
            "kind": "http",
            "method": "POST",
            "headers": {"X-Key": "(hidden)"},
            "body": "(hidden)",
        },
        {"name": "b", "kind": "tcp"},
    ]
    assert [each["status"] for each in shown["evidence"]["checks"]] == ["unknown"] * 2
    entry = registry.catalog.service("a")
    assert entry is not None
    assert entry.service.registration.checks[0].headers == {"X-Key": "s3cret"}


def test_a_service_without_checks_is_shown_as_before_and_takes_no_more_memory(
    client: FlaskClient, registry: Registry
) -> None:
    register(client)
    entry = registry.catalog.service("a")
    assert entry is not None and type(entry.vitals) is Vitals
    shown = body_of(client.get("/api/services/a"))
    assert "checks" not in shown
    assert "checks" not in shown["evidence"]


JOBS = "/api/services/a/checks/heartbeat"


def test_a_service_reports_a_check_by_its_name(client: FlaskClient) -> None:
    checks = [{"name": "heartbeat", "kind": "ttl", "ttl": 30}]
    register(client, checks=checks)
    reply = client.post(JOBS, json={"status": "unhealthy", "note": "stuck"})
    assert body_of(reply) == {"status": "ok", "message": "Report received", "ttl": 30.0}
    shown = body_of(client.get("/api/services/a"))
    assert (shown["status"], shown["status_reason"]) == (
        "unhealthy",
        "check 'heartbeat': stuck",
    )
    [fault] = shown["evidence"]["faults"]
    assert (fault["source"], fault["check"]) == ("check", "heartbeat")
    body_of(client.post(JOBS, json={"status": "warning", "note": "slow"}))
    shown = body_of(client.get("/api/services/a"))
    assert (shown["status"], shown["status_reason"]) == (
        "warning",
        "check 'heartbeat': slow",
    )
    assert shown["evidence"]["faults"] == []
    [warning] = shown["evidence"]["warnings"]
    assert (warning["source"], warning["check"]) == ("check", "heartbeat")
    [check] = shown["evidence"]["checks"]
    assert (check["status"], check["message"]) == ("warning", "slow")
    assert check["latency_ms"] is None
    body_of(client.post(JOBS))
    shown = body_of(client.get("/api/services/a"))
    [check] = shown["evidence"]["checks"]
    assert (shown["status"], check["status"]) == ("healthy", "healthy")
    assert "warnings" not in shown["evidence"]


def test_only_a_check_of_its_kind_is_reported(client: FlaskClient) -> None:
    problem(client.post(JOBS), 404, "not_registered")
    register(client, checks=[{"name": "heartbeat", "kind": "tcp"}])
    problem(client.post(JOBS), 404, "not_registered")
    problem(client.post(JOBS, json={"status": "ill"}), 400, "invalid_request")
