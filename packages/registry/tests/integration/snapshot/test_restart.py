"""A registry that starts while its store is away, with a snapshot of it."""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from modularity_registry.snapshot import read
from modularity_registry.stores import identity_of
from support.registry import eventually, registration
from support.servers.registry import Registered
from support.servers.stores.redis import RedisServer, running

STALE = "X-Registry-Stale"
LOOKUP = "/api/capabilities/greet"


class Restarted(Registered):
    """One that is awaited only until it answers: it may not be ready."""

    def _answers(self) -> bool:
        assert self.process.poll() is None
        try:
            return requests.get(f"{self.url}/health", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def get(self, path: str, **options: Any) -> requests.Response:
        """Return the reply to a GET."""
        return requests.get(self.url + path, timeout=10, **options)

    def is_current(self) -> bool:
        """Say whether lookups are marked no more."""
        reply = self.get(LOOKUP)
        assert reply.status_code == 200, reply.text
        return STALE not in reply.headers


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running(tmp_path) as server:
        yield server


@pytest.fixture
def settings(redis: RedisServer, tmp_path: Path) -> dict[str, Any]:
    url = f"redis://127.0.0.1:{redis.port}/0"
    return {"store": url, "snapshot": str(tmp_path / "snapshot")}


@contextmanager
def restarted(**settings: Any) -> Iterator[Restarted]:
    with closing_process(Restarted(**settings)) as registry:
        yield registry


@contextmanager
def closing_process(registry: Restarted) -> Iterator[Restarted]:
    class Stopped:
        close = registry.stop

    with closing(Stopped()):
        yield registry


def fill(settings: dict[str, Any], *ids: str) -> None:
    """Register services, and stop the registry in order: it writes its snapshot."""
    with restarted(**settings) as registry:
        eventually(lambda: registry.get("/ready").status_code == 200)
        for service_id in ids:
            body = registration(service_id, mode="standalone")
            reply = requests.post(f"{registry.url}/api/register", json=body, timeout=10)
            assert reply.status_code == 201, reply.text


def test_lookups_are_answered_and_marked_until_the_store_is_back(
    redis: RedisServer, settings: dict[str, Any]
) -> None:
    fill(settings, "a", "b")
    redis.kill()
    with restarted(**settings) as registry:
        reply = registry.get(LOOKUP)
        assert (reply.status_code, reply.json()["name"]) == (200, "Hello")
        assert int(reply.headers[STALE]) >= 0
        listed = registry.get("/api/services").json()["services"]
        assert [service["id"] for service in listed] == ["a", "b"]
        assert registry.get("/api/services/a").json()["evidence"]["faults"] == []
        assert registry.get("/api/stats").json()["total_services"] == 2
        eventually(
            lambda: "can't be reached" in why(registry) or "redis" in why(registry)
        )
        assert_refused(registry)
        redis.start()
        eventually(registry.is_current)
        eventually(lambda: registry.get("/ready").status_code == 200)
        body = registration("c", mode="standalone")
        assert requests.post(f"{registry.url}/api/register", json=body, timeout=5).ok


def why(registry: Restarted) -> str:
    """Return why it is not ready."""
    reply = registry.get("/ready")
    assert reply.status_code == 503
    detail: str = reply.json()["detail"]
    assert detail.startswith("the store has not been read yet")
    return detail.lower()


def assert_refused(registry: Restarted) -> None:
    """Hold what needs the store to its usual error."""
    body = registration("c", mode="standalone")
    url = f"{registry.url}/api"
    for reply in (
        requests.post(f"{url}/register", json=body, timeout=5),
        requests.post(f"{url}/heartbeat/a", timeout=5),
        requests.delete(f"{url}/services/a", timeout=5),
        registry.get("/api/events"),
        registry.get("/api/services?wait=5&revision=1"),
    ):
        assert reply.status_code == 503, reply.text
        assert reply.json()["code"] == "store_unavailable"
        assert "Retry-After" in reply.headers


def test_changes_made_meanwhile_show_when_the_store_is_read(
    redis: RedisServer, settings: dict[str, Any], tmp_path: Path
) -> None:
    fill(settings, "a", "b")
    other = {**settings, "snapshot": str(tmp_path / "another")}
    with restarted(**other) as changer:
        eventually(lambda: changer.get("/ready").status_code == 200)
        changer.unregister("a")
        changer.register("d", "127.0.0.1:9009", mode="standalone")
    redis.kill()
    with restarted(**settings) as registry:
        assert registry.get("/api/services/a").status_code == 200
        assert registry.get("/api/services/d").status_code == 404
        redis.start()
        eventually(registry.is_current)
        listed = registry.get("/api/services").json()["services"]
        assert [service["id"] for service in listed] == ["b", "d"]


def test_tokens_and_namespaces_hold_for_a_snapshot(
    redis: RedisServer, settings: dict[str, Any]
) -> None:
    settings["namespace"] = ("team-a",)
    with restarted(**settings) as registry:
        eventually(lambda: registry.get("/ready").status_code == 200)
        for path, service_id in (("/api", "a"), ("/api/ns/team-a", "n")):
            body = registration(service_id, mode="standalone")
            url = f"{registry.url}{path}/register"
            assert requests.post(url, json=body, timeout=5).status_code == 201
    redis.kill()
    with restarted(**settings) as registry:
        assert registry.get("/api/services").json()["count"] == 1
        reply = registry.get("/api/ns/team-a/services/n")
        assert reply.status_code == 200
        assert STALE in reply.headers
        assert registry.get("/api/ns/team-a/services/a").status_code == 404
        redis.start()
        eventually(registry.is_current)
        eventually(lambda: STALE not in registry.get("/api/ns/team-a/services").headers)
        assert registry.get("/api/ns/team-a/services").json()["count"] == 1


def test_without_a_snapshot_of_this_store_it_does_not_start(
    redis: RedisServer, settings: dict[str, Any], tmp_path: Path
) -> None:
    fill(settings, "a")
    redis.kill()
    settings["store"] += "?prefix=another"
    with pytest.raises(AssertionError):
        Restarted(**settings)


def test_one_of_several_workers_writes(
    redis: RedisServer, settings: dict[str, Any]
) -> None:
    fill({**settings, "workers": 2}, "a", "b", "c")
    snapshot = read(Path(settings["snapshot"]), identity_of(settings["store"]), ())
    assert snapshot is not None
    redis.kill()
    with restarted(**settings, workers=2) as registry:
        for _ in range(10):
            assert STALE in registry.get(LOOKUP).headers
        redis.start()
        eventually(lambda: all(registry.is_current() for _ in range(20)))


def test_a_kill_leaves_the_former_snapshot(
    redis: RedisServer, settings: dict[str, Any]
) -> None:
    fill(settings, "a")
    path = Path(settings["snapshot"])
    before = path.read_bytes()
    with restarted(**settings) as registry:
        eventually(lambda: registry.get("/ready").status_code == 200)
        registry.register("b", "127.0.0.1:9009", mode="standalone")
        registry.process.send_signal(signal.SIGKILL)
        registry.process.wait(20)
    # As if it had been killed in the middle of a write.
    path.with_name("snapshot.new").write_bytes(before[: len(before) // 2])
    assert path.read_bytes() == before
    redis.kill()
    with restarted(**settings) as registry:
        assert registry.get("/api/services/a").status_code == 200
        redis.start()
        eventually(registry.is_current)
        assert registry.get("/api/services/b").status_code == 200
    assert path.read_bytes() != before
