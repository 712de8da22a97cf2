"""No caller of a namespace sees a trace of another."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from modularity_registry.api.app import create_app
from modularity_registry.api.hot_path import front_of
from modularity_registry.events import Interest
from modularity_registry.runtime import Registry
from modularity_registry.serving.head import Head
from modularity_registry.telemetry.log_context import FIELDS
from support.access.audit import acts
from support.access.authorization import bearer, token
from support.events import Recorder
from support.hot_path import FakeConnection, HotPath, ask
from support.namespaces import A, B, divided
from support.registry import LOOP, eventually, on_loop, registration

MARK = "nobody-else-may-know"
"""Is in all that is registered in team-a."""

READS = (
    "/services",
    "/services?status=healthy",
    f"/services/{MARK}",
    f"/services/{MARK}/history",
    "/capabilities",
    f"/capabilities/{MARK}",
    f"/capabilities/{MARK}/services",
    f"/capabilities/{MARK}/explain",
    "/graph",
    f"/connections/{MARK}",
    "/stats",
    "/sd/prometheus",
    "/services?wait=0.01&revision=0",
)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with divided() as registry:
        yield registry


@pytest.fixture(params=["flask", "hot path"])
def client(registry: Registry, request: pytest.FixtureRequest) -> Client:
    app: Any = create_app(registry)
    return Client(HotPath(registry, app) if request.param == "hot path" else app)


def service(service_id: str = MARK, **changes: Any) -> dict[str, Any]:
    body = registration(
        service_id,
        name=MARK,
        capabilities=[MARK],
        location=f"http://10.0.0.1:1/{MARK}",
        metadata={"runtime": MARK, "metrics": True},
        zone=MARK,
    )
    return body | changes


def fill(client: Client, api: str = A) -> None:
    reply = client.post(f"{api}/register", json=service())
    assert reply.status_code == 201, reply.get_json()
    call = {"consumer_id": MARK, "provider_id": MARK, "capability": MARK}
    assert client.post(f"{api}/track/invocation", json=call).status_code == 200
    assert client.put(f"{api}/services/{MARK}/drain", json={"reason": MARK})
    assert client.delete(f"{api}/services/{MARK}/drain").status_code == 200


def without_the_path(reply: Any) -> str:
    """A reply but for what repeats the caller's own path."""
    text: str = reply.get_data(as_text=True)
    return text.replace(f"'{MARK}'", "").replace(f'"service_id":"{MARK}"', "")


@pytest.mark.parametrize("other", ["/api", B])
@pytest.mark.parametrize("path", READS)
def test_reads_show_nothing_of_another(client: Client, other: str, path: str) -> None:
    empty = client.get(other + path)
    fill(client)
    reply = client.get(other + path)
    assert reply.status_code == empty.status_code
    assert MARK not in without_the_path(reply)
    assert client.get(A + path).status_code == 200


@pytest.mark.parametrize("other", ["/api", B])
def test_counts_are_those_of_one(client: Client, other: str) -> None:
    def counts() -> Any:
        stats = client.get(f"{other}/stats").get_json()
        del stats["revision"]  # counts the store's writes
        return stats

    before = counts()
    fill(client)
    assert counts() == before
    assert client.get(f"{A}/stats").get_json()["total_services"] == 1


@pytest.mark.parametrize("other", ["/api", B])
def test_writes_reach_nothing_of_another(client: Client, other: str) -> None:
    fill(client)
    before = client.get(f"{A}/services/{MARK}").get_json()
    calls = (
        client.delete(f"{other}/services/{MARK}"),
        client.delete(f"{other}/unregister/{MARK}"),
        client.put(f"{other}/services/{MARK}/drain"),
        client.post(f"{other}/heartbeat/{MARK}"),
        client.post(f"{other}/services/{MARK}/checks/x"),
        client.post(
            f"{other}/track/invocation",
            json={"consumer_id": "a", "provider_id": MARK, "capability": "x"},
        ),
    )
    assert [call.status_code for call in calls] == [404] * len(calls)
    assert (
        client.post(f"{other}/discover", json={"capabilities": [MARK]}).get_json()[
            "matches"
        ]
        == []
    )
    assert client.get(f"{A}/services/{MARK}").get_json() == before


def test_events_are_those_of_one(registry: Registry) -> None:
    client = Client(HotPath(registry, create_app(registry)))
    listeners = {}
    for one in registry.all_namespaces:
        listener = listeners[one.namespace] = on_loop(Recorder)
        on_loop(partial(one.hub.watch, listener, Interest()))
    fill(client)
    eventually(lambda: len(listeners["team-a"].revisions) >= 4)
    assert listeners[None].events == listeners["team-b"].events == []


def test_a_stream_begins_in_its_namespace(registry: Registry) -> None:
    front = front_of(registry, create_app(registry))
    reply = ask(registry, front, "GET", f"{A}/events")
    assert reply is not None
    assert reply[0] == 200
    assert b"event: connected" in reply[2]
    assert ask(registry, front, "GET", "/api/ns/team-c/events") is None


def test_watchers_share_places_and_are_counted_in_their_own(
    registry: Registry,
) -> None:
    team = registry.namespaces["team-a"]
    on_loop(lambda: team.hub.watch(Recorder(), Interest()))
    assert [len(one.hub) for one in registry.all_namespaces] == [0, 1, 0]
    assert registry.hub.places.taken == 1


def test_a_wait_ends_with_a_change_in_its_namespace_alone(registry: Registry) -> None:
    client = Client(create_app(registry))
    front = front_of(registry, create_app(registry))

    async def waits(path: str) -> Any:
        head = Head(b"GET", path.encode(), "1.1", [], True)
        front.plan(head)
        environ = FakeConnection("127.0.0.1").environ_of(head)
        waiting = front.wait(environ)
        assert waiting is not None
        return asyncio.ensure_future(waiting)

    query = f"wait=30&revision={registry.catalog.revision}"
    tasks = {api: LOOP.call(waits(f"{api}/services?{query}")) for api in ("/api", A, B)}
    fill(client)
    eventually(lambda: tasks[A].done())
    assert not tasks["/api"].done() and not tasks[B].done()
    on_loop(lambda: [task.cancel() for task in tasks.values()])


def test_quotas_are_those_of_one() -> None:
    with divided(max_services=1) as registry:
        client = Client(create_app(registry))
        for api in (A, B, "/api"):
            assert client.post(f"{api}/register", json=service()).status_code == 201
            full = client.post(f"{api}/register", json=service("another"))
            assert full.get_json()["code"] == "registry_full"
        degraded = registry.degraded()
        assert len(degraded) == 1  # the same for all of them is said once
        client.delete(f"/api/services/{MARK}")
        [reason] = registry.degraded()
        assert reason.startswith("namespaces team-a, team-b: the registry holds 1 ")
        client.delete(f"{A}/services/{MARK}")
        [reason] = registry.degraded()
        assert reason.startswith("namespace team-b: the registry holds 1 ")


def test_rates_count_an_address_in_all_namespaces_and_a_token_in_its_own() -> None:
    with divided(auth=True, write_rate="1/minute") as registry:
        client = Client(create_app(registry))
        for one in registry.all_namespaces:
            shown = bearer(token(one, "ci", "register"))
            api = f"/api/ns/{one.namespace}" if one.namespace else "/api"
            for status in (201, 429):
                reply = client.post(f"{api}/register", json=service(), headers=shown)
                assert reply.status_code == status
                if status == 429:
                    label = f"{one.namespace}/ci" if one.namespace else "ci"
                    assert f"the token {label} is over" in reply.get_json()["detail"]
    with divided(write_rate="1/minute") as registry:
        client = Client(create_app(registry))
        calls = [client.post(f"{api}/register", json=service()) for api in (A, B)]
        assert [call.status_code for call in calls] == [201, 429]


def test_the_audit_says_in_which_namespace_it_was(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with divided(auth=True, audit_file=str(path)) as registry:
        client = Client(HotPath(registry, create_app(registry)))
        whole, team = registry, registry.namespaces["team-a"]
        boss = bearer(token(whole, "boss", "admin"))
        own = bearer(token(team, "ci", "register"))
        client.post("/api/register", json=service(), headers=boss)
        client.post(f"{A}/register", json=service("one"), headers=boss)
        client.post(f"{A}/register", json=service("two"), headers=own)
        client.delete(f"{A}/services/two", headers=own)
        client.get(f"{A}/services", headers=own)
        client.post(f"{A}/tokens", json={"name": "x", "rights": ["read"]}, headers=boss)
        lines = [
            (line["event"], line.get("who"), line.get("namespace"))
            for line in acts(path)
        ]
    assert lines == [
        ("service.registered", "boss", None),
        ("service.registered", "boss", "team-a"),
        ("service.registered", "team-a/ci", "team-a"),
        ("service.unregistered", "team-a/ci", "team-a"),
        ("access.refused", "team-a/ci", "team-a"),
        ("token.created", "boss", "team-a"),
    ]


def test_the_log_says_in_which_namespace_it_was(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(create_app(registry))
    with caplog.at_level("INFO", "modularity_registry.changes"):
        for api in ("/api", A):
            client.post(f"{api}/register", json=service())
            client.delete(f"{api}/services/{MARK}")
    fields = [record.__dict__[FIELDS].get("namespace") for record in caplog.records]
    assert fields == [None, None, "team-a", "team-a"]


def test_metrics_tell_the_namespaces_apart(registry: Registry) -> None:
    client = Client(HotPath(registry, create_app(registry)))
    fill(client)
    text = client.get("/metrics").get_data(as_text=True)
    for line in (
        'registry_services{mode="http",namespace="team-a",status="healthy"} 1.0',
        'registry_services{mode="http",namespace="",status="healthy"} 0.0',
        'registry_capabilities{namespace="team-a"} 1.0',
        'registry_capabilities{namespace=""} 0.0',
        'registry_registrations_total{result="created"} 1.0',
    ):
        assert line in text
    assert "/api/ns/" not in text


def test_metrics_without_namespaces_have_no_label_for_them() -> None:
    with divided(namespace=()) as registry:
        text = Client(create_app(registry)).get("/metrics").get_data(as_text=True)
    assert "namespace" not in text


def test_prometheus_is_told_the_namespace_but_for_the_default_one(
    client: Client,
) -> None:
    for api in ("/api", A):
        reply = client.post(f"{api}/register", json=service())
        assert reply.status_code == 201, reply.get_json()
    labels = {
        api: client.get(f"{api}/sd/prometheus").get_json()[0]["labels"]
        for api in ("/api", A)
    }
    name = "__meta_modularity_namespace"
    assert name not in labels["/api"]
    assert labels[A] == labels["/api"] | {name: "team-a"}
