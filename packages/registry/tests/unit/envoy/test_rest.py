"""What is kept of nodes that ask by REST: nothing that they can make up."""

import asyncio
from http import HTTPStatus
from typing import Any, cast

import msgspec
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from modularity_registry.integrations.envoy.delivery.rest import RestApplication
from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.node import Node
from modularity_registry.integrations.envoy.nodes import Nodes
from modularity_registry.integrations.envoy.resources.source import (
    Resource,
    Sources,
    Tell,
    resource,
)
from modularity_registry.integrations.http import Call
from modularity_registry.model.rights import Caller
from support.registry import ManualClock

EMPTY = ClusterLoadAssignment(cluster_name="c")
FILLED = ClusterLoadAssignment(cluster_name="c", endpoints=[{}])


class OneCluster:
    """A source with the cluster ``c``, endpoints of any, and a route."""

    def __init__(self) -> None:
        self.endpoints = EMPTY
        self.routes = "1"

    def names(self, kind: Kind, node: Node) -> tuple[str, ...]:
        return ("c",) if kind is not Kind.ENDPOINTS else ()

    def covers(self, kind: Kind, name: str, node: Node) -> bool:
        return True

    def find(self, kind: Kind, name: str, node: Node) -> Resource | None:
        if kind is Kind.ENDPOINTS:
            return resource(name, self.endpoints)
        version = self.routes if kind is Kind.ROUTES else "1"
        return Resource(name, version, b"") if name == "c" else None

    def listen(self, tell: Tell) -> None:
        pass


class Asking:
    """A node that asks for one kind after the other, and tells what it has."""

    def __init__(self) -> None:
        self.source = OneCluster()
        self.nodes = Nodes(ManualClock())
        self._application = RestApplication(Sources([self.source]), self.nodes)
        self.has: dict[Kind, str] = {}

    def ask(self, kind: Kind, *names: str) -> bool:
        """Ask for what is new of a kind; say whether there was anything."""
        [route] = [r for r in self._application.routes if r.rule.endswith(kind.label)]
        content = {
            "node": {"id": "n", "metadata": {"much": "x" * 1000}},
            "version_info": self.has.get(kind, ""),
            "resource_names": names,
        }
        body = msgspec.json.encode(content)
        call = Call(cast(Any, None), {"REMOTE_ADDR": "10.0.0.1"}, Caller(), body)
        reply = asyncio.run(cast(Any, route.handler(call)))
        if reply.status == HTTPStatus.NOT_MODIFIED:
            return False
        self.has[kind] = msgspec.json.decode(reply.body)["version_info"]
        return True


def test_only_clusters_that_there_are_count_as_supplied() -> None:
    node = Asking()
    node.has[Kind.ENDPOINTS] = "1"
    node.ask(Kind.ENDPOINTS, "c", *(f"made-up-{number}" for number in range(50)))
    (state,) = node.nodes._states()
    assert state.supplied == {"c"}
    assert state.node == Node("n", way=state.node.way)


def test_routes_wait_for_endpoints_that_have_come_since_there_were_none() -> None:
    node = Asking()
    for kind in (Kind.CLUSTERS, Kind.ENDPOINTS, Kind.ROUTES):
        assert node.ask(kind, "c")
    assert not node.ask(Kind.ENDPOINTS, "c")
    node.source.routes = "2"
    assert node.ask(Kind.ROUTES, "c")

    node.source.endpoints, node.source.routes = FILLED, "3"
    assert not node.ask(Kind.ROUTES, "c")
    assert node.ask(Kind.ENDPOINTS, "c")
    assert not node.ask(Kind.ROUTES, "c")
    assert not node.ask(Kind.ENDPOINTS, "c")
    assert node.ask(Kind.ROUTES, "c")
