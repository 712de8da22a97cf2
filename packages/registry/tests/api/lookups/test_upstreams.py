"""When an upstream may answer, and that the hot path stays as it is."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import RegistryFront
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Lost
from support.hot_path import ask
from support.registry import (
    LOOP,
    deliver,
    eventually,
    loaded_registry,
    on_loop,
    registration,
    unload,
)
from support.servers.registry import Registered

GREET = "/api/capabilities/greet"


@pytest.fixture(scope="module")
def west() -> Iterator[Registered]:
    """A registry with a healthy provider of "greet"."""
    registry = Registered()
    registry.register("far", "127.0.0.1:9001", mode="standalone")
    yield registry
    registry.stop()


@pytest.fixture
def registry(west: Registered) -> Iterator[Registry]:
    """A registry that follows it."""
    registry = loaded_registry(
        upstream=(f"west={west.url}",), allowed_origins=("http://page",)
    )
    on_loop(registry.upstreams.start)
    eventually(lambda: registry.upstreams.states()[0].reason is None)
    yield registry
    LOOP.call(registry.upstreams.stop())
    unload(registry)


@pytest.fixture
def client(registry: Registry) -> FlaskClient:
    return create_app(registry).test_client()


def test_a_view_that_is_not_current_lets_nobody_else_answer(
    registry: Registry, client: FlaskClient
) -> None:
    assert client.get(GREET).headers["X-Registry-Source"] == "west"
    deliver(registry, Lost("the store is away"))
    reply = client.get(GREET)
    assert reply.status_code == 404
    assert "X-Registry-Source" not in reply.headers
    assert reply.json is not None
    assert "no upstream was asked" in reply.json["detail"]


def test_a_call_of_another_registry_is_answered_from_here_alone(
    client: FlaskClient,
) -> None:
    only = {"X-Registry-Local-Only": "1"}
    assert client.get(GREET, headers=only).status_code == 404
    reply = client.get(f"{GREET}/explain", headers=only)
    assert reply.json is not None
    assert "upstream" not in reply.json["detail"]


def test_pages_of_other_origins_may_read_the_source(client: FlaskClient) -> None:
    reply = client.get(GREET, headers={"Origin": "http://page"})
    assert "X-Registry-Source" in reply.headers["Access-Control-Expose-Headers"]
    assert reply.headers["X-Registry-Source"] == "west"


def test_a_head_request_is_answered_as_well(client: FlaskClient) -> None:
    reply = client.head(GREET)
    assert reply.headers["X-Registry-Source"] == "west"
    assert reply.data == b""


def test_the_hot_path_answers_for_providers_here_and_nothing_else(
    registry: Registry, client: FlaskClient
) -> None:
    front = RegistryFront(registry, client.application)
    assert ask(registry, front, "GET", GREET) is None
    body = registration("near", mode="standalone", location="here")
    client.post("/api/register", json=body)
    hot, cold = ask(registry, front, "GET", GREET), client.get(GREET)
    assert hot is not None
    assert (hot[0], hot[2]) == (cold.status_code, cold.data)
    assert {*hot[1]} == {name.lower() for name, _ in cold.headers}
    assert registry.upstreams.lookups.total() == 0
