"""Registers services over HTTP, and asks who of them is returned."""

import json
from typing import Any

import msgspec
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from support.registry import registration

DRAWS = 60
"""By chance, one of two providers is missing among so many once in 10**17."""


def register(client: FlaskClient, service_id: str, **changes: Any) -> None:
    reply = client.post("/api/register", json=registration(service_id, **changes))
    assert reply.status_code in (200, 201), reply.text


def report(client: FlaskClient, service_id: str, status: str, note: str = "") -> None:
    said = {"status": status, "note": note}
    reply = client.post(f"/api/heartbeat/{service_id}", json=said)
    assert reply.status_code == 200, reply.text


def json_of(response: TestResponse) -> Any:
    return json.loads(response.data)


def get(client: FlaskClient, path: str, **headers: str) -> Any:
    reply = client.get(path, headers=headers)
    assert reply.status_code == 200, reply.text
    return json_of(reply)


def picked(client: FlaskClient, query: str = "", zone: str | None = None) -> set[str]:
    """Return who is returned by some lookup."""
    headers = {} if zone is None else {"X-Zone": zone}
    path = f"/api/capabilities/greet{query}"
    return {get(client, path, **headers)["id"] for _ in range(DRAWS)}


class FormerRegistration(msgspec.Struct):
    """A registration as versions read it that know none of its newer fields."""

    id: str
    name: str


class FormerService(msgspec.Struct):
    registration: FormerRegistration
