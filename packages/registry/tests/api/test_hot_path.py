"""The hot path and Flask behind it can't be told apart."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import Client

from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import HotPath
from modularity_registry.model.rights import Right, Token, digest_of
from modularity_registry.model.service import Fault
from modularity_registry.runtime import Registry
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
    st.sampled_from(["/api/register", "/api/register"]),
    st.sampled_from(["/", "/health/", "/api/capabilities", "/api/services/a/drain"]),
)
QUERIES = st.sampled_from(
    ["", "", "", "strategy=random2", "strategy=hash&key=k", "version=1.2.0", "x=1", "&"]
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
    st.sampled_from(["GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PUT"]),
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


def two_alike(
    closed: bool = False,
) -> tuple[tuple[Registry, Client], tuple[Registry, Client]]:
    """Two registries with the same content: one with the hot path, one without."""
    pair = []
    for hot in (True, False):
        registry = loaded_registry(auth=closed)
        if closed:
            give_tokens(registry)
        app: Any = create_app(registry)
        client = Client(HotPath(registry, app) if hot else app)
        for number, capabilities in enumerate(
            (["a", "x/y"], ["a", "C"], ["x/services"])
        ):
            service_id = "abC"[number]
            body = registration(
                service_id,
                capabilities=capabilities,
                ttl=10 + number,
                location="http://10.0.0.1:1",
            )
            owner = {"Authorization": "Bearer mreg_register"}
            done = client.post("/api/register", json=body, headers=owner)
            assert done.status_code == 201
        entry = registry.catalog.service("b")
        assert entry is not None
        registry.call(
            registry.commands.add_fault(
                entry, Fault("check", "x", registry.clock.now())
            )
        )
        pair.append((registry, client))
    return pair[0], pair[1]


@settings(max_examples=150, deadline=None)
@given(st.lists(CALLS, min_size=1, max_size=12), st.booleans())
def test_the_same_requests_get_the_same_replies(
    calls: list[tuple[Any, ...]], closed: bool
) -> None:
    (hot_registry, hot), (cold_registry, cold) = two_alike(closed)
    for method, path, query, headers, body, seconds in calls:
        replies = []
        for registry, client in ((hot_registry, hot), (cold_registry, cold)):
            assert isinstance(registry.clock, ManualClock)
            registry.clock.advance(seconds)
            response = client.open(
                path, method=method, query_string=query, headers=headers, data=body
            )
            shown = {name.lower(): value for name, value in response.headers}
            # Made for each call that brought none that is sane.
            told = shown.pop("x-request-id")
            assert told == "mine.1" or headers.get("X-Request-ID") != "mine.1"
            replies.append((response.status, shown, response.data))
        assert replies[0] == replies[1]


def test_the_hot_path_answers_the_load_itself() -> None:
    (registry, _), _ = two_alike()

    def refuse(environ: Any, start_response: Any) -> Any:
        raise AssertionError(environ["PATH_INFO"])

    client = Client(HotPath(registry, refuse))
    for method, path in (
        ("GET", "/api/capabilities/a"),
        ("GET", "/api/capabilities/a/services"),
        ("GET", "/api/services/a"),
        ("POST", "/api/heartbeat/a"),
        ("POST", "/api/services/a/heartbeat"),
    ):
        response = client.open(path, method=method)
        assert response.status_code == 200
        assert json.loads(response.data)


def test_a_heartbeat_on_the_hot_path_renews_the_lease() -> None:
    (registry, client), _ = two_alike()
    assert isinstance(registry.clock, ManualClock)
    registry.clock.advance(7)
    client.post("/api/heartbeat/a")
    entry = registry.catalog.service("a")
    assert entry is not None
    assert entry.vitals.lease_seen == registry.clock.monotonic()
    assert entry.vitals.last_seen == registry.clock.now()
