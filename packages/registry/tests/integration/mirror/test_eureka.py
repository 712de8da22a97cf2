"""Services of Eureka, mirrored: from a stub that lists as Eureka, and from our own."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from support.cli import Served
from support.integrations.eureka import JSON, instance
from support.integrations.mirror import EurekaStub, mirrored, mirroring, spring_instance
from support.registry import eventually
from support.serving import in_thread

ORDERS = {f"10.0.0.5:orders:{port}": "healthy" for port in (8081, 8082, 8083, 8084)}


@pytest.fixture
def stub() -> Iterator[EurekaStub]:
    server = EurekaStub()
    server.instances = [spring_instance("ORDERS", 8080 + port) for port in range(1, 5)]
    with in_thread(server):
        yield server


@pytest.fixture(scope="module")
def registry() -> Iterator[Served]:
    served = Served(integrations=["eureka"])
    yield served
    served.kill()


@pytest.fixture
def target(registry: Served) -> Iterator[Served]:
    yield registry
    for service in registry.get("/api/services")["services"]:
        registry.run("unregister", service["id"])


def test_changes_are_read_as_deltas_checked_by_their_hash(
    stub: EurekaStub, target: Served
) -> None:
    with mirroring(stub.source, target):
        eventually(lambda: mirrored(target) == ORDERS, 60)
        service = target.get("/api/services/10.0.0.5:orders:8081")
        assert service["location"] == "http://10.0.0.5:8081"
        assert service["capabilities"] == ["orders"]
        assert service["metadata"]["management.port"] == "8081"
        # Here it is listed to Eureka's clients as it was there.
        url = f"{target.url}/eureka/apps/ORDERS/10.0.0.5:orders:8081"
        shown = requests.get(url, headers=JSON, timeout=10).json()["instance"]
        there = stub.instances[0]
        assert shown["healthCheckUrl"] == there["healthCheckUrl"]
        assert shown["metadata"].items() >= there["metadata"].items()

        stub.instances[0]["status"] = "DOWN"
        gone = {**stub.instances.pop(), "actionType": "DELETED"}
        stub.changes = [{**stub.instances[0], "actionType": "MODIFIED"}, gone]
        left = {**ORDERS, "10.0.0.5:orders:8081": "unhealthy"}
        del left["10.0.0.5:orders:8084"]
        eventually(lambda: mirrored(target) == left)
        assert stub.reads["/eureka/apps"] == 1

        stub.changes = []  # it has lost one
        stub.instances.append(spring_instance("BILLING", 9000))
        eventually(lambda: "10.0.0.5:billing:9000" in mirrored(target))
        assert stub.reads["/eureka/apps"] > 1


def test_a_source_that_loses_everything_is_not_followed(
    stub: EurekaStub, target: Served
) -> None:
    with mirroring(stub.source, target) as mirror:
        eventually(lambda: mirrored(target) == ORDERS, 60)
        stub.broken = True
        eventually(lambda: mirror.logged("does not answer"))
        assert mirrored(target) == ORDERS

        stub.instances, stub.changes, stub.broken = [], [], False
        eventually(lambda: mirror.logged("no longer lists 4 of 4 services"))
        eventually(lambda: set(mirrored(target).values()) == {"warning"})
        assert mirrored(target).keys() == ORDERS.keys()
    with mirroring(stub.source, target, "--force"):
        eventually(lambda: mirrored(target) == {})


def test_registries_that_mirror_each_other_copy_nothing_twice(target: Served) -> None:
    # Nobody is there: a check would soon say so, and that is a write.
    unchecked = {"mode": "http", "health": {"enabled": False}}
    with ExitStack() as stack:
        other = Served(integrations=["eureka"])
        stack.callback(other.kill)
        target.register("a", location="http://10.0.0.1:1", **unchecked)
        other.register("b", location="http://10.0.0.1:2", **unchecked)
        body = {"instance": instance("c")}
        posted = requests.post(f"{other.url}/eureka/apps/WEB", json=body, timeout=10)
        assert posted.status_code == 204
        one = stack.enter_context(
            mirroring(f"eureka={other.url}/eureka", target, ttl=15)
        )
        two = stack.enter_context(
            mirroring(f"eureka={target.url}/eureka", other, ttl=15)
        )
        eventually(lambda: mirrored(target).keys() == {"b", "c"}, 60)
        eventually(lambda: mirrored(other).keys() == {"a"}, 60)
        before = target.get("/api/stats")["revision"]
        target.register("d", location="http://10.0.0.1:4", **unchecked)
        eventually(lambda: mirrored(other).keys() == {"a", "d"}, 60)

        assert mirrored(target).keys() == {"b", "c"}
        # Of the target's services, only the new one was written.
        assert target.get("/api/services/b")["revision"] <= before
        assert not one.logged("Traceback") and not two.logged("Traceback")
