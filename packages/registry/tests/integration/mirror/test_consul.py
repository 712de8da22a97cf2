"""Services of a real Consul, mirrored and imported."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cli import Served, Stub
from support.integrations.mirror import mirrored, mirroring
from support.registry import eventually
from support.servers.stores.consul import Agent, running


@pytest.fixture(scope="module")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with running(Agent(tmp_path_factory.mktemp("consul"))) as agent:
        yield agent


@pytest.fixture
def source(consul: Agent) -> str:
    for service_id in json.loads(consul.call("GET", "/v1/agent/services")):
        consul.call("PUT", f"/v1/agent/service/deregister/{service_id}")
    return f"consul://127.0.0.1:{consul.port}"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Served]:
    served = Served(store=f"sqlite:///{tmp_path / 'registry.db'}")
    yield served
    served.kill()


def register(consul: Agent, service_id: str, **changes: Any) -> None:
    body = {"ID": service_id, "Name": "web", "Address": "10.0.0.1", "Port": 80}
    body.update(changes)
    consul.call("PUT", "/v1/agent/service/register", json.dumps(body).encode())


def test_services_are_here_as_they_are_there(
    consul: Agent, source: str, target: Served
) -> None:
    register(consul, "a", Meta={"version": "2", "x": "y"}, Tags=["t"])
    register(consul, "b", Check={"TTL": "60s"}, Weights={"Passing": 3, "Warning": 1})
    register(consul, "loop", Meta={"mirrored_from": "somewhere"})
    register(consul, "own")
    target.register("own", capabilities=["own"])
    with mirroring(source, target) as mirror:
        eventually(lambda: mirrored(target) == {"a": "healthy", "b": "unhealthy"})
        a, b = (target.get(f"/api/services/{one}") for one in "ab")
        assert a["location"] == "tcp://10.0.0.1:80"
        assert (a["capabilities"], a["version"], a["health"]) == (["web"], "2", None)
        assert a["metadata"] == {
            "mirrored_from": source,
            "mirrored_key": "one/a",
            "tags": ["t"],
            "version": "2",
            "x": "y",
        }
        assert b["weight"] == 3
        assert "is critical at the source" in b["status_reason"]

        consul.call("PUT", "/v1/agent/check/warn/service:b?note=slow")
        eventually(lambda: mirrored(target)["b"] == "warning")
        consul.call("PUT", "/v1/agent/check/pass/service:b")
        eventually(lambda: mirrored(target)["b"] == "healthy")
        consul.call("PUT", "/v1/agent/service/maintenance/a?enable=true")
        eventually(lambda: mirrored(target)["a"] == "unhealthy")
        register(consul, "b", Address="10.0.0.2")
        eventually(
            lambda: target.get("/api/services/b")["location"] == "tcp://10.0.0.2:80"
        )
        consul.call("PUT", "/v1/agent/service/deregister/a")
        eventually(lambda: mirrored(target) == {"b": "healthy"})

        assert target.get("/api/services/own")["capabilities"] == ["own"]
        assert mirror.logged("own is registered here by itself")
        # It moves: from now on it is its own.
        target.register("b", capabilities=["moved"])
        register(consul, "c")
        eventually(lambda: mirrored(target) == {"c": "healthy"})
        assert target.get("/api/services/b")["capabilities"] == ["moved"]
        assert mirror.stop() == 0


def test_restarts_lose_nothing_and_leave_nothing_false(
    consul: Agent, source: str, target: Served
) -> None:
    register(consul, "a")
    register(consul, "b", Port=81)
    both = {"a": "healthy", "b": "healthy"}
    with mirroring(source, target, ttl=3) as mirror:
        eventually(lambda: mirrored(target) == both)
        registered_at = target.get("/api/services/a")["registered_at"]

        mirror.kill()
        eventually(lambda: set(mirrored(target).values()) == {"unhealthy"})
        consul.call("PUT", "/v1/agent/service/deregister/b")
        mirror.start()
        eventually(lambda: mirrored(target) == {"a": "healthy"})

        consul.kill()
        eventually(lambda: mirror.logged("does not answer"))
        assert mirrored(target) == {"a": "healthy"}
        consul.start()
        register(consul, "b", Port=81)
        eventually(lambda: mirrored(target) == both)

        target.kill()
        eventually(lambda: mirror.logged("does not take changes"))
        consul.call("PUT", "/v1/agent/service/deregister/b")
        target.start()
        eventually(lambda: mirrored(target) == {"a": "healthy"})
        assert target.get("/api/services/a")["registered_at"] == registered_at


def test_an_import_copies_once(consul: Agent, source: str, target: Served) -> None:
    register(consul, "a")
    register(consul, "b", Name="db", Port=81)
    register(consul, "own")
    target.register("own")

    dry = target.run("import", "--from", source, "--dry-run")
    assert dry.stderr == (
        "would import: 3 new, 0 replaced, 0 unchanged, 0 pruned\n"
    ), dry.stderr
    assert mirrored(target) == {}
    only = target.run("import", "--from", source, "--only", "d*")
    assert "imported: 1 new" in only.stderr
    again = target.run("import", "--from", source)
    assert again.exit_code == 0
    assert again.stderr.endswith(
        "imported: 1 new, 0 replaced, 1 unchanged, 0 pruned, 1 left alone\n"
    )
    service = target.get("/api/services/a")
    assert [check["kind"] for check in service["checks"]] == ["tcp"]
    assert service["ttl"] is None

    consul.call("PUT", "/v1/agent/service/deregister/a")
    others = target.run("import", "--from", source, "--only", "d*", "--prune")
    assert "0 pruned" in others.stderr
    pruned = target.run("import", "--from", source, "--prune")
    assert "1 pruned" in pruned.stderr
    with mirroring(source, target):  # it takes over what was imported
        eventually(lambda: target.get("/api/services/b")["ttl"] == 6)
        eventually(lambda: mirrored(target) == {"b": "healthy"})


def test_a_source_that_does_not_answer_is_an_error(target: Served) -> None:
    result = target.run("import", "--from", "consul://127.0.0.1:1")

    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    for address in ("nonsense", "consul://", "eureka=ftp://x", "zoo://host:1"):
        bad = target.run("import", "--from", address)
        assert bad.exit_code == 2
        assert "is no source" in bad.stderr
    both = target.run("import", "--from", "consul://h:1", "--input", "x")
    assert both.exit_code == 2


def test_a_token_of_the_source_is_sent(
    tmp_path: Path, target: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub({"/v1/catalog/services": {}})
    try:
        file = tmp_path / "token"
        file.write_text("secret\n")
        address = f"consul://127.0.0.1:{stub.port}"
        given = ("--from-token-file", str(file))
        assert target.run("import", "--from", address, *given).exit_code == 0
        monkeypatch.setenv("MIRROR_FROM_TOKEN", "other")
        assert target.run("import", "--from", address).exit_code == 0
    finally:
        stub.close()
    tokens = [headers.get("x-consul-token") for headers in map(_lower, stub.headers)]
    assert tokens == ["secret", "other"]


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
