"""Traffic splits over HTTP: who may set them, what callers get, what they are told."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from modularity_registry import config, runtime
from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import RegistryFront
from modularity_registry.events import Interest
from modularity_registry.model.split import MOST_GROUPS
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Lost
from modularity_registry.stores.memory import MemoryStore
from support.events import Recorder, frames
from support.hot_path import ask
from support.registry import (
    LOOP,
    ManualClock,
    deliver,
    eventually,
    on_loop,
    registration,
    unload,
)
from support.shared_memory_store import Handle

SPLIT = "/api/capabilities/greet/split"


def json_of(response: TestResponse) -> Any:
    return json.loads(response.data)


def register(client: FlaskClient, service_id: str, **changes: Any) -> None:
    reply = client.post("/api/register", json=registration(service_id, **changes))
    assert reply.status_code in (200, 201), reply.text


def picked(client: FlaskClient, query: str = "", name: str = "greet") -> set[str]:
    path = f"/api/capabilities/{name}{query}"
    return {json_of(client.get(path))["id"] for _ in range(20)}


@pytest.fixture
def versions(client: FlaskClient) -> FlaskClient:
    register(client, "a", version="1.4.2")
    register(client, "b", version="2.0.0")
    register(client, "c", version="3", metadata={"tag": "canary"})
    return client


def test_a_split_is_set_read_and_ended(versions: FlaskClient) -> None:
    assert versions.get(SPLIT).status_code == 404
    reply = versions.put(SPLIT, json={"v2": 10, "v1": 90})
    assert reply.status_code == 201
    body = json_of(reply)
    revision = body.pop("revision")
    assert body == {
        "status": "split",
        "capability": "greet",
        "split": {"v1": 90, "v2": 10},
        "message": "The calls of 'greet' are split",
    }
    reply = versions.get(SPLIT)
    assert json_of(reply) == {"v1": 90, "v2": 10}
    assert reply.headers["ETag"] == f'W/"{revision}"'
    assert versions.put(SPLIT, json={"v1": 1}).status_code == 200
    assert json_of(versions.delete(SPLIT))["status"] == "ended"
    missing = json_of(versions.get(SPLIT))
    assert missing["code"] == "split_not_found"
    assert versions.delete(SPLIT).status_code == 404


def test_a_split_that_changes_nothing_is_not_written(versions: FlaskClient) -> None:
    first = json_of(versions.put(SPLIT, json={"v1": 1}))
    again = versions.put(SPLIT, json={"v1": 1})
    assert again.status_code == 200
    assert json_of(again)["revision"] == first["revision"]


@pytest.mark.parametrize("hot", [True, False], ids=["hot", "flask"])
def test_callers_get_a_provider_of_the_group(
    registry: Registry, versions: FlaskClient, hot: bool
) -> None:
    front = RegistryFront(registry, create_app(registry))

    def ids(query: str = "") -> set[str]:
        if not hot:
            return picked(versions, f"?{query}")
        replies = [ask(registry, front, "GET", "/api/capabilities/greet", query)]
        replies += [
            ask(registry, front, "GET", "/api/capabilities/greet", query)
            for _ in range(20)
        ]
        assert None not in replies
        return {json.loads(reply[2])["id"] for reply in replies if reply is not None}

    assert ids() == {"a", "b", "c"}
    versions.put(SPLIT, json={"v2": 1, "canary": 0})
    assert ids() == {"b"}
    assert ids("strategy=weighted") == {"b"}
    assert ids("strategy=hash&key=k") == {"b"}
    assert ids("near=z") == {"b"}
    # Filters come first: of what they leave, nobody is in a group with weight.
    assert ids("metadata.tag=canary") == {"c"}
    assert ids("version=>=1,<2") == {"a"}
    versions.delete(SPLIT)
    assert ids() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "the body"),
        ({"v1": 0}, "the body"),
        ({"v1": 1, "1": 1}, "the body"),
        ({"v1": -1}, "v1"),
        ({"v1": 10_001}, "v1"),
        ({"v1": 1.5}, "v1"),
        ({"v1": "1"}, "v1"),
        ({"v1": True}, "v1"),
        ({"v 1": 1}, "v 1"),
        ({"": 1}, ""),
        ({f"v{number}": 1 for number in range(MOST_GROUPS + 1)}, "the body"),
    ],
)
def test_a_bad_split_says_what_is_wrong(
    versions: FlaskClient, body: dict[str, Any], field: str
) -> None:
    reply = versions.put(SPLIT, json=body)
    assert reply.status_code == 400
    errors = json_of(reply)["errors"]
    assert [error["field"] for error in errors] == [field or "the body"]
    assert versions.get(SPLIT).status_code == 404


@pytest.mark.parametrize("name", ["a b", "x/../y", 129 * "x", "-x"])
def test_a_name_that_no_capability_can_have_is_refused(
    client: FlaskClient, name: str
) -> None:
    reply = client.put(f"/api/capabilities/{name}/split", json={"v1": 1})
    assert reply.status_code == 400, reply.text
    assert json_of(reply)["errors"][0]["field"] == "name"


def test_names_may_hold_slashes(client: FlaskClient) -> None:
    register(client, "a", version="1.0", capabilities=["x/y", "x"])
    register(client, "b", version="2.0", capabilities=["x/y", "x"])
    client.put("/api/capabilities/x/y/split", json={"v2": 1})
    assert picked(client, name="x/y") == {"b"}
    assert picked(client, name="x") == {"a", "b"}
    assert json_of(client.get("/api/capabilities/x/y/split")) == {"v2": 1}
    assert client.get("/api/capabilities/x/split").status_code == 404


def test_a_capability_that_ends_in_split_is_looked_up_as_ever(
    registry: Registry, client: FlaskClient
) -> None:
    register(client, "a", capabilities=["x/split"])
    client.put("/api/capabilities/x/split", json={"v2": 1})
    front = RegistryFront(registry, create_app(registry))
    assert json_of(client.get("/api/capabilities/x/split"))["id"] == "a"
    hot = ask(registry, front, "GET", "/api/capabilities/x/split")
    assert hot is not None and json.loads(hot[2])["id"] == "a"
    client.delete("/api/services/a")
    assert client.get("/api/capabilities/x/split").status_code == 503
    listed = json_of(client.get("/api/splits"))["splits"]
    assert [each["capability"] for each in listed] == ["x"]


def test_conditions_hold_for_splits(versions: FlaskClient) -> None:
    def put(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"v1": len(statuses) + 1}
        return versions.put(SPLIT, json=body, headers=named).status_code

    statuses: list[int] = []
    statuses.append(put(If_Match="*"))
    statuses.append(put(If_None_Match="*"))
    statuses.append(put(If_None_Match="*"))
    tag = versions.get(SPLIT).headers["ETag"]
    statuses.append(put(If_Match=tag))
    statuses.append(put(If_Match=tag))
    assert statuses == [412, 201, 412, 200, 412]
    problem = json_of(versions.delete(SPLIT, headers={"If-Match": tag}))
    assert problem["code"] == "revision_mismatch"
    assert problem["detail"].startswith("the split of 'greet' is at revision ")
    assert versions.delete(SPLIT, headers={"If-Match": "*"}).status_code == 200


def test_all_splits_are_listed_in_pages(client: FlaskClient) -> None:
    names = ["a", "b/c", "d"]
    for name in reversed(names):
        client.put(f"/api/capabilities/{name}/split", json={"v1": 1})
    first = json_of(client.get("/api/splits?limit=2"))
    assert [each["capability"] for each in first["splits"]] == names[:2]
    assert first["splits"][0]["split"] == {"v1": 1}
    rest = json_of(client.get(f"/api/splits?cursor={first['next']}"))
    assert [each["capability"] for each in rest["splits"]] == names[2:]
    assert "next" not in rest
    assert client.get("/api/splits?status=healthy").status_code == 400


def test_the_list_of_providers_tells_of_a_split_that_there_is(
    registry: Registry, versions: FlaskClient
) -> None:
    path = "/api/capabilities/greet/services"
    front = RegistryFront(registry, create_app(registry))

    def both() -> tuple[dict[str, Any], str]:
        hot, flask = ask(registry, front, "GET", path), versions.get(path)
        assert hot is not None and hot[2] == flask.data
        assert hot[1]["etag"] == flask.headers["ETag"]
        return json_of(flask), hot[1]["etag"]

    plain, first = both()
    assert plain.keys() == {"services", "count", "revision"}
    versions.put(SPLIT, json={"v1": 1, "v2": 2})
    body, second = both()
    assert body["split"] == {"v1": 1, "v2": 2}
    versions.delete(SPLIT)
    assert both()[0].keys() == plain.keys()
    assert len({first, second, both()[1]}) == 3
    page = json_of(versions.get(f"{path}?limit=1"))
    assert page.keys() == {*plain, "next"}


def test_a_split_of_what_nobody_offers_is_told_too(client: FlaskClient) -> None:
    path = "/api/capabilities/greet/services"
    before = client.get(path).headers["ETag"]
    client.put(SPLIT, json={"v1": 1})
    reply = client.get(path, headers={"If-None-Match": before})
    assert reply.status_code == 200
    assert json_of(reply)["split"] == {"v1": 1}


def test_explain_says_who_is_in_which_group_and_who_gets_no_calls(
    versions: FlaskClient,
) -> None:
    path = "/api/capabilities/greet/explain"
    assert all("group" not in row for row in json_of(versions.get(path))["providers"])
    versions.put(SPLIT, json={"v1": 1, "canary": 0})
    body = json_of(versions.get(path))
    assert body["split"] == {"canary": 0, "v1": 1}
    rows = {row["service_id"]: row for row in body["providers"]}
    assert {key: row["group"] for key, row in rows.items()} == {
        "a": "v1",
        "b": None,
        "c": "canary",
    }
    assert {key: row["reasons"] for key, row in rows.items()} == {
        "a": [],
        "b": ["it is in no group of the split, and others are"],
        "c": ["its group canary has weight 0, and others have more"],
    }
    # Of what the filter leaves, c is the only one in a group.
    rows = {
        row["service_id"]: row
        for row in json_of(versions.get(f"{path}?metadata.tag=canary"))["providers"]
    }
    assert rows["c"]["returned"] and not rows["a"]["returned"]
    versions.put("/api/services/a/drain")
    rows = {row["service_id"]: row for row in json_of(versions.get(path))["providers"]}
    assert rows["c"]["returned"] and not rows["b"]["returned"]


def heard(registry: Registry, interest: Interest, act: Callable[[], object]) -> Any:
    """Return the events that somebody hears of while ``act`` runs, as they are sent."""
    recorder = Recorder()
    on_loop(lambda: registry.hub.watch(recorder, interest))
    act()
    eventually(lambda: len(recorder.batches) > 0)
    on_loop(lambda: registry.hub.leave(recorder))
    return frames(b"".join(batch.text for batch in recorder.batches))


def test_those_who_watch_the_capability_hear_of_its_split(
    registry: Registry, versions: FlaskClient
) -> None:
    interest = Interest(capabilities=frozenset({"greet"}))
    other = Interest(capabilities=frozenset({"other"}))
    deaf = Recorder()
    on_loop(lambda: registry.hub.watch(deaf, other))
    [told] = heard(registry, interest, lambda: versions.put(SPLIT, json={"v1": 1}))
    assert told["event"] == "capability.split_changed"
    assert told["data"] == {"capability": "greet", "split": {"v1": 1}}
    assert told["revision"] == registry.catalog.revision
    [told] = heard(registry, interest, lambda: versions.delete(SPLIT))
    assert told["data"] == {"capability": "greet", "split": None}
    on_loop(lambda: registry.hub.leave(deaf))
    assert deaf.batches == []


def test_a_stream_resumes_with_splits_in_their_place(
    registry: Registry, versions: FlaskClient
) -> None:
    before = registry.hub.position
    versions.put(SPLIT, json={"v1": 1})
    register(versions, "d")
    recorder = Recorder()
    on_loop(lambda: registry.hub.watch(recorder, Interest(), before))
    eventually(lambda: len(recorder.events) == 2)
    kinds = [event.kind for event in recorder.events]
    assert kinds == ["capability.split_changed", "service.registered"]
    # From amid: after the split alone.
    after = recorder.events[0].position
    on_loop(lambda: registry.hub.leave(recorder))
    rest = Recorder()
    on_loop(lambda: registry.hub.watch(rest, Interest(), after))
    eventually(lambda: len(rest.events) > 0)
    on_loop(lambda: registry.hub.leave(rest))
    assert [event.services for event in rest.events] == [("d",)]


def test_other_replicas_follow() -> None:
    shared = MemoryStore()
    first = runtime.build(config.Settings(), ManualClock(), store=Handle(shared))
    second = runtime.build(config.Settings(), ManualClock(), store=Handle(shared))
    for each in (first, second):
        LOOP.call(each.feed.start())
    one, other = (create_app(each).test_client() for each in (first, second))
    register(one, "a", version="1")
    register(one, "b", version="2")
    one.put(SPLIT, json={"v2": 1})
    assert picked(other) == {"b"}
    late = runtime.build(config.Settings(), ManualClock(), store=Handle(shared))
    LOOP.call(late.feed.start())
    assert picked(create_app(late).test_client()) == {"b"}
    other.delete(SPLIT)
    assert picked(one) == {"a", "b"}
    for each in (first, second, late):
        unload(each)


def test_a_split_that_the_store_cannot_take_is_not_in_effect(
    registry: Registry, versions: FlaskClient
) -> None:
    deliver(registry, Lost("away"))
    reply = versions.put(SPLIT, json={"v2": 1})
    assert reply.status_code == 503
    assert picked(versions) == {"a", "b", "c"}


def test_no_more_splits_than_there_may_be(
    versions: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modularity_registry.writes.splits.MOST_SPLITS", 1)
    versions.put("/api/capabilities/other/split", json={"v1": 1})
    reply = versions.put(SPLIT, json={"v1": 1})
    assert (reply.status_code, json_of(reply)["code"]) == (503, "registry_full")
    again = versions.put("/api/capabilities/other/split", json={"v1": 2})
    assert again.status_code == 200
