"""Each service's changes of status in the last hour."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from modularity_registry.catalog import status_history
from modularity_registry.catalog.status_history import History
from modularity_registry.runtime import Registry
from support.registry import ManualClock, registration


def register(client: FlaskClient, service_id: str = "a", **changes: Any) -> None:
    body = registration(service_id, mode="standalone", **changes)
    assert client.post("/api/register", json=body).status_code in (200, 201)


def said(client: FlaskClient, status: str, note: str = "", id: str = "a") -> None:
    body = {"status": status, "note": note} if note else {"status": status}
    assert client.post(f"/api/heartbeat/{id}", json=body).status_code == 200


def shown(client: FlaskClient, service_id: str = "a") -> list[tuple[str, str | None]]:
    response = client.get(f"/api/services/{service_id}/history")
    assert response.status_code == 200, response.json
    body = response.get_json()
    assert body["service_id"] == service_id
    assert body["count"] == len(body["history"])
    times = [each["at"] for each in body["history"]]
    assert times == sorted(times)
    return [(each["status"], each["reason"]) for each in body["history"]]


def test_a_service_that_never_changed_has_its_present_status(
    client: FlaskClient, clock: ManualClock, registry: Registry
) -> None:
    register(client)
    clock.advance(50_000)
    assert shown(client) == [("healthy", None)]
    assert len(registry.history) == 0


def test_changes_come_with_their_reasons_oldest_first(
    client: FlaskClient, clock: ManualClock
) -> None:
    register(client)
    clock.advance(10)
    said(client, "unhealthy", "the disk is full")
    clock.advance(10)
    client.put("/api/services/a/drain", json={"reason": "repair"})
    clock.advance(10)
    client.delete("/api/services/a/drain")
    said(client, "healthy")
    assert shown(client) == [
        ("healthy", None),
        ("unhealthy", "the disk is full"),
        ("draining", "repair"),
        ("unhealthy", "the disk is full"),
        ("healthy", None),
    ]


def test_what_held_an_hour_ago_is_the_first(
    client: FlaskClient, clock: ManualClock
) -> None:
    register(client)
    clock.advance(10)
    said(client, "unhealthy", "first")
    clock.advance(10)
    said(client, "healthy")
    clock.advance(3_590)
    assert shown(client) == [("unhealthy", "first"), ("healthy", None)]
    clock.advance(10)
    assert shown(client) == [("healthy", None)]


def test_a_replacement_that_is_well_ends_a_bad_time(
    client: FlaskClient, clock: ManualClock
) -> None:
    register(client)
    clock.advance(1)
    said(client, "unhealthy", "broken")
    clock.advance(1)
    register(client)
    assert shown(client)[1:] == [
        ("unhealthy", "broken"),
        ("healthy", status_history.REGISTERED_AGAIN),
    ]


def test_a_service_that_was_unregistered_begins_anew(
    client: FlaskClient, registry: Registry
) -> None:
    register(client)
    said(client, "unhealthy", "broken")
    client.delete("/api/services/a")
    assert client.get("/api/services/a/history").status_code == 404
    assert len(registry.history) == 0
    register(client)
    assert shown(client) == [("healthy", None)]


def test_only_the_last_changes_of_a_service_are_kept(
    client: FlaskClient, clock: ManualClock, registry: Registry
) -> None:
    register(client)
    for number in range(status_history.PER_SERVICE):
        clock.advance(1)
        said(client, "unhealthy", f"no. {number}")
        clock.advance(1)
        said(client, "healthy")
    kept = shown(client)
    assert len(kept) == len(registry.history) == status_history.PER_SERVICE
    assert kept[-2] == ("unhealthy", f"no. {status_history.PER_SERVICE - 1}")


def test_who_was_quiet_for_longest_is_forgotten_first(
    client: FlaskClient, clock: ManualClock, registry: Registry
) -> None:
    small = History(clock, per_service=10, overall=5)
    registry.feed.listen(small)
    for service_id in ("a", "b", "a", "c"):
        register(client, service_id)
        clock.advance(1)
        said(client, "unhealthy", "broken", id=service_id)
        clock.advance(1)
        said(client, "healthy", id=service_id)
    assert len(small) <= 5
    entries = [registry.catalog.service(each) for each in ("a", "b", "c")]
    assert [len(small.of(entry)) for entry in entries if entry] == [1, 1, 3]


def test_a_change_that_is_being_noted_is_in_it(
    client: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(client)
    said(client, "unhealthy", "broken")
    monkeypatch.setattr(registry.history, "changed", lambda change: None)
    said(client, "healthy")
    assert shown(client)[-2:] == [("unhealthy", "broken"), ("healthy", None)]


def test_parameters_are_refused(client: FlaskClient) -> None:
    register(client)
    assert client.get("/api/services/a/history?limit=1").status_code == 400


def test_nothing_new_is_a_304(client: FlaskClient) -> None:
    register(client)
    tag = client.get("/api/services/a/history").headers["ETag"]
    path, headers = "/api/services/a/history", {"If-None-Match": tag}
    assert client.get(path, headers=headers).status_code == 304
    said(client, "unhealthy", "broken")
    assert client.get(path, headers=headers).status_code == 200
