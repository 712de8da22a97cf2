"""One rule for every way out: every route, asked by everybody, in every way."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from modularity_registry.api.app import create_app
from modularity_registry.runtime import Registry
from support.access.authorization import bearer, closed_registry, token
from support.hot_path import HotPath
from support.registry import ManualClock, registration, unload

MARK = "nobody-else-may-know"
"""Is in everything that is registered: a caller who is refused may not see it."""

RIGHTS = ("read", "register", "track", "admin")
SERVICE = registration(
    "victim", name=MARK, capabilities=[MARK], location=MARK, mode="standalone"
)


class Ask(NamedTuple):
    """How a route is called, and the right that it takes; None for none."""

    path: str
    right: str | None
    body: Any = None


def registering(**changes: Any) -> dict[str, Any]:
    return {**SERVICE, "id": "another", **changes}


# What API and operators were promised; not read from the code on purpose.
ASKS = {
    "POST /api/register": Ask("/api/register", "register", registering()),
    "GET /api/services": Ask("/api/services", "read"),
    "GET /api/services/<service_id>": Ask("/api/services/victim", "read"),
    "PUT /api/services/<service_id>": Ask(
        "/api/services/another", "register", registering()
    ),
    "DELETE /api/services/<service_id>": Ask("/api/services/gone", "register"),
    "DELETE /api/unregister/<service_id>": Ask("/api/unregister/gone", "register"),
    "GET /api/services/<service_id>/history": Ask(
        "/api/services/victim/history", "read"
    ),
    "PUT /api/services/<service_id>/drain": Ask("/api/services/gone/drain", "register"),
    "DELETE /api/services/<service_id>/drain": Ask(
        "/api/services/gone/drain", "register"
    ),
    "POST /api/heartbeat/<service_id>": Ask("/api/heartbeat/open", "register"),
    "POST /api/services/<service_id>/heartbeat": Ask(
        "/api/services/open/heartbeat", "register"
    ),
    "POST /api/services/<service_id>/checks/<name>": Ask(
        "/api/services/open/checks/jobs", "register"
    ),
    "GET /api/capabilities": Ask("/api/capabilities", "read"),
    "GET /api/capabilities/<path:name>": Ask(f"/api/capabilities/{MARK}", "read"),
    "GET /api/capabilities/<path:name>/services": Ask(
        f"/api/capabilities/{MARK}/services", "read"
    ),
    "GET /api/capabilities/<path:name>/explain": Ask(
        f"/api/capabilities/{MARK}/explain", "read"
    ),
    "GET /api/capabilities/<path:name>/split": Ask(
        f"/api/capabilities/{MARK}/split", "read"
    ),
    "PUT /api/capabilities/<path:name>/split": Ask(
        f"/api/capabilities/{MARK}/split", "admin", {"v1": 1}
    ),
    "DELETE /api/capabilities/<path:name>/split": Ask(
        f"/api/capabilities/{MARK}/split", "admin"
    ),
    "GET /api/splits": Ask("/api/splits", "read"),
    "POST /api/discover": Ask("/api/discover", "read", {"capabilities": [MARK]}),
    "GET /api/events": Ask("/api/events", "read"),
    "POST /api/track/invocation": Ask(
        "/api/track/invocation",
        "track",
        {"consumer_id": "a", "provider_id": "victim", "capability": "greet"},
    ),
    "POST /api/track/invocations": Ask(
        "/api/track/invocations",
        "track",
        {
            "invocations": [
                {"consumer_id": "a", "provider_id": "victim", "capability": "greet"}
            ]
        },
    ),
    "GET /api/connections/<service_id>": Ask("/api/connections/victim", "read"),
    "GET /api/graph": Ask("/api/graph", "read"),
    "GET /api/stats": Ask("/api/stats", "read"),
    "GET /api/sd/prometheus": Ask("/api/sd/prometheus", "read"),
    "GET /api/namespaces": Ask("/api/namespaces", "read"),
    "GET /metrics": Ask("/metrics", "read"),
    "GET /api/tokens": Ask("/api/tokens", "admin"),
    "POST /api/tokens": Ask("/api/tokens", "admin", {"name": "x", "rights": ["read"]}),
    "DELETE /api/tokens/<name>": Ask("/api/tokens/nobodys", "admin"),
    "POST /api/tokens/<name>/rotate": Ask("/api/tokens/nobodys/rotate", "admin"),
    "GET /api/whoami": Ask("/api/whoami", None),
    "GET /health": Ask("/health", None),
    "GET /ready": Ask("/ready", None),
    "GET /openapi.json": Ask("/openapi.json", None),
    "GET /docs": Ask("/docs", None),
    "GET /docs/<name>": Ask("/docs/page.css", None),
    "GET /": Ask("/", None),
    "GET /assets/<path:name>": Ask("/assets/main.js", None),
}

# Ways of asking: a query and headers. Each takes another path through the code.
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "plainly": ("", {}),
    "from a page": ("", {"Origin": "http://localhost:3000"}),
    "on a condition": ("", {"If-None-Match": '"0"'}),
    "with a filter": ("?status=healthy", {}),
    "waiting": ("?wait=0.01&revision=0", {}),
    "from an event": ("", {"Last-Event-ID": "x-1"}),
    "within a trace": ("", {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}),
}


class Clock(ManualClock):
    """Waits take their time; what expires does so by hand."""

    def monotonic(self) -> float:
        return time.monotonic()


SHOWN = ("nothing", "rubbish", "another scheme", "revoked", "expired", *RIGHTS)


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with closed_registry(Clock()) as registry:
        yield registry


@pytest.fixture(scope="module")
def shown(registry: Registry) -> dict[str, dict[str, str]]:
    """The header that each of `SHOWN` comes with."""
    texts = {each: token(registry, each, each) for each in RIGHTS}
    expired = token(registry, "expired", *RIGHTS, lifetime=1)
    assert isinstance(registry.clock, ManualClock)
    registry.clock.advance(2)
    revoked = token(registry, "revoked", *RIGHTS)
    app = create_app(registry).test_client()
    admin = bearer(texts["admin"])
    assert app.delete("/api/tokens/revoked", headers=admin).status_code == 200
    # What a refused caller might find, and what is nobody's.
    for service in (SERVICE, {**SERVICE, "id": "open"}):
        headers = bearer(texts["register"])
        reply = app.post("/api/register", json=service, headers=headers)
        assert reply.status_code == 201
    return {
        "nothing": {},
        "rubbish": bearer("mreg_" + "x" * 43),
        "another scheme": {"Authorization": "Basic YWRtaW46YWRtaW4="},
        "revoked": bearer(revoked),
        "expired": bearer(expired),
        **{right: bearer(text) for right, text in texts.items()},
    }


@pytest.fixture(scope="module", params=["flask", "hot path"])
def client(registry: Registry, request: pytest.FixtureRequest) -> Client:
    app: Any = create_app(registry)
    return Client(HotPath(registry, app) if request.param == "hot path" else app)


def test_every_route_has_its_row_here(registry: Registry) -> None:
    app = create_app(registry)
    routes = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(ASKS)


def test_a_route_without_a_row_does_not_start(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modularity_registry.api.routes import operations

    def more(*parts: Any) -> Any:
        blueprint = operations_routes(*parts)
        blueprint.get("/forgotten")(lambda: "everything")
        return blueprint

    operations_routes = operations.routes
    monkeypatch.setattr(operations, "routes", more)
    with pytest.raises(LookupError, match="GET /forgotten has no row"):
        create_app(registry)


@pytest.mark.parametrize("who", SHOWN)
@pytest.mark.parametrize("route", ASKS)
def test_a_route_is_for_those_who_have_its_right(
    client: Client, shown: dict[str, dict[str, str]], route: str, who: str
) -> None:
    ask, method = ASKS[route], route.split()[0]
    for way in WAYS:
        for each in (method, "HEAD") if method == "GET" else (method,):
            with closing(sent(client, each, ask, way, shown[who])) as reply:
                check(reply, expected(ask.right, who), f"{each} {way}")


def expected(right: str | None, who: str) -> int | None:
    """Return the status of the refusal; None for none."""
    if right is None or who in (right, "admin"):
        return None
    return 403 if who in RIGHTS else 401


def sent(
    client: Client, method: str, ask: Ask, way: str, shown: dict[str, str]
) -> TestResponse:
    query, headers = WAYS[way]
    if ask.body is not None:
        headers = {**headers, "Content-Type": "application/json"}
    # Bad tokens are counted for each address.
    sent.calls += 1  # type: ignore[attr-defined]
    number = sent.calls  # type: ignore[attr-defined]
    return client.open(
        ask.path + query,
        method=method,
        headers={**headers, **shown},
        data=None if ask.body is None else json.dumps(ask.body),
        environ_overrides={
            "REMOTE_ADDR": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        },
        buffered=False,
    )


sent.calls = 0  # type: ignore[attr-defined]


def check(reply: TestResponse, refusal: int | None, how: str) -> None:
    if refusal is None:
        if reply.request.path == "/api/whoami":
            return  # says what is wrong with the caller's own token
        assert reply.status_code not in (401, 403, 500), how
        return
    assert reply.status_code == refusal, how
    challenge = reply.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="modularity-registry"'), how
    assert reply.content_type == "application/problem+json", how
    said = reply.get_data(as_text=True)
    assert MARK not in said and MARK not in str(reply.headers), how
    if said:
        assert json.loads(said)["status"] == refusal, how


def test_what_everybody_may_ask_names_nothing(
    client: Client, shown: dict[str, dict[str, str]]
) -> None:
    for route, ask in ASKS.items():
        if ask.right is None:
            said = client.get(ask.path).get_data(as_text=True)
            assert MARK not in said, route
            assert "replica-1" not in said, route
    readers = client.get("/health", headers=shown["read"]).get_json()
    assert readers["replica"] == "replica-1"


@pytest.mark.parametrize("way", WAYS)
def test_anonymous_callers_have_the_rights_that_are_set(way: str) -> None:
    with closed_registry(Clock(), anonymous=frozenset({"read"})) as registry:
        client = Client(HotPath(registry, create_app(registry)))
        assert registry.token_backend is not None
        for route, ask in ASKS.items():
            for who, headers in (("read", {}), ("rubbish", bearer("mreg_x"))):
                with closing(
                    sent(client, route.split()[0], ask, way, headers)
                ) as reply:
                    if ask.right in (None, "read") and who == "read":
                        assert reply.status_code not in (403, 500), route
                        assert ask.right is None or reply.status_code != 401
                    elif ask.right is not None:
                        assert reply.status_code == 401, route


def test_an_open_registry_asks_nobody(registry: Registry) -> None:
    from support.registry import loaded_registry

    open_registry = loaded_registry()
    client = Client(create_app(open_registry))
    for route, ask in ASKS.items():
        if "/api/tokens" in ask.path:
            continue
        with closing(sent(client, route.split()[0], ask, "plainly", {})) as reply:
            assert reply.status_code not in (401, 403), route
    for headers in ({}, bearer("whatever")):
        reply = client.get("/api/whoami", headers=headers)
        assert (reply.status_code, reply.get_json()["code"]) == (404, "token_not_found")
    unload(open_registry)


def test_flask_knows_no_way_around(registry: Registry) -> None:
    app: Flask = create_app(registry)
    client = app.test_client()
    for path in ("/api/services/", "//api/services", "/api/services/%2e%2e/services"):
        assert client.get(path).status_code in (401, 404), path
    for override in ("X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL"):
        reply = client.get("/api/services", headers={override: "/health"})
        assert reply.status_code == 401
    for name in ("token", "access_token", "Authorization"):
        assert client.get(f"/api/services?{name}=x").status_code == 401
