"""What every reply tells a browser: it is what its type says, and nobody's to keep."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import Client, TestResponse

from modularity_registry.api.app import create_app
from modularity_registry.runtime import Registry
from modularity_registry.serve import failure
from modularity_registry.serving.front import Front
from modularity_registry.serving.wsgi import Bridge
from modularity_registry.writes.commands import Commands
from support.hot_path import HotPath
from support.registry import loaded_registry, registration, unload

PAGES = ("/", "/assets/main.js", "/docs", "/docs/swagger-ui.css", "/openapi.json")
# Answered by the hot path, by Flask, and as every kind of error.
CALLS = (
    ("GET", "/api/services/a"),
    ("GET", "/api/capabilities/greet"),
    ("GET", "/api/capabilities/greet/services"),
    ("POST", "/api/heartbeat/a"),
    ("GET", "/api/services"),
    ("GET", "/api/services?limit=0"),
    ("GET", "/api/events"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/no/such/call"),
    ("POST", "/health"),
    ("POST", "/api/register"),
    ("OPTIONS", "/api/services"),
    ("PUT", "/api/services/a/drain"),
)


@pytest.fixture
def closed() -> Iterator[Registry]:
    registry = loaded_registry(auth=True)
    yield registry
    registry.hub.stop()
    unload(registry)


@pytest.fixture(params=["hot", "flask"])
def caller(request: pytest.FixtureRequest, registry: Registry) -> Iterator[Client]:
    app: Any = create_app(registry)
    client = Client(HotPath(registry, app) if request.param == "hot" else app)
    body = registration("a", mode="standalone", location="here")
    assert client.post("/api/register", json=body).status_code == 201
    yield client
    registry.hub.stop()


def asked(client: Client, method: str, path: str) -> TestResponse:
    response = client.open(path, method=method)
    response.close()  # or a stream would go on
    return response


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_no_reply_is_taken_for_something_else(
    caller: Client, method: str, path: str
) -> None:
    reply = asked(caller, method, path)
    assert reply.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert reply.headers.getlist("Vary") == ["Origin, X-Zone"]
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("status", [304, 412])
def test_conditions_change_nothing_of_that(caller: Client, status: int) -> None:
    if status == 304:
        headers = {"If-None-Match": caller.get("/api/services/a").headers["ETag"]}
        reply = caller.get("/api/services/a", headers=headers)
    else:
        reply = caller.delete("/api/services/a", headers={"If-Match": '"99"'})
    assert reply.status_code == status
    assert reply.headers.getlist("X-Content-Type-Options") == ["nosniff"]


def test_nor_does_a_fault_of_the_registrys_own(
    caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("x")

    monkeypatch.setattr(Commands, "drain", fail)
    reply = caller.put("/api/services/a/drain")
    assert reply.status_code == 500
    assert reply.headers.getlist("X-Content-Type-Options") == ["nosniff"]


def test_not_even_one_outside_of_flask() -> None:
    sent: list[dict[str, Any]] = []

    def fail(environ: Any, start_response: Any) -> Any:
        raise RuntimeError("x")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "127.0.0.1"}
    bridge = Bridge(fail, Front(), failure, threads=1)
    asyncio.run(bridge({"environ": environ}, None, send))
    assert sent[0]["status"] == 500
    assert (b"X-Content-Type-Options", b"nosniff") in sent[0]["headers"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_on_its_own(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(
        part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == policy["form-action"] == "'none'"
    for loaded in ("script-src", "style-src", "connect-src"):
        assert policy[loaded] == "'self'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["Cache-Control"] == "no-cache"
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize("hot", [True, False])
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_where_there_are_tokens_nobody_may_keep_a_reply(
    closed: Registry, hot: bool, method: str, path: str
) -> None:
    app: Any = create_app(closed)
    client = Client(HotPath(closed, app) if hot else app)
    reply = asked(client, method, path)
    assert reply.headers.getlist("Cache-Control") == ["no-store"]


def test_the_pages_are_the_same_for_everybody(closed: Registry) -> None:
    client = create_app(closed).test_client()
    for path in PAGES:
        reply = client.get(path)
        assert (reply.status_code, reply.headers["Cache-Control"]) == (200, "no-cache")


def test_without_tokens_readers_may_keep_what_they_read(client: FlaskClient) -> None:
    reply = client.get("/api/services")
    assert "Cache-Control" not in reply.headers
    assert "ETag" in reply.headers
