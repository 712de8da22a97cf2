"""Doctor: finds the usual faults, says what to do, and ends with 1 for a problem."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from e2e.docs.blocks import table
from e2e.docs.reader import ROOT
from modularity_registry import __version__
from modularity_registry.cli.doctor.findings import ADVICE
from modularity_registry.clock import rfc3339
from modularity_registry.stores import open_store
from modularity_registry.stores.base import put
from support.cli import Served, Stub, run, spaced
from support.registry import eventually
from support.serving import HOST, free_port


@contextmanager
def served(**settings: Any) -> Iterator[Served]:
    registry = Served(**settings)
    try:
        yield registry
    finally:
        registry.kill()


def health(**changes: Any) -> dict[str, Any]:
    """What ``/health`` of a good registry says, with ``changes`` made to it."""
    good = {
        "status": "healthy",
        "service": "modularity-registry",
        "timestamp": rfc3339(datetime.now(UTC)),
        "version": __version__,
        "store": "etcd",
        "revision": 1,
        "replica": "r-1",
        "replicas": [],
    }
    return good | changes


def replica(name: str, state: str = "alive", version: str = __version__) -> Any:
    return {
        **{"id": name, "state": state, "seen": 8.0, "host": "box"},
        **{"version": version, "started_at": "x", "self": False},
    }


def examined(said: Any, *arguments: str, ready: Any = None) -> tuple[int, list[Any]]:
    """The exit code and the findings about a registry that says this of itself."""
    nobody = {"services": [], "count": 0, "revision": 1}
    stub = Stub(
        {
            "/health": said,
            "/ready": ready or {"status": "ready", "revision": 1},
            "/api/services": nobody,
        }
    )
    try:
        result = run("doctor", "--json", "--url", stub.url, *arguments)
    finally:
        stub.close()
    return result.exit_code, json.loads(result.stdout)["findings"]


def told(found: list[Any], level: str = "problem") -> list[str]:
    return [each["message"] for each in found if each["level"] == level]


def test_a_good_registry_has_no_problem() -> None:
    with served() as registry:
        registry.register("a")
        result = registry.run("doctor")
    assert result.exit_code == 0, result.stdout
    lines = spaced(result.stdout)
    assert lines[1:4] == [
        "ok environment its settings are valid",
        f"ok {registry.url} a registry, version {__version__}, store memory",
        "ok services 1 service registered",
    ]
    assert lines[-1] == "No problems."


def test_services_that_fail_come_with_a_reason_and_advice() -> None:
    with served(health_check_interval=0.2) as registry:
        dead = f"http://{HOST}:{free_port()}"
        registry.register("dead", location=dead, mode="http", capabilities=["die"])
        registry.register("said", capabilities=["say"], ttl=60)
        registry.register("tired", capabilities=["say"])
        registry.run("drain", "tired", "--reason", "upgrade")
        beat = {"status": "unhealthy", "note": "the disk is full"}
        assert _post(registry, "/api/heartbeat/said", beat)
        eventually(lambda: _status(registry, "dead") == "unhealthy")
        result = registry.run("doctor", "--json")
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    found = {(each["level"], each["about"]): each for each in shown["findings"]}
    assert shown["problems"] == 4
    for name, number in (("die", 1), ("say", 2)):
        message = found["problem", f"capability {name}"]["message"]
        assert message == f"no healthy provider ({number} registered): callers get 503"
    refused = found["problem", "service dead"]
    assert "connection refused" in refused["message"] and dead in refused["message"]
    assert refused["advice"] == ADVICE["refused"]
    assert "the disk is full" in found["problem", "service said"]["message"]
    assert "reports this itself" in found["problem", "service said"]["advice"]
    assert "upgrade" in found["note", "service tired"]["message"]


def test_a_missed_lease_is_told() -> None:
    with served() as registry:
        registry.register("late", ttl=1)
        eventually(lambda: _status(registry, "late") == "unhealthy")
        result = registry.run("doctor")
    assert result.exit_code == 1
    assert "lease: no heartbeat" in result.stdout
    assert "no heartbeat came for a whole ttl" in result.stdout


def _status(registry: Served, service_id: str) -> str:
    return str(registry.get(f"/api/services/{service_id}").get("status"))


def _post(registry: Served, path: str, body: Any) -> bool:
    import requests

    return requests.post(f"{registry.url}{path}", json=body, timeout=10).ok


def test_every_outcome_has_advice() -> None:
    page = (ROOT / "docs" / "health.md").read_text()
    outcomes = {row[0].strip("`") for row in table(page, "outcome")}
    assert ADVICE.keys() == outcomes


@pytest.mark.parametrize(
    ("url", "said", "advice"),
    [
        ("http://127.0.0.1:{port}", "nothing listens", "serve --port {port}"),
        ("http://no-such-host.invalid:5000", "can't be looked up", "--url"),
    ],
)
def test_a_registry_that_is_not_there(url: str, said: str, advice: str) -> None:
    port = free_port()
    result = run("doctor", "--json", "--url", url.format(port=port))
    found = json.loads(result.stdout)["findings"]
    assert result.exit_code == 1
    assert said in found[-1]["message"]
    assert advice.format(port=port) in found[-1]["advice"]


@pytest.mark.parametrize(
    "said", [None, b"<html>", {"status": "up"}, health(service="a-shop"), []]
)
def test_what_has_the_port_but_is_no_registry(said: Any) -> None:
    code, found = examined(said)
    assert code == 1
    (message,) = told(found)
    assert "not a registry" in message
    assert "ss -ltnp" in found[-1]["advice"]


def test_http_in_place_of_https_is_told() -> None:
    with served() as registry:
        result = run("doctor", "--url", registry.url.replace("http:", "https:"))
    assert result.exit_code == 1
    assert "no reply" in result.stdout and "https://" in result.stdout


def test_a_registry_in_trouble_says_why() -> None:
    reasons = ["the store is away", "3 of 5 services fail"]
    said = health(status="degraded", reasons=reasons, stale_seconds=12)
    code, found = examined(said)
    assert code == 1
    assert told(found) == [
        "degraded: the store is away",
        "degraded: 3 of 5 services fail",
        "its view has been out of date for 12 s",
    ]


def test_one_that_is_not_ready_says_why() -> None:
    code, found = examined(health(), ready=b"<html>")
    assert (code, len(told(found))) == (1, 1)
    assert told(found)[0].startswith("not ready")


@pytest.mark.parametrize(
    ("seconds", "said"), [(60, "ahead of"), (-60, "behind"), (1, ""), (-1, "")]
)
def test_clocks_that_differ_are_told(seconds: float, said: str) -> None:
    then = datetime.now(UTC) + timedelta(seconds=seconds)
    code, found = examined(health(timestamp=rfc3339(then)))
    assert code == bool(said)
    assert all(said in message for message in told(found))


def test_another_version_and_lost_replicas_are_told() -> None:
    others = [replica("r-2", "lost"), replica("r-3", version="0.0.1"), replica("r-4")]
    code, found = examined(health(version="0.0.2", replicas=others))
    assert code == 1
    (lost,) = told(found)
    assert lost.startswith("lost on box: http")
    assert lost.endswith("has not heard from it for 8 s")
    notes = told(found, "note")
    assert any("version 0.0.2, this program" in note for note in notes)
    assert sum(note.endswith(" has version 0.0.2") for note in notes) == 2


def test_an_upstream_that_can_not_be_asked_is_told() -> None:
    dead = f"http://{HOST}:{free_port()}"
    with served(upstream=(f"west={dead}",)) as registry:
        result = run("doctor", "--json", "--url", registry.url)
    (message,) = told(json.loads(result.stdout)["findings"])
    assert message.startswith(f"its upstream west at {dead} can't be asked: ")


def test_urls_of_different_registries_are_told() -> None:
    with served() as one, served() as other:
        result = run("doctor", "--url", f"{one.url},{other.url}")
        assert result.exit_code == 1
        assert f"{one.url} does not list it" in result.stdout


def test_settings_that_can_not_be_read_are_told() -> None:
    dead = f"http://{HOST}:{free_port()}"
    result = run("doctor", "--url", dead, REGISTRY_PROT="80")
    assert "did you mean REGISTRY_PORT?" in result.stdout
    result = run("doctor", "--url", dead, REGISTRY_PORT="6000")
    assert "--url http://127.0.0.1:6000" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "level", "said"),
    [
        (("http://10.0.0.1:80",), "ok", "accepted"),
        (("http://127.0.0.1:80",), "note", "registry's own machine"),
        (("http://169.254.169.254",), "problem", "never allowed"),
        (("http://8.8.8.8",), "problem", "REGISTRY_ALLOWED_NETWORKS"),
        (("tcp://10.0.0.1:80",), "ok", "accepted"),
        (("http://10.0.0.1", "--mode", "grpc"), "problem", "grpc://"),
        (("nowhere",), "problem", "http://"),
        (("http://no-such-host.invalid",), "problem", "has no address"),
    ],
)
def test_a_location_is_judged(
    arguments: tuple[str, ...], level: str, said: str
) -> None:
    code, found = examined(health(), "--location", *arguments)
    (finding,) = [each for each in found if each["about"].startswith("location")]
    assert (finding["level"], code) == (level, int(level == "problem"))
    assert said in finding["message"] + finding["advice"]


def test_a_location_is_judged_by_the_settings_that_are_there() -> None:
    dead = f"http://{HOST}:{free_port()}"
    place = ("--location", "http://8.8.8.8", "--url", dead)
    result = run("doctor", *place, REGISTRY_ALLOWED_NETWORKS="8.8.8.0/24")
    assert "accepted: 8.8.8.0/24" in result.stdout


def test_a_store_is_tried(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    code, found = examined(health(), "--store", url)
    assert code == 1 and "there is no file" in told(found)[0]
    assert list(tmp_path.iterdir()) == []
    store = open_store(url)
    put(store, "services/a", b"{}")
    store.close()
    code, found = examined(health(), "--store", url)
    assert code == 0
    assert "it replies, and has 1 record" in told(found, "ok")


@pytest.mark.parametrize(
    "url", ["etcd://me:secret@127.0.0.1:{port}", "mysql://me:secret@db", "consul://["]
)
def test_a_store_that_does_not_answer_is_told_without_its_password(url: str) -> None:
    code, found = examined(health(), "--store", url.format(port=free_port()))
    assert code == 1
    assert "secret" not in json.dumps(found)


@pytest.mark.parametrize(
    "arguments", [("--url", "x"), ("--mode", "tcp"), ("--url", "http://a:70000")]
)
def test_a_mistake_in_the_command_is_code_2(arguments: tuple[str, ...]) -> None:
    assert run("doctor", *arguments).exit_code == 2
