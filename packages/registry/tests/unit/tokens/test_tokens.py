"""Tokens are made, rotated and revoked, wherever they are kept."""

import json
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from modularity_registry import runtime, tokens
from modularity_registry.api.app import create_app
from modularity_registry.config import Settings, load
from modularity_registry.errors import BadSetting, TokenConflict, TokenNotFound
from modularity_registry.model.rights import Caller, Right, TokenRequest
from modularity_registry.stores import open_store
from modularity_registry.tokens import (
    FileTokenBackend,
    StoreTokenBackend,
    TokenBackend,
    TokenView,
)
from support.access.authorization import bearer, closed_registry, token
from support.registry import LOOP, ManualClock, eventually, put_record, registration

READ = TokenRequest("reader", frozenset({Right.READ}))
ADMIN = TokenRequest("boss", frozenset({Right.ADMIN}))
NOW = ManualClock().now()

BackendMaker = Callable[[], TokenBackend]


@pytest.fixture(params=["running", "store", "file", "followed file"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TokenBackend]:
    match request.param:
        case "running":
            with closed_registry() as registry:
                assert registry.token_backend is not None
                yield registry.token_backend
        case "store":
            with closing(open_store(f"sqlite:///{tmp_path}/registry.db")) as store:
                yield StoreTokenBackend(store)
        case "file":
            yield FileTokenBackend(str(tmp_path / "tokens.json"))
        case "followed file":
            file = FileTokenBackend(str(tmp_path / "tokens.json"))
            yield tokens.TokenFileWatcher(file, TokenView(ManualClock()))


def test_a_token_is_made_once_and_kept_without_its_text(backend: TokenBackend) -> None:
    issued = tokens.create(backend, READ, NOW)
    found, revision = backend.all()["reader"]
    assert found == issued.token and revision > 0
    assert issued.text not in repr(found)
    with pytest.raises(TokenConflict, match=r"already|another"):
        tokens.create(backend, READ, NOW)
    assert backend.all() == {"reader": (found, revision)}


def test_a_rotated_token_keeps_all_but_its_text(backend: TokenBackend) -> None:
    before = tokens.create(backend, READ, NOW)
    at_once = tokens.rotate(backend, "reader", timedelta(0), NOW)
    assert at_once.text != before.text
    assert at_once.token.former is None
    graced = tokens.rotate(backend, "reader", timedelta(hours=1), NOW)
    assert graced.token.former == at_once.token.digest
    assert graced.token.former_until == NOW + timedelta(hours=1)
    assert graced.token.rights == before.token.rights
    assert backend.all()["reader"][0] == graced.token
    with pytest.raises(TokenNotFound, match="no token 'nobody'"):
        tokens.rotate(backend, "nobody", timedelta(0), NOW)


@pytest.mark.parametrize("lifetime", [None, timedelta(seconds=30)])
def test_who_came_with_the_former_text_stays_until_it_ends(
    tmp_path: Path, lifetime: timedelta | None
) -> None:
    clock = ManualClock()
    file, view = FileTokenBackend(str(tmp_path / "tokens.json")), TokenView(clock)
    request = replace(READ, lifetime=lifetime)
    issued = tokens.create(file, request, NOW)
    view.replace(file.all())
    caller = view.caller(issued.text)
    tokens.rotate(file, "reader", timedelta(seconds=60), NOW)
    view.replace(file.all())
    clock.advance(29)
    assert view.holds(caller)
    clock.advance(1)
    assert view.holds(caller) == (lifetime is None)
    clock.advance(30)
    assert not view.holds(caller)


def test_the_last_admin_stays(backend: TokenBackend) -> None:
    tokens.create(backend, READ, NOW)
    tokens.create(backend, ADMIN, NOW)
    with pytest.raises(TokenConflict, match="last token with the right admin"):
        tokens.revoke(backend, "boss")
    tokens.create(backend, TokenRequest("deputy", ADMIN.rights), NOW)
    assert tokens.revoke(backend, "boss").name == "boss"
    with pytest.raises(TokenNotFound):
        tokens.revoke(backend, "boss")
    tokens.revoke(backend, "deputy", last_admin=True)
    assert list(backend.all()) == ["reader"]


def test_the_first_token_is_made_where_there_is_none(backend: TokenBackend) -> None:
    issued = tokens.first(backend, NOW)
    assert issued is not None
    assert issued.token.rights == (Right.ADMIN,)
    assert tokens.first(backend, NOW) is None


def test_of_two_that_overtake_each_other_one_finds_out(backend: TokenBackend) -> None:
    tokens.create(backend, READ, NOW)
    found, revision = backend.all()["reader"]
    tokens.rotate(backend, "reader", timedelta(0), NOW)
    with pytest.raises(TokenConflict):
        backend.put(found, revision)
    with pytest.raises(TokenConflict):
        backend.delete("reader", revision)
    assert "reader" in backend.all()


def test_several_that_start_at_once_make_one_first_token(tmp_path: Path) -> None:
    made: list[str] = []
    with closing(open_store(f"sqlite:///{tmp_path}/registry.db")) as store:

        def start() -> None:
            issued = tokens.first(StoreTokenBackend(store), NOW)
            if issued is not None:
                made.append(issued.text)

        threads = [threading.Thread(target=start) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(made) == 1
        assert list(StoreTokenBackend(store).all()) == ["admin"]


@contextmanager
def a_client() -> Iterator[tuple[FlaskClient, ManualClock, dict[str, str]]]:
    with closed_registry() as registry:
        assert isinstance(registry.clock, ManualClock)
        admin = bearer(token(registry, "admin", "admin"))
        yield create_app(registry).test_client(), registry.clock, admin


def status(client: FlaskClient, text: str) -> int:
    return client.get("/api/services", headers=bearer(text)).status_code


def test_over_http_a_token_lives_from_its_making_to_its_end() -> None:
    with a_client() as (client, clock, admin):
        wish = {"name": "team", "rights": ["read", "track"], "expires_in": 60}
        made = client.post("/api/tokens", json=wish, headers=admin)
        assert made.status_code == 201
        assert made.headers["Cache-Control"] == "no-store"
        text = made.get_json()["token"]
        assert status(client, text) == 200
        own = client.get("/api/whoami", headers=bearer(text)).get_json()
        assert own == {
            "name": "team",
            "rights": ["read", "track"],
            "ids": ["*"],
            "capabilities": ["*"],
            "expires_at": made.get_json()["expires_at"],
        }
        listed = client.get("/api/tokens", headers=admin)
        assert text not in listed.get_data(as_text=True)
        assert [each["name"] for each in listed.get_json()["tokens"]] == [
            "admin",
            "team",
        ]
        clock.advance(59)
        assert status(client, text) == 200
        clock.advance(1)
        expired = client.get("/api/services", headers=bearer(text))
        assert expired.status_code == 401
        assert "expired" in expired.get_json()["detail"]


def test_over_http_the_former_text_is_good_for_its_grace() -> None:
    with a_client() as (client, clock, admin):
        wish = {"name": "team", "rights": ["read"]}
        text = client.post("/api/tokens", json=wish, headers=admin).get_json()["token"]

        def rotate(**body: float) -> str:
            reply = client.post("/api/tokens/team/rotate", json=body, headers=admin)
            assert reply.status_code == 200
            made: str = reply.get_json()["token"]
            return made

        second = rotate(grace=60)
        assert (status(client, text), status(client, second)) == (200, 200)
        clock.advance(60)
        assert (status(client, text), status(client, second)) == (401, 200)
        third = rotate()
        assert (status(client, second), status(client, third)) == (401, 200)
        revoked = client.delete("/api/tokens/team", headers=admin)
        assert revoked.get_json() == {"status": "revoked", "name": "team"}
        assert status(client, third) == 401


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "name"),
        ({"name": "x"}, "rights"),
        ({"name": "X", "rights": ["read"]}, "name"),
        ({"name": "a_b", "rights": ["read"]}, "name"),
        ({"name": "../x", "rights": ["read"]}, "name"),
        ({"name": "x", "rights": []}, "rights"),
        ({"name": "x", "rights": ["write"]}, "rights.0"),
        ({"name": "x", "rights": ["read"], "ids": []}, "ids"),
        ({"name": "x", "rights": ["read"], "ids": ["a b"]}, "ids.0"),
        ({"name": "x", "rights": ["read"], "expires_in": 0}, "expires_in"),
        ({"name": "x", "rights": ["read"], "colour": 1}, "colour"),
    ],
)
def test_a_bad_wish_is_refused_by_field(wish: dict[str, object], field: str) -> None:
    with a_client() as (client, _, admin):
        reply = client.post("/api/tokens", json=wish, headers=admin)
        assert reply.status_code == 400
        assert field in {each["field"] for each in reply.get_json()["errors"]}


def test_a_file_is_for_its_owner_alone_and_followed(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    backend = FileTokenBackend(str(path))
    known = TokenView(ManualClock())
    watcher = tokens.TokenFileWatcher(backend, known)
    LOOP.call(watcher.start())
    try:
        issued = tokens.create(backend, READ, NOW)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert issued.text not in path.read_text()
        eventually(lambda: known.caller(issued.text).name == "reader")
        path.write_text("{")
        eventually(lambda: watcher.fault is not None)
        assert "is not valid" in str(watcher.fault)
        assert known.caller(issued.text).name == "reader"
        path.unlink()
        written = tokens.create(watcher, TokenRequest("writer", READ.rights), NOW)
        assert known.caller(written.text).name == "writer", "at once"
        path.write_text(json.dumps({"tokens": []}))
        eventually(lambda: known.caller(written.text).refused is not None)
        assert watcher.fault is None
    finally:
        LOOP.call(watcher.stop())


def test_a_registry_with_a_broken_file_of_tokens_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text('{"tokens": [{"name": 1}]}')
    registry = runtime.build(Settings(auth=True, tokens_file=str(path)))
    with pytest.raises(BadSetting, match="is not valid"):
        LOOP.call(registry.start())
    LOOP.call(registry.stop())


def test_a_mistyped_folder_is_told_and_not_made(tmp_path: Path) -> None:
    backend = FileTokenBackend(str(tmp_path / "typo" / "tokens.json"))
    with pytest.raises(BadSetting, match="its folder does not exist"):
        tokens.first(backend, NOW)
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"tokens_file": "x.json"}, "--tokens-file .* add --auth"),
        ({"anonymous": "read"}, "--anonymous .* add --auth"),
        ({"auth": "true", "dns_port": "5353"}, "add --anonymous read"),
        ({"auth": "true", "anonymous": "admin"}, "must be read, register, track"),
    ],
)
def test_a_registry_is_closed_or_open_but_not_half(
    flags: dict[str, str | None], said: str
) -> None:
    with pytest.raises(BadSetting, match=said):
        load(flags, {})


def test_dns_answers_where_everybody_may_read() -> None:
    given = {"auth": "true", "dns_port": "5353", "anonymous": "read"}
    assert load(given, {}).dns_port == 5353


def test_an_unreadable_record_keeps_out_its_holder_alone() -> None:
    with closed_registry() as registry:
        good = token(registry, "good", "read")
        bad = token(registry, "bad", "read")
        put_record(registry.store, "tokens/bad", b"{}")
        assert registry.tokens is not None
        assert registry.tokens.caller(good).name == "good"
        assert registry.tokens.caller(bad).refused is not None
        assert registry.tokens.holds(Caller())


def test_owners_keep_their_ids() -> None:
    with closed_registry() as registry:
        client = create_app(registry).test_client()
        one = bearer(token(registry, "one", "register", "read", ids=("shared*",)))
        two = bearer(token(registry, "two", "register", "read"))
        boss = bearer(token(registry, "boss", "admin"))
        body = registration("shared", mode="standalone", location="here")

        def post(headers: dict[str, str], **changes: object) -> int:
            sent = {**body, **changes}
            return client.post("/api/register", json=sent, headers=headers).status_code

        assert post(one) == 201
        shown = client.get("/api/services/shared", headers=two).get_json()
        assert shown["owner"] == "one"
        others = [
            client.post("/api/register", json=body, headers=two),
            client.put("/api/services/shared", json=body, headers=two),
            client.delete("/api/services/shared", headers=two),
            client.put("/api/services/shared/drain", headers=two),
            client.delete("/api/services/shared/drain", headers=two),
            client.post("/api/heartbeat/shared", headers=two),
        ]
        assert {each.status_code for each in others} == {409}
        assert {each.get_json()["code"] for each in others} == {"owned_by_another"}
        assert post(one) == 200
        assert post(one, id="not-mine") == 403
        # An admin may take it; then it is theirs.
        assert post(boss) == 200
        assert post(one) == 409
        assert client.delete("/api/services/shared", headers=boss).status_code == 200
        assert post(one) == 201
        # A rotated token is the same owner.
        assert registry.token_backend is not None
        rotated = tokens.rotate(
            registry.token_backend, "one", timedelta(0), registry.clock.now()
        )
        assert post(one) == 401
        assert post(bearer(rotated.text)) == 200


def test_without_tokens_a_key_owns(client: FlaskClient) -> None:
    key = "a-long-and-secret-text"
    body = registration("mine", mode="standalone", location="here", owner_key=key)
    first = client.post("/api/register", json=body)
    assert first.status_code == 201
    shown = client.get("/api/services/mine").get_data(as_text=True)
    assert key not in shown and '"owner":"owner_key"' in shown
    assert client.post("/api/register", json=body).status_code == 200
    stranger = {**body, "owner_key": "another-and-secret-text"}
    keyless = {name: value for name, value in body.items() if name != "owner_key"}
    for sent in (stranger, keyless):
        assert client.post("/api/register", json=sent).status_code == 409
    for headers, wanted in (({}, 409), ({"X-Owner-Key": key}, 200)):
        calls = [
            client.post("/api/heartbeat/mine", headers=headers),
            client.put("/api/services/mine/drain", headers=headers),
            client.delete("/api/services/mine/drain", headers=headers),
            client.post("/api/register", json=body, headers=headers),
            client.delete("/api/services/mine", headers=headers),
        ]
        found = [each.status_code for each in calls]
        assert found == [wanted] * 3 + [200, wanted], headers
    for bad, said in (
        ("short", "at least 16"),
        ("a key with spaces", "without spaces"),
    ):
        refused = client.post("/api/register", json={**body, "owner_key": bad})
        assert refused.status_code == 400
        assert said in refused.get_json()["detail"]
