"""Which web pages may read, which may write, and that none but ours may by default."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import Client

from modularity_registry.api.app import create_app
from modularity_registry.runtime import Registry
from support.hot_path import HotPath
from support.registry import loaded_registry, registration

FRIEND = "http://localhost:3000"
STRANGER = "http://evil.example"
ALLOWED = "Access-Control-Allow-Origin"
SHARED = ("/api/services", "/health", "/ready", "/openapi.json", "/api/no/such/call")
WRITES = (
    ("POST", "/api/heartbeat/a"),
    ("POST", "/api/services/a/heartbeat"),
    ("POST", "/api/register"),
    ("POST", "/api/track/invocation"),
    ("POST", "/api/track/invocations"),
    ("PUT", "/api/services/a"),
    ("PUT", "/api/services/a/drain"),
    ("DELETE", "/api/services/a/drain"),
    ("DELETE", "/api/services/a"),
    ("DELETE", "/api/unregister/a"),
)


def calling(**settings: Any) -> Client:
    """A registry that has the service `a`."""
    registry = loaded_registry(**settings)
    app: Any = create_app(registry)
    client = Client(HotPath(registry, app))
    body = registration("a", mode="standalone", location="here", ttl=30)
    assert client.post("/api/register", json=body).status_code == 201
    return client


@pytest.fixture(scope="module")
def shared() -> Client:
    return calling()


@pytest.mark.parametrize("path", SHARED)
def test_allowed_pages_may_read_what_is_for_programs(shared: Client, path: str) -> None:
    reply = shared.get(path, headers={"Origin": FRIEND})
    assert reply.headers.getlist(ALLOWED) == [FRIEND]
    assert reply.headers.getlist("Vary") == ["Origin, X-Zone"]
    exposed = reply.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"ETag", "X-Registry-Revision", "Retry-After"} <= set(exposed)
    assert "Access-Control-Allow-Credentials" not in reply.headers


@pytest.mark.parametrize("path", ["/", "/metrics", "/docs", "/assets/main.js"])
def test_nobody_elses_page_reads_ours_or_the_metrics(shared: Client, path: str) -> None:
    reply = shared.get(path, headers={"Origin": FRIEND})
    assert reply.status_code == 200
    assert ALLOWED not in reply.headers


@pytest.mark.parametrize(
    "origin",
    [
        STRANGER,
        "null",
        "",
        "http://localhost:30001",
        "http://localhost:3000.evil.example",
        "http://evil.example/http://localhost:3000",
        "https://localhost:3000",
        "http://localhost",
        "http://localhost:3000\tx",
    ],
)
def test_others_may_read_nothing(shared: Client, origin: str) -> None:
    for path in SHARED:
        reply = shared.get(path, headers={"Origin": origin})
        assert ALLOWED not in reply.headers
        assert reply.headers.getlist("Vary") == ["Origin, X-Zone"]


def test_a_preflight_says_what_may_be_sent(shared: Client) -> None:
    wanted = "authorization,content-type,if-match,x-owner-key,x-evil"
    reply = shared.options(
        "/api/services/a",
        headers={
            "Origin": FRIEND,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": wanted,
        },
    )
    assert reply.status_code == 200
    assert reply.headers[ALLOWED] == FRIEND
    sent = set(reply.headers["Access-Control-Allow-Headers"].split(", "))
    assert sent == set(wanted.split(",")) - {"x-evil"}
    assert "PUT" in reply.headers["Access-Control-Allow-Methods"]
    assert int(reply.headers["Access-Control-Max-Age"]) > 0


def test_a_preflight_needs_no_token() -> None:
    registry = loaded_registry(auth=True)
    client = create_app(registry).test_client()
    reply = client.options(
        "/api/services/a",
        headers={
            "Origin": FRIEND,
            "Access-Control-Request-Method": "DELETE",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert reply.status_code == 200
    assert reply.headers["Access-Control-Allow-Headers"] == "authorization"
    # And what it may not do without one, its page may read.
    refused = client.get("/api/services", headers={"Origin": FRIEND})
    assert (refused.status_code, refused.headers[ALLOWED]) == (401, FRIEND)


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        (("*",), ("http://any.example", "https://a:1"), ("null", "NULL")),
        ((), (), (FRIEND, "null")),
        # Not a pattern, though it looks like one.
        (("http://[::1]:3000",), ("http://[::1]:3000",), ("http://::3000", "http://:")),
        (("http://a.example",), ("http://a.example",), ("http://axexample",)),
    ],
)
def test_origins_mean_what_they_say(
    allowed: tuple[str, ...], good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    client = calling(allowed_origins=allowed)
    for origin in good:
        reply = client.get("/api/services", headers={"Origin": origin})
        assert reply.headers[ALLOWED] == origin
        assert client.post("/api/heartbeat/a", headers={"Origin": origin}).json
    for origin in bad:
        reply = client.get("/api/services", headers={"Origin": origin})
        assert ALLOWED not in reply.headers
        reply = client.post("/api/heartbeat/a", headers={"Origin": origin})
        assert reply.status_code == 403


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": STRANGER},
        {"Origin": "null"},
        {"Origin": STRANGER, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1234"},
        {"Origin": "http://localhost", "Host": "localhost:5000"},
        {"Origin": "https://localhost:5000", "Host": "localhost:5000"},
        {"Origin": "http://", "Host": ""},
    ],
)
def test_pages_of_elsewhere_may_change_nothing(
    shared: Client, method: str, path: str, headers: dict[str, str]
) -> None:
    before = shared.get("/api/services").data
    reply = shared.open(path, method=method, headers=headers)
    assert reply.status_code == 403
    assert reply.content_type == "application/problem+json"
    assert reply.json is not None
    assert reply.json["code"] == "origin_refused"
    if headers.get("Origin") != "null":
        assert "REGISTRY_ALLOWED_ORIGINS" in reply.json["detail"]
    assert ALLOWED not in reply.headers
    assert shared.get("/api/services").data == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": FRIEND},
        {"Origin": FRIEND, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://registry.example:5000", "Host": "registry.example:5000"},
        # Behind a proxy that speaks TLS and has a name of its own.
        {"Origin": "https://registry.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_programs_our_pages_and_allowed_ones_may(headers: dict[str, str]) -> None:
    client = calling()
    for method, path in (
        ("POST", "/api/heartbeat/a"),
        ("PUT", "/api/services/a/drain"),
        ("DELETE", "/api/services/a"),
    ):
        reply = client.open(path, method=method, headers=headers)
        assert reply.status_code == 200, (path, reply.json)


def test_a_stranger_is_told_so_before_a_token_is_looked_at() -> None:
    client = create_app(loaded_registry(auth=True)).test_client()
    reply = client.delete("/api/services/a", headers={"Origin": STRANGER})
    assert (reply.status_code, json.loads(reply.data)["code"]) == (
        403,
        "origin_refused",
    )


def test_what_is_repeated_of_an_origin_is_text(client: FlaskClient) -> None:
    nasty = 'http://x"><script>window.hurt=1</script>'
    reply = client.post("/api/heartbeat/a", headers={"Origin": nasty})
    assert reply.content_type == "application/problem+json"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert nasty in json.loads(reply.data)["detail"]


def test_readers_are_not_asked(registry: Registry) -> None:
    client = create_app(registry).test_client()
    for headers in ({"Origin": STRANGER}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.get("/api/services", headers=headers).status_code == 200
