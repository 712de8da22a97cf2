"""Several processes that register one service: each joins and leaves by itself."""

import asyncio
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from modularity_registry.model.service import MOST_INSTANCES, Fault
from modularity_registry.runtime import Registry
from support.registry import registration


def join(client: FlaskClient, instance: str | None, **changes: Any) -> TestResponse:
    body = registration("a", **changes)
    if instance is not None:
        body["instance"] = instance
    response = client.post("/api/register", json=body)
    assert response.status_code in (200, 201), response.text
    return response


def leave(client: FlaskClient, instance: str, path: str = "services") -> Any:
    response = client.delete(f"/api/{path}/a?instance={instance}")
    assert response.status_code == 200, response.text
    return json.loads(response.data)["status"]


def service(client: FlaskClient) -> Any:
    return json.loads(client.get("/api/services/a").data)


@pytest.mark.parametrize("path", ["services", "unregister"])
def test_the_service_ends_with_the_last_instance(
    client: FlaskClient, path: str
) -> None:
    for name in ("x", "y", "z"):
        join(client, name)
    assert service(client)["instances"] == ["x", "y", "z"]
    assert leave(client, "y", path) == "left"
    assert leave(client, "z", path) == "left"
    assert service(client)["instances"] == ["x"]
    assert leave(client, "x", path) == "unregistered"
    assert client.get("/api/services/a").status_code == 404


def test_one_more_instance_changes_nothing_of_what_is_known(
    client: FlaskClient, registry: Registry
) -> None:
    join(client, "x")
    before = registry.catalog.service("a")
    assert before is not None
    before.vitals.failed_checks = 2
    join(client, "y")
    after = registry.catalog.service("a")
    assert after is not None
    assert after.registered_at == before.registered_at
    assert after.vitals is before.vitals
    assert after.service.since == before.service.since


def test_an_instance_that_registers_again_writes_nothing(
    client: FlaskClient, registry: Registry
) -> None:
    join(client, "x")
    join(client, "y")
    revision = registry.catalog.revision
    assert join(client, "x").status_code == 200
    assert registry.catalog.revision == revision


def test_a_service_that_is_unhealthy_starts_anew_with_an_instance(
    client: FlaskClient, registry: Registry
) -> None:
    join(client, "x")
    entry = registry.catalog.service("a")
    assert entry is not None
    fault = Fault("check", "refused", registry.clock.now())
    registry.call(registry.commands.add_fault(entry, fault))
    assert service(client)["status"] == "unhealthy"
    join(client, "y")
    assert service(client)["status"] == "healthy"
    assert service(client)["instances"] == ["x", "y"]


def test_joining_ends_a_drain(client: FlaskClient) -> None:
    join(client, "x")
    client.put("/api/services/a/drain")
    join(client, "y")
    assert service(client)["status"] == "healthy"


def test_other_content_replaces_and_keeps_the_instances(client: FlaskClient) -> None:
    join(client, "x", version="1.0.0")
    join(client, "y", version="2.0.0")
    assert service(client)["version"] == "2.0.0"
    assert service(client)["instances"] == ["x", "y"]


def test_without_an_instance_all_is_as_ever(client: FlaskClient) -> None:
    join(client, None)
    assert "instances" not in service(client)
    assert client.delete("/api/services/a?instance=x").status_code == 404
    assert service(client)["id"] == "a"
    join(client, "x")
    join(client, "y")
    assert client.delete("/api/services/a").status_code == 200
    assert client.get("/api/services/a").status_code == 404


def test_the_newest_instances_are_remembered(client: FlaskClient) -> None:
    for number in range(MOST_INSTANCES + 3):
        join(client, f"i{number}")
    instances = service(client)["instances"]
    assert len(instances) == MOST_INSTANCES and instances[0] == "i3"


def test_a_heartbeat_of_an_instance_that_is_not_there_says_register(
    client: FlaskClient,
) -> None:
    join(client, "x")
    for instance, code in (("x", 200), ("y", 404)):
        response = client.post("/api/heartbeat/a", json={"instance": instance})
        assert response.status_code == code
    assert b"not_registered" in response.data


@pytest.mark.parametrize("instance", ["", "a b", "x" * 129, "../x"])
def test_an_instance_is_like_an_id(client: FlaskClient, instance: str) -> None:
    body = registration("a") | {"instance": instance}
    assert client.post("/api/register", json=body).status_code == 400
    join(client, "x")
    assert client.delete(f"/api/services/a?instance={instance}").status_code == 400


def test_a_condition_holds_for_leaving_as_well(client: FlaskClient) -> None:
    join(client, "x")
    join(client, "y")
    path, headers = "/api/services/a?instance=x", {"If-Match": '"1"'}
    assert client.delete(path, headers=headers).status_code == 412
    assert len(service(client)["instances"]) == 2


def test_all_that_leave_at_once_count(client: FlaskClient, registry: Registry) -> None:
    names = [f"i{number}" for number in range(20)]
    for name in names:
        join(client, name)

    async def leave_all() -> list[bool]:
        commands = registry.commands
        leaving = (commands.unregister("a", instance=name) for name in names)
        return [result.others for result in await asyncio.gather(*leaving)]

    assert registry.call(leave_all()).count(False) == 1
    assert registry.catalog.service("a") is None
