"""Which paths there are in a namespace, and what the others answer."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import Client

from modularity_registry.api.app import create_app
from support.hot_path import HotPath
from support.namespaces import A, B, divided
from support.registry import loaded_registry, registration, unload


@pytest.fixture(params=["flask", "hot path"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with divided() as registry:
        app: Any = create_app(registry)
        yield Client(HotPath(registry, app) if request.param == "hot path" else app)


def register(client: Client, api: str, service_id: str, **changes: Any) -> int:
    body = registration(service_id, mode="standalone", **changes)
    return client.post(f"{api}/register", json=body).status_code


def test_one_id_names_another_service_in_each_namespace(client: Client) -> None:
    for api, name in (("/api", "default"), (A, "of a"), (B, "of b")):
        assert register(client, api, "web", name=name) == 201
        assert register(client, api, "web", name=name) == 200
    for api, name in (("/api", "default"), (A, "of a"), (B, "of b")):
        assert client.get(f"{api}/services/web").get_json()["name"] == name
        assert client.get(f"{api}/capabilities/greet").get_json()["name"] == name
    assert client.delete(f"{A}/unregister/web").status_code == 200
    assert client.get(f"{A}/services/web").status_code == 404
    assert client.get(f"{B}/services/web").status_code == 200
    assert client.get("/api/services/web").status_code == 200


def test_the_default_namespace_has_a_name_as_well(client: Client) -> None:
    assert register(client, "/api/ns/default", "web") == 201
    plain, named = (
        client.get(f"{api}/services/web") for api in ("/api", "/api/ns/default")
    )
    assert (plain.status_code, plain.data) == (named.status_code, named.data)


def test_only_paths_of_the_api_are_in_a_namespace(client: Client) -> None:
    for path in ("", "/", "/health", "/metrics", "/docs", "/openapi.json", "/nothing"):
        reply = client.get(f"{A}{path}")
        assert (reply.status_code, reply.get_json()["code"]) == (404, "not_found"), path
    for path in ("/ns/team-b/services", "/namespaces"):
        reply = client.get(f"{A}{path}")
        assert reply.status_code == 404, path


def test_an_unknown_namespace_says_what_to_do(client: Client) -> None:
    for call in (
        client.get("/api/ns/team-c/services"),
        client.get("/api/ns/team-c"),
        client.get("/api/ns/"),
        client.post("/api/ns/team-c/register", json=registration("web")),
        client.get("/api/ns/Team-A/services"),
    ):
        assert call.status_code == 404
        assert call.get_json()["code"] == "unknown_namespace"
        assert "--namespace" in call.get_json()["detail"]


def test_the_namespaces_are_listed(client: Client) -> None:
    register(client, A, "web")
    assert client.get("/api/namespaces").get_json() == {
        "namespaces": [
            {"name": "default", "services": 0, "capabilities": 0},
            {"name": "team-a", "services": 1, "capabilities": 1},
            {"name": "team-b", "services": 0, "capabilities": 0},
        ],
        "count": 3,
    }
    assert client.get("/api/namespaces?limit=1").status_code == 400


def test_a_registry_without_namespaces_lists_the_default_one() -> None:
    registry = loaded_registry()
    client = Client(create_app(registry))
    reply = client.get("/api/namespaces").get_json()
    assert json.dumps(reply["namespaces"]) == (
        '[{"name": "default", "services": 0, "capabilities": 0}]'
    )
    assert client.get("/api/ns/team-a/services").get_json()["code"] == (
        "unknown_namespace"
    )
    unload(registry)
