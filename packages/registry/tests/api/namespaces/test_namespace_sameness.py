"""The API in a namespace can't be told from that of the default one."""

import json
from typing import Any

from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from api.test_hot_path import CALLS, give_tokens, through_flask
from modularity_registry import config, runtime
from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import front_of
from modularity_registry.model.service import Fault
from modularity_registry.runtime import Registry
from modularity_registry.serving.front import Front
from support.hot_path import Reply, ask
from support.namespaces import load
from support.registry import ManualClock, registration


class Place:
    """A registry, and the namespace in it that is asked."""

    def __init__(self, namespace: str, closed: bool) -> None:
        self.clock = ManualClock()
        names = (namespace,) if namespace else ()
        whole = runtime.build(
            config.Settings(auth=closed, namespace=names), self.clock, replica="one"
        )
        load(whole)
        self.whole = whole
        self.registry: Registry = whole.namespaces[namespace] if namespace else whole
        if closed:
            give_tokens(self.registry)
        self.api = f"/api/ns/{namespace}" if namespace else "/api"
        self.app: Flask = create_app(whole)
        self.front: Front = front_of(whole, self.app)
        for number, capabilities in enumerate((["a", "x/y"], ["a", "C"])):
            body = registration(
                "ab"[number],
                capabilities=capabilities,
                ttl=10 + number,
                zone=f"z{number + 1}",
                location="http://10.0.0.1:1",
            )
            owner = {
                "Authorization": "Bearer mreg_register",
                "Content-Type": "application/json",
            }
            text = json.dumps(body).encode()
            assert self.ask("POST", "/api/register", "", owner, text)[0] == 201
        entry = self.registry.catalog.service("b")
        assert entry is not None
        fault = Fault("check", "x", self.clock.now())
        self.registry.call(self.registry.commands.add_fault(entry, fault))

    def ask(
        self,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        body: bytes,
        by_path: bool = False,
    ) -> Reply:
        path = self.api + path.removeprefix("/api")
        call = method, path, query, headers, body
        reply = ask(self.whole, self.front, *call, by_path=by_path)
        if reply is None:
            reply = through_flask(self.app, *call)
        return reply


OTHERS = st.tuples(
    st.just("GET"),
    st.sampled_from(
        [
            "/api/services",
            "/api/capabilities",
            "/api/capabilities/a/explain",
            "/api/connections/a",
            "/api/graph",
            "/api/stats",
            "/api/services/b/history",
            "/api/tokens",
            "/api/whoami",
        ]
    ),
    *(st.sampled_from(["", "status=healthy"]), st.just({}), st.just(b""), st.just(1.0)),
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(CALLS | OTHERS, st.booleans()), min_size=1, max_size=12),
    st.booleans(),
)
def test_the_same_calls_get_the_same_replies(
    calls: list[tuple[tuple[Any, ...], bool]], closed: bool
) -> None:
    default, named = Place("", closed), Place("team-a", closed)
    for (method, path, query, headers, body, seconds), by_path in calls:
        if not path.startswith("/api/"):
            continue
        replies = []
        for place in (default, named):
            place.clock.advance(seconds)
            call = method, path, query, headers, body
            status, shown, data = place.ask(*call, by_path)
            shown.pop("x-request-id")
            replies.append((status, shown, data))
        if not closed or has_rights(headers):
            assert replies[0] == replies[1], (method, path, query)


def has_rights(headers: dict[str, str]) -> bool:
    """Whether a call comes with a good token.

    Without one, a namespace does not even say which paths it has: see the tests of
    rights.
    """
    scheme, _, text = headers.get("Authorization", "").partition(" ")
    names = ("read", "register", "admin", "other")
    return scheme.lower() == "bearer" and text.strip() in [f"mreg_{n}" for n in names]
