"""Who may do what in a namespace: every route, asked by everybody, in every way."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import Client

from api.test_authorization import ASKS, MARK, RIGHTS, SERVICE, WAYS, Clock, sent
from modularity_registry.api.app import create_app
from modularity_registry.events import Interest
from modularity_registry.model.rights import Right
from modularity_registry.runtime import Registry
from support.access.authorization import bearer, token
from support.events import Recorder
from support.hot_path import HotPath
from support.namespaces import A, B, divided
from support.registry import LOOP, eventually, on_loop

ROUTES = {
    route: ask._replace(path=A + ask.path.removeprefix("/api"))
    for route, ask in ASKS.items()
    if ask.path.startswith("/api/") and ask.path != "/api/namespaces"
}
OUTSIDERS = (
    "nothing",
    "rubbish",
    "another namespace's admin",
    *(f"the default's {right}" for right in RIGHTS if right != "admin"),
)
INSIDERS = (*RIGHTS, "the default's admin")


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with divided(Clock(), auth=True) as registry:
        yield registry


@pytest.fixture(scope="module")
def shown(registry: Registry) -> dict[str, dict[str, str]]:
    """The header that everybody comes with."""
    own, other = registry.namespaces["team-a"], registry.namespaces["team-b"]
    shown: dict[str, dict[str, str]] = {
        "nothing": {},
        "rubbish": bearer("mreg_" + "x" * 43),
        "another namespace's admin": bearer(token(other, "boss", "admin")),
    }
    for right in RIGHTS:
        shown[right] = bearer(token(own, right, right))
        shown[f"the default's {right}"] = bearer(token(registry, right, right))
    client = create_app(registry).test_client()
    for service in (SERVICE, {**SERVICE, "id": "open"}):
        headers = shown["register"]
        reply = client.post(f"{A}/register", json=service, headers=headers)
        assert reply.status_code == 201
    return shown


@pytest.fixture(scope="module", params=["flask", "hot path"])
def client(registry: Registry, request: pytest.FixtureRequest) -> Client:
    app: Any = create_app(registry)
    return Client(HotPath(registry, app) if request.param == "hot path" else app)


@pytest.mark.parametrize("who", OUTSIDERS)
@pytest.mark.parametrize("route", ROUTES)
def test_outsiders_are_refused_every_route(
    client: Client, shown: dict[str, dict[str, str]], route: str, who: str
) -> None:
    ask, method = ROUTES[route], route.split()[0]
    for way in WAYS:
        for each in (method, "HEAD") if method == "GET" else (method,):
            with closing(sent(client, each, ask, way, shown[who])) as reply:
                assert reply.status_code == 401, f"{each} {way}"
                text = reply.get_data(as_text=True)
                assert MARK not in text and MARK not in str(reply.headers)


@pytest.mark.parametrize("who", INSIDERS)
@pytest.mark.parametrize("route", ROUTES)
def test_insiders_may_do_what_their_token_says(
    client: Client, shown: dict[str, dict[str, str]], route: str, who: str
) -> None:
    ask, method = ROUTES[route], route.split()[0]
    refused = ask.right not in (None, who) and "admin" not in who
    for way in WAYS:
        with closing(sent(client, method, ask, way, shown[who])) as reply:
            if refused:
                assert reply.status_code == 403, way
            else:
                assert reply.status_code not in (401, 403, 500), way


@pytest.mark.parametrize("route", ASKS)
def test_a_token_of_a_namespace_opens_nothing_of_the_default(
    client: Client, shown: dict[str, dict[str, str]], route: str
) -> None:
    ask, method = ASKS[route], route.split()[0]
    if ask.right is None or ask.path == "/api/namespaces":
        return
    with closing(sent(client, method, ask, "plainly", shown["admin"])) as reply:
        assert reply.status_code == 401


@pytest.mark.parametrize("who", OUTSIDERS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/services", "/nothing", "", "/whoami"])
def test_an_outsider_can_not_tell_which_namespaces_there_are(
    client: Client,
    shown: dict[str, dict[str, str]],
    who: str,
    method: str,
    path: str,
) -> None:
    replies = []
    for api in (A, "/api/ns/nobodys"):
        ask = ASKS["GET /api/services"]._replace(path=api + path)
        with closing(sent(client, method, ask, "plainly", shown[who])) as reply:
            headers = dict(reply.headers)
            headers.pop("X-Request-ID", None)
            headers.pop("x-request-id", None)
            lowered = {name.lower(): value for name, value in headers.items()}
            replies.append((reply.status_code, lowered, reply.data))
    assert replies[0] == replies[1]
    assert replies[0][0] == 401 or method == "OPTIONS"


def test_an_admin_is_told_that_there_is_no_such_namespace(
    client: Client, shown: dict[str, dict[str, str]]
) -> None:
    headers = shown["the default's admin"]
    reply = client.get("/api/ns/nobodys/services", headers=headers)
    assert reply.get_json()["code"] == "unknown_namespace"


@pytest.mark.parametrize(
    ("who", "names"),
    [
        ("read", ["team-a"]),
        ("another namespace's admin", ["team-b"]),
        ("the default's read", ["default"]),
        ("the default's admin", ["default", "team-a", "team-b"]),
    ],
)
def test_namespaces_are_listed_for_those_who_may_read_them(
    client: Client, shown: dict[str, dict[str, str]], who: str, names: list[str]
) -> None:
    reply = client.get("/api/namespaces", headers=shown[who]).get_json()
    assert [each["name"] for each in reply["namespaces"]] == names
    assert reply["count"] == len(names)


def test_a_namespace_has_tokens_of_its_own(
    client: Client, shown: dict[str, dict[str, str]]
) -> None:
    for who in ("admin", "the default's admin"):
        listed = client.get(f"{A}/tokens", headers=shown[who]).get_json()["tokens"]
        # Another test may have made the token "x".
        assert {row["name"] for row in listed} - {"x"} == set(RIGHTS)
    headers = shown["admin"]
    wish = {"name": "ci", "rights": ["read"]}
    made = client.post(f"{A}/tokens", json=wish, headers=headers).get_json()
    ours = bearer(made["token"])
    assert client.get(f"{A}/whoami", headers=ours).get_json()["name"] == "ci"
    assert client.get(f"{B}/whoami", headers=ours).status_code == 401
    turned = client.post(f"{A}/tokens/ci/rotate", headers=headers).get_json()
    assert client.get(f"{A}/services", headers=ours).status_code == 401
    ours = bearer(turned["token"])
    assert client.get(f"{A}/services", headers=ours).status_code == 200
    assert client.delete(f"{A}/tokens/ci", headers=headers).status_code == 200
    assert client.get(f"{A}/services", headers=ours).status_code == 401


def test_the_last_admin_of_a_namespace_can_go() -> None:
    with divided(auth=True) as registry:
        client = Client(create_app(registry))
        boss = bearer(token(registry, "boss", "admin"))
        token(registry.namespaces["team-a"], "only", "admin")
        assert client.delete(f"{A}/tokens/only", headers=boss).status_code == 200
        assert client.delete("/api/tokens/boss", headers=boss).status_code == 409


def test_services_have_owners_by_namespace() -> None:
    with divided(auth=True) as registry:
        client = Client(create_app(registry))
        for one in registry.all_namespaces:
            token(one, "spare", "read")
        boss = bearer(token(registry, "boss", "admin"))
        own, other = (
            bearer(token(registry.namespaces["team-a"], name, "register"))
            for name in ("one", "two")
        )
        for headers in (own, boss):
            assert client.post(
                f"{A}/register", json=SERVICE, headers=own
            ).status_code in (200, 201)
            reply = client.delete(f"{A}/services/victim", headers=other)
            assert reply.get_json()["code"] == "owned_by_another"
            reply = client.delete(f"{A}/services/victim", headers=headers)
            assert reply.status_code == 200


def test_listeners_go_when_their_token_does() -> None:
    with divided(auth=True) as registry:
        team = registry.namespaces["team-a"]
        boss, own = token(registry, "boss", "admin"), token(team, "own", "read")
        token(registry, "spare", "admin")
        of_boss, of_own = listening(team, boss), listening(team, own)
        client = Client(create_app(registry))
        wish = {"name": "x", "rights": ["read"]}
        client.post(f"{B}/tokens", json=wish, headers=bearer(boss))
        client.delete(f"{A}/tokens/own", headers=bearer(boss))
        eventually(lambda: of_own.ended)
        assert not of_boss.ended
        client.delete("/api/tokens/boss", headers=bearer(boss))
        eventually(lambda: of_boss.ended)


def listening(registry: Registry, text: str) -> Recorder:
    """Return who listens in a namespace with a token."""
    assert registry.tokens is not None
    caller = registry.tokens.caller(text)
    assert caller.may(Right.READ)
    listener = on_loop(lambda: Recorder(caller))
    on_loop(lambda: registry.hub.watch(listener, Interest()))
    return listener


@pytest.mark.parametrize("hot", [True, False])
def test_anonymous_rights_count_in_every_namespace(hot: bool) -> None:
    with divided(Clock(), auth=True, anonymous=frozenset({Right.READ})) as registry:
        app: Flask = create_app(registry)
        client = Client(HotPath(registry, app) if hot else app)
        for api in ("/api", A, B):
            assert client.get(f"{api}/services").status_code == 200
            assert client.post(f"{api}/register", json=SERVICE).status_code == 401
            bad = client.get(f"{api}/services", headers=bearer("mreg_x"))
            assert bad.status_code == 401
        assert client.get("/api/namespaces").get_json()["count"] == 3
        unknown = client.get("/api/ns/nobodys/services")
        assert unknown.get_json()["code"] == "unknown_namespace"


def test_one_file_holds_the_tokens_of_all(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    with divided(Clock(), auth=True, tokens_file=str(path)) as registry:
        client = Client(create_app(registry))
        boss = bearer(token(registry, "boss", "admin"))
        texts = {}
        for api in (A, B):
            wish = {"name": "ci", "rights": ["read"]}
            reply = client.post(f"{api}/tokens", json=wish, headers=boss)
            assert reply.status_code == 201
            texts[api] = bearer(reply.get_json()["token"])
        for api in (A, B):
            assert client.get(f"{api}/services", headers=texts[api]).status_code == 200
            assert client.get("/api/services", headers=texts[api]).status_code == 401
        assert client.get(f"{A}/services", headers=texts[B]).status_code == 401
        assert client.delete(f"{A}/tokens/ci", headers=boss).status_code == 200
        assert client.get(f"{A}/services", headers=texts[A]).status_code == 401
        assert client.get(f"{B}/services", headers=texts[B]).status_code == 200
        listed = client.get("/api/tokens", headers=boss).get_json()["tokens"]
        assert [row["name"] for row in listed] == ["boss"]
        LOOP.call(registry.token_file.stop())  # type: ignore[union-attr]
    assert '"namespace": "team-b"' in path.read_text()
    with divided(Clock(), auth=True, tokens_file=str(path)) as registry:
        client = Client(create_app(registry))
        assert client.get(f"{B}/services", headers=texts[B]).status_code == 200
        assert client.get(f"{A}/services", headers=boss).status_code == 200
        LOOP.call(registry.token_file.stop())  # type: ignore[union-attr]
