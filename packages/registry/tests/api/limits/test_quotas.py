"""How much may be registered, by one token and in total."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from modularity_registry import tokens
from modularity_registry.api.app import create_app
from modularity_registry.model.rights import Right, TokenRequest
from modularity_registry.runtime import Registry
from support.registry import loaded_registry, registration, unload


@contextmanager
def served(**settings: Any) -> Iterator[tuple[Registry, FlaskClient]]:
    registry = loaded_registry(**settings)
    try:
        yield registry, create_app(registry).test_client()
    finally:
        unload(registry)


def token(registry: Registry, name: str) -> dict[str, str]:
    """Return the headers of a new token's holder."""
    backend = registry.token_backend
    assert backend is not None
    request = TokenRequest(name, frozenset({Right.REGISTER, Right.READ}))
    issued = tokens.create(backend, request, registry.clock.now())
    return {"Authorization": f"Bearer {issued.text}"}


def register(
    client: FlaskClient, service_id: str, headers: Any = None, **changes: Any
) -> TestResponse:
    body = registration(service_id, **changes)
    return client.post("/api/register", json=body, headers=headers)


def code(response: TestResponse) -> tuple[int, str]:
    return response.status_code, json.loads(response.data)["code"]


def test_a_token_owns_so_many_services_and_no_more() -> None:
    with served(auth=True, max_services_per_token=2) as (registry, client):
        ci, other = token(registry, "ci"), token(registry, "other")
        for service_id in ("a", "b"):
            assert register(client, service_id, ci).status_code == 201
        response = register(client, "c", ci)
        assert code(response) == (403, "quota_exceeded")
        assert "2 services" in response.text and "unregister" in response.text
        assert len(registry.catalog) == 2
        assert register(client, "b", ci, version="2").status_code == 200
        assert register(client, "c", other).status_code == 201
        assert client.delete("/api/services/a", headers=ci).status_code == 200
        assert register(client, "d", ci).status_code == 201
        assert registry.degraded() == []


def test_a_token_owns_so_many_bytes_and_no_more() -> None:
    large = {"metadata": {"a": "x" * 15_000}}
    with served(auth=True, max_megabytes_per_token=1) as (registry, client):
        ci = token(registry, "ci")
        replies = [register(client, f"s{n}", ci, **large) for n in range(70)]
        refused = [reply for reply in replies if reply.status_code == 403]
        assert code(refused[0]) == (403, "quota_exceeded")
        held = registry.catalog.bytes_by_owner["ci"]
        assert 0.98 * 2**20 < held <= 2**20
        assert register(client, "s0", ci, **large).status_code == 200
        assert register(client, "s0", ci).status_code == 200, "a smaller one"
        assert register(client, "s69", ci, **large).status_code == 201


@pytest.mark.parametrize("headers", [{}, {"X-Owner-Key": "a-long-secret-text"}])
def test_the_total_holds_for_everybody_and_health_says_so(
    headers: dict[str, str],
) -> None:
    with served(max_services=2, max_services_per_token=1) as (registry, client):
        for service_id in ("a", "b"):
            assert register(client, service_id, headers).status_code == 201
        response = register(client, "c", headers)
        assert code(response) == (503, "registry_full")
        assert response.headers["Retry-After"]
        assert register(client, "b", headers).status_code == 200
        [reason] = registry.degraded()
        assert "--max-services" in reason
        client.delete("/api/services/a", headers=headers)
        assert registry.degraded() == []


def test_bytes_in_total() -> None:
    with served(max_megabytes=1) as (registry, client):
        large = {"metadata": {"a": "x" * 15_000}}
        replies = [register(client, f"s{n}", **large) for n in range(70)]
        assert code(replies[-1]) == (503, "registry_full")
        assert registry.catalog.document_bytes <= 2**20


def test_without_limits_there_are_none() -> None:
    with served(max_services=0) as (registry, client):
        assert register(client, "a").status_code == 201
        assert not registry.quotas.services.is_full


def test_what_is_held_shows_in_stats_and_metrics() -> None:
    with served(auth=True, max_services=10, max_services_per_token=2) as (
        registry,
        client,
    ):
        ci = token(registry, "ci")
        register(client, "a", ci)
        register(client, "b", ci)
        size = registry.catalog.document_bytes
        stats = json.loads(client.get("/api/stats", headers=ci).data)
        assert stats["quotas"] == {
            "services": {"held": 2, "limit": 10},
            "bytes": {"held": size, "limit": None},
            "services_per_token": 2,
            "bytes_per_token": None,
            "owners": [{"name": "ci", "services": 2, "bytes": size}],
        }
        text = client.get("/metrics", headers=ci).text
        assert "registry_services_limit 10.0" in text
        assert f"registry_registrations_bytes {float(size)}" in text


def test_counts_follow_the_catalog() -> None:
    with served(auth=True) as (registry, client):
        ci = token(registry, "ci")
        register(client, "a", ci)
        register(client, "a", ci, metadata={"b": 1})
        assert registry.catalog.by_owner == {"ci": 1}
        entry = registry.catalog.service("a")
        assert entry is not None
        assert registry.catalog.bytes_by_owner["ci"] == len(entry.document)
        client.delete("/api/services/a", headers=ci)
        assert registry.catalog.by_owner == {}
        assert registry.catalog.document_bytes == 0
