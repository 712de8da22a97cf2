"""The hot path and Flask behind it can't be told apart."""

import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import RegistryFront
from modularity_registry.api.hot_path.reply import ReplyWriter
from modularity_registry.catalog.catalog import MOST_PARTS
from modularity_registry.model.rights import Right, Token, digest_of
from modularity_registry.model.service import Fault
from modularity_registry.runtime import Registry
from support.hot_path import Reply, ask
from support.registry import ManualClock, loaded_registry, registration

KEY = "a-long-and-secret-text"
NAMES = st.sampled_from(
    [
        "a",
        "b",
        "C",
        "x/y",
        "x/services",
        "x/explain",
        "x/split",
        "none",
        "",
        "ä",
        "a b",
        "a/",
        "%2F",
    ]
)
PATHS = st.one_of(
    st.builds("/api/capabilities/{}".format, NAMES),
    st.builds("/api/capabilities/{}/services".format, NAMES),
    st.builds("/api/services/{}".format, NAMES),
    st.builds("/api/heartbeat/{}".format, NAMES),
    st.builds("/api/services/{}/heartbeat".format, NAMES),
    st.builds("/api/unregister/{}".format, NAMES),
    st.sampled_from(["/api/register", "/api/register"]),
    st.sampled_from(["/", "/health/", "/api/capabilities", "/api/services/a/drain"]),
)
QUERIES = st.sampled_from(
    [
        *("", "", "", "x=1", "&", "strategy=random2", "strategy=hash&key=k", "key=k"),
        *("version=1.2.0", "version=>=1,<2", "metadata.region=eu&strategy=weighted"),
        *("status=active", "name=Hello&name=x", "mode=tcp", "strategy=hash&key=%C3%A4"),
        *("near=z1", "near=eu/z9&version=>=1", "near=-", "near=&near=z1", "zone=z1"),
        *("near=z2&strategy=weighted", "region=eu&near=z2"),
        *("prefer_healthy=false", "prefer_healthy=no", "prefer_healthy=true&near=z1"),
    ]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "If-None-Match": st.sampled_from(['W/"1"', '"2"', "*", 'W/"3", "4"', "junk"]),
        "Origin": st.sampled_from(["http://localhost:3000", "http://evil.example"]),
        "Sec-Fetch-Site": st.sampled_from(["same-origin", "cross-site"]),
        "Content-Type": st.sampled_from(["application/json", "text/plain"]),
        "Accept": st.just("text/html"),
        "If-Match": st.sampled_from(['"1"', "*"]),
        "X-Forwarded-For": st.just("10.0.0.9"),
        "Range": st.just("bytes=0-3"),
        "Authorization": st.sampled_from(
            [
                "Bearer mreg_read",
                "bearer  mreg_register",
                "Bearer mreg_admin",
                "Bearer mreg_other",
                "Bearer mreg_none",
                "Basic eDp5",
                "Bearer",
            ]
        ),
        "X-Owner-Key": st.sampled_from([KEY, "another"]),
        "X-Zone": st.sampled_from(["z1", "z2", "none", "eu/none", "", "a b", "ä"]),
        "X-Request-ID": st.sampled_from(["mine.1", "not one", "x" * 129]),
        "Traceparent": st.just(f"00-{'a' * 32}-{'b' * 16}-01"),
    },
)
GOOD = registration("new", mode="standalone", location="here")
BODIES = st.sampled_from(
    [
        b"",
        b"",
        b"{}",
        b" ",
        b'{"status": "unhealthy"}',
        b'{"status": "warning"}',
        b'{"status": "healthy"}',
        b"[",
        json.dumps(GOOD).encode(),
        json.dumps(registration("a")).encode(),
        json.dumps({**GOOD, "id": "-", "colour": 1}).encode(),
        json.dumps({**GOOD, "owner_key": KEY}).encode(),
        json.dumps({**GOOD, "id": "b", "owner_key": KEY}).encode(),
        json.dumps({**GOOD, "owner_key": "short"}).encode(),
        json.dumps(registration("c", location="http://8.8.8.8")).encode(),
        json.dumps({**GOOD, "metadata": {"x": "y" * 1_100_000}}).encode(),
    ]
)
CALLS = st.tuples(
    st.sampled_from(["GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PUT", "DELETE"]),
    PATHS, QUERIES, HEADERS, BODIES, st.floats(0, 5),
)  # fmt: skip


def give_tokens(registry: Registry) -> None:
    """Tokens whose texts are the same in every run, and one that may do little."""
    assert registry.token_backend is not None
    now = registry.clock.now()
    for name in ("read", "register", "admin"):
        digest = digest_of(f"mreg_{name}")
        made = Token(name, digest, (Right(name),), now)
        registry.token_backend.put(made, 0)
    other = Token(
        "other",
        digest_of("mreg_other"),
        (Right.READ, Right.REGISTER),
        now,
        ids=("b*", "new"),
        capabilities=("greet",),
    )
    registry.token_backend.put(other, 0)


def loaded(closed: bool = False) -> tuple[Registry, Flask]:
    """A registry with three services, one of them faulty, and its routes."""
    registry = loaded_registry(auth=closed)
    if closed:
        give_tokens(registry)
    app = create_app(registry)
    client = app.test_client()
    for number, capabilities in enumerate((["a", "x/y"], ["a", "C"], ["x/services"])):
        body = registration(
            "abC"[number],
            capabilities=capabilities,
            ttl=10 + number,
            zone=f"z{number + 1}",
            region="eu",
            location="http://10.0.0.1:1",
        )
        owner = {"Authorization": "Bearer mreg_register"}
        done = client.post("/api/register", json=body, headers=owner)
        assert done.status_code == 201
    # In ways that leave nothing to chance, or two registries would not answer alike.
    for name, group in (("a", "1.2.0"), ("C", "2"), ("x/none", "1")):
        registry.call(registry.split_commands.put(name, {group: 1}))
    entry = registry.catalog.service("b")
    assert entry is not None
    fault = Fault("check", "x", registry.clock.now())
    registry.call(registry.commands.add_fault(entry, fault))
    return registry, app


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(CALLS, st.booleans()), min_size=1, max_size=12), st.booleans()
)
def test_the_same_requests_get_the_same_replies(
    calls: list[tuple[tuple[Any, ...], bool]], closed: bool
) -> None:
    (hot_registry, hot_app), (cold_registry, cold_app) = loaded(closed), loaded(closed)
    front = RegistryFront(hot_registry, hot_app)
    for (method, path, query, headers, body, seconds), by_path in calls:
        for registry in (hot_registry, cold_registry):
            assert isinstance(registry.clock, ManualClock)
            registry.clock.advance(seconds)
        reply = ask(
            hot_registry, front, method, path, query, headers, body, by_path=by_path
        )
        if reply is None:
            reply = through_flask(hot_app, method, path, query, headers, body)
        expected = through_flask(cold_app, method, path, query, headers, body)
        for shown in (reply[1], expected[1]):
            # Made for each call that brought none that is sane.
            told = shown.pop("x-request-id")
            assert told == "mine.1" or headers.get("X-Request-ID") != "mine.1"
        assert reply == expected, (method, path, query)


def through_flask(app: Flask, method: str, path: str, query: str, *more: Any) -> Reply:
    headers, body = more
    response = app.test_client().open(
        path, method=method, query_string=query, headers=headers, data=body
    )
    shown = {name.lower(): value for name, value in response.headers}
    return response.status_code, shown, response.data


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/api/capabilities/a", ""),
        ("GET", "/api/capabilities/a", "strategy=weighted&metadata.region=eu"),
        ("GET", "/api/capabilities/a", "strategy=hash&key=k"),
        ("GET", "/api/capabilities/a", "near=z1"),
        ("GET", "/api/capabilities/a/services", ""),
        ("GET", "/api/services/a", ""),
        ("POST", "/api/heartbeat/a", ""),
        ("POST", "/api/services/a/heartbeat", ""),
        ("DELETE", "/api/services/a", ""),
        ("DELETE", "/api/unregister/a", ""),
    ],
)
def test_the_hot_path_answers_the_load_itself(
    method: str, path: str, query: str
) -> None:
    registry, app = loaded()
    reply = ask(registry, RegistryFront(registry, app), method, path, query)
    assert reply is not None
    assert reply[0] == 200
    assert json.loads(reply[2])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/capabilities/a"),
        ("GET", "/api/capabilities/a/services"),
        ("GET", "/api/services/a"),
        ("POST", "/api/heartbeat/a"),
        ("POST", "/api/services/a/heartbeat"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"X-Zone": "z1"}])
def test_the_hot_path_answers_for_paths_that_are_new(
    method: str, path: str, headers: dict[str, str]
) -> None:
    registry, app = loaded()
    front = RegistryFront(registry, app)
    reply = ask(registry, front, method, path, headers=headers, by_path=True)
    assert reply is not None
    assert reply[0] == 200


def test_a_registration_is_answered_on_the_hot_path() -> None:
    registry, app = loaded()
    front = RegistryFront(registry, app)
    headers = {"Content-Type": "application/json"}
    for status in (201, 200):
        body = json.dumps(GOOD).encode()
        reply = ask(registry, front, "POST", "/api/register", "", headers, body)
        assert reply is not None
        assert reply[0] == status


def test_write_whose_reply_fails_is_not_made_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> bytes:
        raise LookupError("on purpose")

    registry, app = loaded()
    monkeypatch.setattr(ReplyWriter, "write", fail)
    front, before = RegistryFront(registry, app), registry.catalog.revision
    headers = {"Content-Type": "application/json"}
    body = json.dumps(GOOD).encode()
    reply = ask(registry, front, "POST", "/api/register", "", headers, body)
    assert reply is not None
    assert reply[0] == 500
    assert registry.catalog.revision == before + 1


def test_a_filter_is_not_remembered_over_a_change() -> None:
    registry, app = loaded()
    front = RegistryFront(registry, app)
    query = "metadata.region=eu"
    reply = ask(registry, front, "GET", "/api/capabilities/a", query)
    assert reply is not None
    body = registration("a", capabilities=["a"], metadata={"region": "us"})
    app.test_client().post("/api/register", json=body)
    assert ask(registry, front, "GET", "/api/capabilities/a", query) is None


def test_filters_are_remembered_within_bounds() -> None:
    registry, app = loaded()
    front = RegistryFront(registry, app)
    capability = registry.catalog.capability("a")
    assert capability is not None
    for number in range(2 * MOST_PARTS + 1):
        query = f"metadata.region=eu&strategy=hash&key={number}"
        assert ask(registry, front, "GET", "/api/capabilities/a", query)
        assert 0 < len(capability.providers()._parts) <= MOST_PARTS


def test_long_filter_is_not_remembered() -> None:
    registry, app = loaded()
    query = "metadata.region=eu&strategy=hash&key=" + 1_000 * "k"
    front = RegistryFront(registry, app)
    assert ask(registry, front, "GET", "/api/capabilities/a", query) is None


def test_a_heartbeat_on_the_hot_path_renews_the_lease() -> None:
    registry, app = loaded()
    assert isinstance(registry.clock, ManualClock)
    registry.clock.advance(7)
    ask(registry, RegistryFront(registry, app), "POST", "/api/heartbeat/a")
    entry = registry.catalog.service("a")
    assert entry is not None
    assert entry.vitals.lease_seen == registry.clock.monotonic()
    assert entry.vitals.last_seen == registry.clock.now()
