"""What a client is, which calls count, and what it gets beyond its limits."""

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import Client, TestResponse

from api.test_hot_path import CALLS
from modularity_registry.api import route_policy
from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import RegistryFront
from modularity_registry.api.long_replies import lists
from modularity_registry.api.openapi.document import document
from modularity_registry.api.rate_limits import client_of
from modularity_registry.api.route_policy import ROUTES, Cost
from modularity_registry.config import Settings, load
from modularity_registry.errors import BadSetting
from modularity_registry.model.rights import Caller, network_of
from modularity_registry.ratelimit import FAILURES, Rate, warn_of_workers
from modularity_registry.runtime import Registry
from modularity_registry.serve import server_options
from modularity_registry.serving.front import CALL
from modularity_registry.serving.head import Head
from support.access.authorization import bearer, closed_registry, token
from support.hot_path import FakeConnection, HotPath, ask
from support.registry import ManualClock, loaded_registry, registration, unload

SERVICE = registration("a", mode="standalone")


@contextmanager
def app(hot: bool = True, **settings: Any) -> Iterator[tuple[Registry, Client]]:
    registry = loaded_registry(**settings)
    flask: Any = create_app(registry)
    try:
        yield registry, Client(HotPath(registry, flask) if hot else flask)
    finally:
        unload(registry)


def statuses(client: Client, calls: int, path: str, **asked: Any) -> list[int]:
    return [client.open(path, **asked).status_code for _ in range(calls)]


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_a_client_is_an_address_and_of_ipv6_a_network(
    address: str, client: str
) -> None:
    assert network_of(address) == client
    assert client_of({"REMOTE_ADDR": address}, Caller()) == f"the address {client}"


def test_a_client_with_a_token_is_the_token_wherever_it_calls_from() -> None:
    caller = Caller(name="ci")
    assert client_of({"REMOTE_ADDR": "10.0.0.7"}, caller) == "the token ci"


def test_every_route_has_a_policy_and_every_policy_a_route(registry: Registry) -> None:
    flask = create_app(registry)
    routes = {
        (method, rule.rule)
        for rule in flask.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(ROUTES) == routes


def test_a_route_without_a_row_does_not_start() -> None:
    flask = Flask("x", static_folder=None)
    flask.add_url_rule("/new", view_func=lambda: "")
    with pytest.raises(LookupError, match="GET /new has no row"):
        route_policy.check(flask)


def test_every_call_that_may_be_refused_is_described_so() -> None:
    for (method, rule), (_, cost) in ROUTES.items():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)
        responses = document()["paths"][path][method.lower()]["responses"]
        if cost is not Cost.FREE:
            codes = json.dumps(responses["429"])
            assert "too_many_requests" in codes, path
            assert "Retry-After" in responses["429"]["headers"]


READS = {
    "GET /api/services": "/api/services",
    "GET /api/services/<service_id>/history": "/api/services/a/history",
    "GET /api/capabilities": "/api/capabilities",
    "GET /api/capabilities/<path:name>/services": "/api/capabilities/greet/services",
    "GET /api/capabilities/<path:name>/explain": "/api/capabilities/greet/explain",
    "GET /api/capabilities/<path:name>/split": "/api/capabilities/greet/split",
    "GET /api/splits": "/api/splits",
    "POST /api/discover": "/api/discover",
    "GET /api/events": "/api/events",
    "GET /api/connections/<service_id>": "/api/connections/a",
    "GET /api/graph": "/api/graph",
    "GET /api/stats": "/api/stats",
    "GET /api/sd/prometheus": "/api/sd/prometheus",
    "GET /metrics": "/metrics",
    "GET /api/tokens": "/api/tokens",
    "GET /api/namespaces": "/api/namespaces",
}
WRITES = {
    "PUT /api/capabilities/<path:name>/split": "/api/capabilities/greet/split",
    "DELETE /api/capabilities/<path:name>/split": "/api/capabilities/greet/split",
    "POST /api/register": "/api/register",
    "PUT /api/services/<service_id>": "/api/services/a",
    "DELETE /api/services/<service_id>": "/api/services/a",
    "DELETE /api/unregister/<service_id>": "/api/unregister/a",
    "PUT /api/services/<service_id>/drain": "/api/services/a/drain",
    "DELETE /api/services/<service_id>/drain": "/api/services/a/drain",
    "POST /api/track/invocation": "/api/track/invocation",
    "POST /api/track/invocations": "/api/track/invocations",
    "POST /api/tokens": "/api/tokens",
    "DELETE /api/tokens/<name>": "/api/tokens/x",
    "POST /api/tokens/<name>/rotate": "/api/tokens/x/rotate",
}


def test_the_tables_here_are_those_of_the_code() -> None:
    found: dict[Cost, set[str]] = {}
    for (method, rule), (_, cost) in ROUTES.items():
        found.setdefault(cost, set()).add(f"{method} {rule}")
    assert found[Cost.READ] == set(READS)
    assert found[Cost.WRITE] == set(WRITES)


@pytest.mark.parametrize("route", READS | WRITES)
@pytest.mark.parametrize("hot", [True, False], ids=["hot", "flask"])
def test_what_counts_is_refused_beyond_the_rate_and_counted_once(
    hot: bool, route: str
) -> None:
    rate = "read_rate" if route in READS else "write_rate"
    method, path = route.split()[0], (READS | WRITES)[route]
    with app(hot, **{rate: "3/minute"}) as (registry, client):
        if rate == "read_rate":
            client.post("/api/register", json=SERVICE)
        body: dict[str, Any] = {"json": SERVICE} if path == "/api/register" else {}
        found = []
        for _ in range(5):
            with closing(client.open(path, method=method, **body)) as response:
                found.append(response.status_code)
        assert [status == 429 for status in found] == [False] * 3 + [True] * 2
        assert isinstance(registry.clock, ManualClock)
        registry.clock.advance(int(response.headers["Retry-After"]))
        with closing(client.open(path, method=method, **body)) as response:
            assert response.status_code != 429


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/services/a"),
        ("GET", "/api/services/a?x=1"),
        ("GET", "/api/capabilities/greet"),
        ("GET", "/api/capabilities/greet?strategy=random"),
        ("POST", "/api/heartbeat/a"),
        ("POST", "/api/services/a/heartbeat"),
        ("GET", "/health"),
        ("GET", "/ready"),
        ("GET", "/"),
        ("GET", "/openapi.json"),
        ("GET", "/api/whoami"),
        ("GET", "/api/no/such/call"),
        ("PATCH", "/api/services"),
        ("OPTIONS", "/api/services"),
    ],
)
def test_lookups_signs_of_life_and_pages_are_free(method: str, path: str) -> None:
    with app(write_rate="1/day", read_rate="1/day") as (_, client):
        client.post("/api/register", json=SERVICE)
        found = statuses(client, 5, path, method=method)
        assert 429 not in found


def test_a_lookup_that_waits_counts_as_a_read() -> None:
    with app(read_rate="2/minute") as (_, client):
        client.post("/api/register", json=SERVICE)
        path = "/api/capabilities/greet?wait=0&revision=0"
        assert statuses(client, 4, path)[2:] == [429, 429]


@pytest.mark.parametrize("path", ["/api/heartbeat/a", "/api/services/a/heartbeat"])
def test_a_heartbeat_counts_only_if_it_says_that_something_is_wrong(path: str) -> None:
    with app(write_rate="3/minute") as (_, client):
        client.post("/api/register", json=SERVICE)
        well, unwell = {"status": "healthy"}, {"status": "unhealthy"}
        assert statuses(client, 9, path, method="POST", json=well) == [200] * 9
        found = statuses(client, 4, path, method="POST", json=unwell)
        assert found == [200, 200, 429, 429]
        assert statuses(client, 2, path, method="POST", json=well) == [200] * 2


def refused(client: Client, path: str, **asked: Any) -> TestResponse:
    for _ in range(10):
        response = client.open(path, **asked)
        if response.status_code == 429:
            return response
        assert response.status_code < 400
    raise AssertionError("it was never refused")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/register", {"method": "POST", "json": SERVICE}),
        ("/api/capabilities/greet/services", {}),
    ],
)
def test_the_hot_path_and_flask_refuse_in_the_same_words(
    path: str, asked: dict[str, Any]
) -> None:
    said = []
    for hot in (True, False):
        with app(hot, write_rate="4/minute", read_rate="4/minute") as (_, client):
            client.post("/api/register", json=SERVICE)
            here = {"REMOTE_ADDR": "10.0.0.7"}
            response = refused(client, path, environ_base=here, **asked)
            headers = dict(response.headers)
            headers.pop("X-Request-ID")
            said.append((response.status, headers, response.data))
    assert said[0] == said[1]
    problem = json.loads(said[0][2])
    assert problem["code"] == "too_many_requests"
    assert "10.0.0.7" in problem["detail"] and "4/minute" in problem["detail"]


@settings(max_examples=40, deadline=None)
@given(st.lists(CALLS, min_size=5, max_size=25))
def test_the_same_calls_are_refused_by_both(calls: list[tuple[Any, ...]]) -> None:
    found: dict[bool, list[Any]] = {True: [], False: []}
    for hot, answers in found.items():
        with app(hot, write_rate="2/second", read_rate="3/minute") as (made, client):
            client.post("/api/register", json=SERVICE)
            for method, path, query, headers, body, seconds in calls:
                assert isinstance(made.clock, ManualClock)
                made.clock.advance(seconds / 5)
                response = client.open(
                    path, method=method, query_string=query, headers=headers, data=body
                )
                retry = response.headers.get("Retry-After")
                answers.append((response.status, retry, response.data))
    assert found[True] == found[False]


def test_a_bad_registration_counts_and_a_refused_one_changes_nothing() -> None:
    with app(write_rate="2/minute") as (registry, client):
        for _ in range(2):
            response = client.post("/api/register", json={"id": "-"})
            assert response.status_code == 400
        assert client.post("/api/register", json=SERVICE).status_code == 429
        assert len(registry.catalog) == 0


def test_clients_do_not_share_a_rate() -> None:
    with app(write_rate="1/minute") as (_, client):
        for address in ("10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8:0:1::1"):
            found = statuses(
                client,
                2,
                "/api/register",
                method="POST",
                json=SERVICE,
                environ_base={"REMOTE_ADDR": address},
            )
            assert found[0] < 300 and found[1] == 429


def test_tokens_have_rates_of_their_own_and_who_may_not_is_not_counted() -> None:
    with closed_registry(write_rate="1/minute") as registry:
        flask: Any = create_app(registry)
        client = Client(HotPath(registry, flask))
        texts = [token(registry, name, "register") for name in ("one", "other")]
        reader = token(registry, "reader", "read")
        for text in (reader, reader):
            response = client.post("/api/register", json=SERVICE, headers=bearer(text))
            assert response.status_code == 403
        for number, text in enumerate(texts):
            body = registration(f"s{number}", mode="standalone")
            found = statuses(
                client,
                2,
                "/api/register",
                method="POST",
                json=body,
                headers=bearer(text),
            )
            assert found == [201, 429]


ALLOWED = int(FAILURES.partition("/")[0])


def test_bad_tokens_are_bounded_and_good_ones_pass() -> None:
    with closed_registry() as registry:
        flask: Any = create_app(registry)
        client = Client(HotPath(registry, flask))
        good, bad = bearer(token(registry, "t", "read")), bearer("mreg_nothing")
        here = {"REMOTE_ADDR": "10.0.0.1"}

        def ask(headers: dict[str, str], **asked: Any) -> int:
            return client.get("/api/services", headers=headers, **asked).status_code

        found = [ask(bad, environ_base=here) for _ in range(ALLOWED + 2)]
        assert found == [401] * ALLOWED + [429] * 2
        assert ask(good, environ_base=here) == 200
        assert ask({}, environ_base=here) == 401  # without one, it is no guess
        assert ask(bad, environ_base={"REMOTE_ADDR": "10.0.0.2"}) == 401
        assert (
            client.get("/api/whoami", headers=bad, environ_base=here).status_code == 429
        )
        assert client.get("/health", headers=bad, environ_base=here).status_code == 200
        response = client.get("/api/services", headers=bad, environ_base=here)
        assert response.get_json()["code"] == "too_many_requests"
        assert isinstance(registry.clock, ManualClock)
        registry.clock.advance(int(response.headers["Retry-After"]))
        assert ask(bad, environ_base=here) == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/capabilities/greet/services"),
        ("GET", "/api/services"),
        ("DELETE", "/api/services/a"),
    ],
)
def test_what_another_program_counts_is_never_counted_on_the_loop(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    def refuse(*_: object) -> bool:
        raise AssertionError("the loop would wait for an answer")

    monkeypatch.setattr(lists, "LONG", 0)
    with app(read_rate="9/minute", write_rate="9/minute") as (registry, client):
        body = registration("a", mode="embedded", location="here")
        assert client.post("/api/register", json=body).status_code == 201
        monkeypatch.setattr(Rate, "waits", True)
        monkeypatch.setattr(Rate, "takes", refuse)
        front = RegistryFront(registry, create_app(registry))
        assert ask(registry, front, method, path) is None
        target = path.encode()
        head = Head(method.encode(), target, "1.1", [], keep_alive=True)
        connection = FakeConnection("127.0.0.1")
        environ = connection.environ_of(head) | {CALL: connection}
        assert front.stream(environ) is None


def test_the_server_has_room_for_watchers_and_connections() -> None:
    options = server_options(Settings(max_watchers=100, max_connections=50))
    assert options.connections == 150


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"workers": 4, "write_rate": "9/minute"}, True),
        ({"workers": 4, "read_rate": "9/minute"}, True),
        ({"workers": 4}, False),
        ({"workers": 1, "write_rate": "9/minute"}, False),
        ({"workers": 4, "write_rate": "9/minute", "rate_store": "redis://h"}, False),
    ],
)
def test_workers_that_count_alone_are_told_of(
    settings: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_workers(Settings(**settings))
    assert ("4 times as many" in caplog.text) is warned


@pytest.mark.parametrize(
    "value",
    ["redis://", "redis://h:x", "redis://h:0", "redis://h:99999", "http://h", "redis"],
)
def test_a_place_to_count_in_that_makes_no_sense_is_refused(value: str) -> None:
    given = {"REGISTRY_RATE_STORE": value, "REGISTRY_WRITE_RATE": "9/minute"}
    with pytest.raises(BadSetting, match="must be memory://, redis://host:port"):
        load({}, given)


def test_a_place_to_count_in_without_anything_to_count_is_refused() -> None:
    with pytest.raises(BadSetting, match="--write-rate or --read-rate"):
        load({"rate_store": "redis://localhost"}, {})
    load({"rate_store": "redis://localhost", "read_rate": "9/minute"}, {})
    load({"rate_store": "redis://localhost", "auth": "true"}, {})
