"""The audit: who did what, from where, in which request, and what came of it."""

import fcntl
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import Client

from modularity_registry.api.app import create_app
from modularity_registry.audit import Audit, AuditFile, line_queue, writer
from modularity_registry.audit.refusal_quota import PER_CLIENT, WINDOW
from modularity_registry.model.service import Fault
from modularity_registry.runtime import Registry
from modularity_registry.serving.forwarded import Proxies
from support.access.audit import acts, events
from support.access.authorization import bearer, closed_registry, token
from support.logs import through
from support.registry import (
    LOOP,
    ManualClock,
    eventually,
    loaded_registry,
    registration,
    unload,
)

REMOTE = {"REMOTE_ADDR": "10.0.0.9"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def registry(path: Path) -> Iterator[Registry]:
    registry = loaded_registry(audit_file=str(path))
    yield registry
    unload(registry)


@contextmanager
def closed(path: Path) -> Iterator[tuple[Registry, FlaskClient, dict[str, str]]]:
    """A registry with tokens, and what its admin shows."""
    with closed_registry(audit_file=str(path)) as registry:
        admin = bearer(token(registry, "admin", "admin"))
        yield registry, create_app(registry).test_client(), admin


def unchecked(service_id: str = "hello-service", **changes: Any) -> dict[str, Any]:
    """A registration that may come from anywhere."""
    return registration(
        service_id, **{"mode": "standalone", "location": "worker 7"} | changes
    )


@pytest.mark.parametrize("hot", [True, False])
def test_a_line_says_who_did_what_from_where_in_which_request(
    path: Path, hot: bool
) -> None:
    with closed(path) as (registry, _, _admin):
        shown = bearer(token(registry, "deploy", "register"))
        trace = "0af7651916cd43dd8448eb211c80319c"
        asked = {"X-Request-ID": "mine", "Traceparent": f"00-{trace}-{'b' * 16}-00"}
        reply = through(registry, hot).post(
            "/api/register",
            json=unchecked(),
            headers=shown | asked,
            environ_base=REMOTE,
        )
        assert reply.status_code == 201
        assert acts(path) == [
            {
                "timestamp": "2026-01-02T03:20:45.678901Z",
                "event": "service.registered",
                "who": "deploy",
                "peer": "10.0.0.9",
                "request_id": "mine",
                "trace_id": trace,
                "service_id": "hello-service",
                "revision": json.loads(reply.data)["revision"],
                "location": "worker 7",
                "mode": "standalone",
                "version": "1.2.0",
                "capabilities": ["greet"],
                "owner": "deploy",
                "replica": "replica-1",
            }
        ]


def test_a_replacement_says_what_was_and_what_is(
    registry: Registry, client: FlaskClient, path: Path
) -> None:
    client.post("/api/register", json=registration())
    changes: dict[str, Any] = {
        "version": "2.0.0",
        "capabilities": ["greet", "bow"],
        "metadata": {},
    }
    client.post("/api/register", json=registration(**changes))
    _, act = acts(path)
    assert act["event"] == "service.replaced"
    assert act["changed"] == ["capabilities", "version", "metadata"]
    assert act["old"] == {"version": "1.2.0", "capabilities": ["greet"]}
    assert act["new"] == {"version": "2.0.0", "capabilities": ["greet", "bow"]}


def test_a_registration_on_a_beat_is_told_once_and_heartbeats_never(
    registry: Registry, client: FlaskClient, path: Path
) -> None:
    assert isinstance(registry.clock, ManualClock)
    for _ in range(3):
        registry.clock.advance(1)
        client.post("/api/register", json=registration())
        client.post("/api/heartbeat/hello-service")
    assert events(path) == ["service.registered"]


def test_a_repeated_registration_that_ends_a_drain_is_told(
    registry: Registry, client: FlaskClient, path: Path
) -> None:
    client.post("/api/register", json=registration())
    client.put("/api/services/hello-service/drain", json={"reason": "new disk"})
    assert isinstance(registry.clock, ManualClock)
    registry.clock.advance(1)
    client.post("/api/register", json=registration())
    _, drained, act = acts(path)
    assert (drained["event"], drained["reason"]) == ("service.drained", "new disk")
    assert act["changed"] == ["drain"]
    assert (act["old"], act["new"]) == ({"drain": "new disk"}, {"drain": None})


def test_drains_removals_and_bad_reports_are_told(
    registry: Registry, client: FlaskClient, path: Path
) -> None:
    client.post("/api/register", json=registration())
    client.put("/api/services/hello-service/drain")
    client.put("/api/services/hello-service/drain")
    client.delete("/api/services/hello-service/drain")
    ill = {"status": "unhealthy", "note": "no disk"}
    client.post("/api/heartbeat/hello-service", json=ill)
    client.delete("/api/services/hello-service")
    client.delete("/api/services/hello-service")
    *_, reported, gone = acts(path)
    assert events(path) == [
        "service.registered",
        "service.drained",
        "service.undrained",
        "service.reported",
        "service.unregistered",
    ]
    assert (reported["old"], reported["new"], reported["reason"]) == (
        {"status": "healthy"},
        {"status": "unhealthy"},
        "no disk",
    )
    assert (gone["location"], gone["revision"]) == ("http://127.0.0.1:9001", 5)


def test_what_checks_find_is_nobodys_act_and_an_expiry_is_the_registrys(
    registry: Registry, client: FlaskClient, path: Path
) -> None:
    client.post("/api/register", json=registration(ttl=5))
    entry = registry.catalog.service("hello-service")
    assert entry is not None
    fault = Fault("check", "connection refused", registry.clock.now())
    registry.call(registry.commands.add_fault(entry, fault))
    registry.call(registry.commands.remove_faults(entry, frozenset({"check"})))
    registry.call(registry.commands.expire(entry))
    assert events(path) == ["service.registered", "service.expired"]
    act = acts(path)[1]
    assert (act["who"], act["by"], act["reason"]) == (
        None,
        "registry",
        "no heartbeat for 10 times its ttl",
    )
    assert "peer" not in act


@pytest.mark.parametrize("in_body", [True, False])
def test_an_owner_key_is_named_and_never_shown(
    registry: Registry, client: FlaskClient, path: Path, in_body: bool
) -> None:
    key = "a-key-that-is-nobodys-business"
    body = unchecked() | ({"owner_key": key} if in_body else {})
    headers = {} if in_body else {"X-Owner-Key": key}
    assert client.post("/api/register", json=body, headers=headers).status_code == 201
    client.delete("/api/services/hello-service", headers={"X-Owner-Key": key})
    client.post("/api/register", json=unchecked())
    assert [each["who"] for each in acts(path)] == ["owner_key", "owner_key", None]
    assert acts(path)[0]["owner"] == "owner_key"
    assert key not in path.read_text()
    assert "key:" not in path.read_text()


def test_a_trusted_proxy_is_named_beside_its_caller(
    registry: Registry, path: Path
) -> None:
    app = create_app(registry)
    proxies = Proxies("10.0.0.0/24", "forwarded")

    def behind_proxies(environ: dict[str, Any], start: Any) -> Any:
        proxies.believe(environ)
        return app(environ, start)

    headers = {"Forwarded": "for=192.168.7.8"}
    Client(behind_proxies).post(
        "/api/register", json=unchecked(), headers=headers, environ_base=REMOTE
    )
    (act,) = acts(path)
    assert (act["peer"], act["proxy"]) == ("192.168.7.8", "10.0.0.9")


# Tokens and refusals


def test_splits_are_told_with_their_weights_before_and_after(path: Path) -> None:
    with closed(path) as (_, client, admin):
        url = "/api/capabilities/x/y/split"
        client.put(url, json={"v1": 1}, headers=admin)
        client.put(url, json={"v1": 1}, headers=admin)  # changes nothing
        client.put(url, json={"v1": 9, "v2": 1}, headers=admin)
        client.delete(url, headers=admin)
        reply = client.put(url, json={"v1": 1})
        assert reply.status_code == 401
    set_, changed, ended = [
        each for each in acts(path) if each["event"].startswith("capability.")
    ]
    assert set_["event"] == changed["event"] == "capability.split_changed"
    assert "old" not in set_ and set_["new"] == changed["old"] == {"v1": 1}
    assert changed["new"] == ended["old"] == {"v1": 9, "v2": 1}
    assert ended["event"] == "capability.split_ended" and "new" not in ended
    assert {each["capability"] for each in (set_, changed, ended)} == {"x/y"}
    assert {each["who"] for each in (set_, changed, ended)} == {"admin"}
    assert set_["revision"] < changed["revision"] < ended["revision"]


def test_tokens_are_told_of_without_anything_that_opens_doors(path: Path) -> None:
    with closed(path) as (registry, client, admin):
        wish = {"name": "ci", "rights": ["register"], "ids": ["web-*"]}
        made = client.post("/api/tokens", json=wish, headers=admin)
        rotated = client.post(
            "/api/tokens/ci/rotate", json={"grace": 60}, headers=admin
        )
        client.post("/api/tokens", json=wish, headers=admin)
        client.delete("/api/tokens/ci", headers=admin)
        assert registry.token_backend is not None
        hashes = [each.digest for each, _ in registry.token_backend.all().values()]
    created, again, revoked = acts(path)
    assert events(path) == ["token.created", "token.rotated", "token.revoked"]
    assert created["who"] == again["who"] == revoked["who"] == "admin"
    assert (created["token"], created["rights"]) == ("ci", ["register"])
    assert created["ids"] == ["web-*"]
    assert again["former_until"] == "2026-01-02T03:21:45.678901Z"
    for reply in (made, rotated):
        assert reply.status_code in (200, 201)
        assert json.loads(reply.data)["token"] not in path.read_text()
    assert not any(digest in path.read_text() for digest in hashes)


@pytest.mark.parametrize("hot", [True, False])
def test_refusals_are_told_with_what_was_asked_and_why(path: Path, hot: bool) -> None:
    with closed(path) as (registry, _, admin):
        client = through(registry, hot)
        web = bearer(token(registry, "web", "register", ids=("web-*",)))
        other = bearer(token(registry, "other", "register"))
        client.post("/api/register", json=unchecked("web-1"), headers=web)
        client.post("/api/register", json=unchecked("db-1"), headers=web)
        client.post("/api/register", json=unchecked("web-1"), headers=other)
        client.delete("/api/services/web-1", headers=other)
        client.get("/api/services?secret=1")
        client.get("/api/services/web-1", headers=bearer("mreg_wrong"))
        client.post("/api/register", json=unchecked(), headers=bearer("mreg_wrong"))
        client.delete(
            "/api/services/web-1", headers=web | {"Origin": "http://evil.example"}
        )
        client.get("/health", headers=bearer("mreg_wrong"))
        client.get("/api/services/nobody", headers=admin)
    told = [
        (each["status"], each["who"], each["call"], each["code"])
        for each in acts(path)
        if each["event"] == "access.refused"
    ]
    assert told == [
        (403, "web", "POST /api/register", "forbidden"),
        (409, "other", "POST /api/register", "owned_by_another"),
        (409, "other", "DELETE /api/services/web-1", "owned_by_another"),
        (401, None, "GET /api/services", "unauthorized"),
        (401, None, "GET /api/services/web-1", "unauthorized"),
        (401, None, "POST /api/register", "unauthorized"),
        (403, "web", "DELETE /api/services/web-1", "origin_refused"),
    ]
    assert "not allow the id 'db-1'" in acts(path)[1]["reason"]
    assert "mreg_wrong" not in path.read_text()


def test_refusals_without_end_are_summed_up(path: Path) -> None:
    with closed(path) as (registry, client, _):
        for _ in range(PER_CLIENT + 7):
            client.get("/api/services", environ_base=REMOTE)
        assert len(acts(path)) == PER_CLIENT
        clock = registry.clock
        assert isinstance(clock, ManualClock)
        clock.advance(WINDOW)
        registry.audit.write_pending()
        registry.audit.write_pending()
    last = acts(path)[-1]
    assert len(acts(path)) == PER_CLIENT + 1
    assert (last["event"], last["count"]) == ("access.left_out", 7)
    assert last["clients"] == {"10.0.0.9": 7}


RUBBISH = (
    '\n{"event":"token.created"}',
    "\x1b[2J\x9b31m",
    "\x7f\u2028\u2029\u202e",
    "\udcff\ud800",
    '"}\\',
    "x" * 60_000,
)


@pytest.mark.parametrize("text", RUBBISH, ids=range(len(RUBBISH)))
def test_no_text_of_a_caller_forges_a_line_or_moves_a_cursor(
    path: Path, text: str
) -> None:
    audit = Audit(AuditFile(path, 10**6, 1), ManualClock(), "replica-1")
    audit.refused(403, "forbidden", f"GET {text}", text)
    audit.write("service.drained", reason=text)
    written = path.read_bytes()
    assert written.count(b"\n") == 2
    assert all(32 <= each < 127 for each in written.replace(b"\n", b""))
    refused, drained = acts(path)
    assert drained["reason"] == text
    assert refused["reason"] == (text if len(text) < 513 else text[:512] + "...")


# When it can't be written


def test_without_a_file_nothing_is_written(client: FlaskClient, path: Path) -> None:
    bare = loaded_registry()
    bare.audit.start()
    create_app(bare).test_client().post("/api/register", json=registration())
    assert (bare.audit.lines, bare.audit.fault) == (0, None)
    assert not path.exists()
    LOOP.call(bare.stop())


def test_calls_go_on_without_it_and_the_file_says_later_what_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "audit.jsonl"
    registry = loaded_registry(audit_file=str(path))
    client = create_app(registry).test_client()
    client.post("/api/register", json=unchecked("a"))
    folder.rename(tmp_path / "gone")
    for name in "bcd":
        assert client.post("/api/register", json=unchecked(name)).status_code == 201
    health = json.loads(client.get("/health").data)
    assert health["status"] == "degraded"
    assert any("the audit can't be written" in each for each in health["reasons"])
    text = client.get("/metrics").text
    assert 'registry_audit_lines_total{result="lost"} 3.0' in text
    (tmp_path / "gone").rename(folder)
    # Without another act: nobody should have to wait for one.
    registry.audit.write_pending()
    assert registry.audit.fault is None
    client.post("/api/register", json=unchecked("e"))
    first, lost, last = acts(path)
    assert (first["service_id"], last["service_id"]) == ("a", "e")
    assert (lost["event"], lost["count"]) == ("audit.lost", 3)
    assert "No such file" in lost["reason"]
    said = [each.levelname for each in caplog.records if "audit" in each.name]
    assert said == ["ERROR", "WARNING"]
    LOOP.call(registry.stop())


def test_its_start_and_end_are_told_and_nothing_is_left_unsaid(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with closed(path) as (registry, client, _):
        registry.audit.start(version="1.2.3", auth=True)
        for _ in range(PER_CLIENT + 1):
            client.get("/api/services")
        registry.audit.stop()
        registry.audit.stop()
    told = events(path)
    assert (told[0], told[-2:]) == (
        "registry.started",
        ["access.left_out", "registry.stopped"],
    )
    assert acts(path)[0]["version"] == "1.2.3"
    eventually(lambda: "audit" not in {each.name for each in threading.enumerate()})


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The file as another program holds it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def audit(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Audit]:
    """An audit whose thread waits for a locked file as long as it takes."""
    monkeypatch.setattr(writer, "PATIENCE", 60)
    audit = Audit(AuditFile(path, 10**6, 1), ManualClock(), "replica-1")
    audit.start()
    yield audit
    audit.stop()


def test_a_locked_file_holds_up_only_the_audits_own_thread(
    audit: Audit, path: Path
) -> None:
    with locked(path):
        for number in range(1_000):
            audit.write("test", number=number)
        audit.refused(403, "forbidden", "GET /", "no")
        assert audit.lost == 0
        assert "test" not in events(path)
    eventually(lambda: "access.refused" in events(path))
    numbers = [each["number"] for each in acts(path) if each["event"] == "test"]
    assert numbers == list(range(1_000))
    assert (audit.lines, audit.lost, audit.fault) == (1_002, 0, None)


def test_lines_that_find_no_room_are_counted(
    audit: Audit,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(line_queue, "MOST_WAITING", 2_000)
    with locked(path):
        for number in range(100):
            audit.write("test", number=number)
        assert audit.fault is not None
        assert "more lines wait" in audit.fault
    audit.stop()
    lost = [each["count"] for each in acts(path) if each["event"] == "audit.lost"]
    assert sum(lost) == audit.lost
    assert events(path).count("test") == 100 - audit.lost
    assert 0 < audit.lost < 100
    assert audit.fault is None
    said = [each.levelname for each in caplog.records if "audit" in each.name]
    assert said == ["ERROR", "WARNING"]
