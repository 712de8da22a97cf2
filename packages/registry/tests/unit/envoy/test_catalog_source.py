"""Resources follow the catalog: what changes with what, and what is made once."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from modularity_registry.catalog.catalog import Catalog, StoredService, StoredSplit
from modularity_registry.catalog.entry import Renderer
from modularity_registry.clock import SystemClock
from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.node import Node, Way
from modularity_registry.integrations.envoy.resources import catalog_source
from modularity_registry.integrations.envoy.resources.catalog_source import (
    CatalogSource,
)
from modularity_registry.integrations.envoy.resources.places import HostNames
from modularity_registry.integrations.envoy.resources.source import (
    Names,
    Resource,
    Sources,
    Tell,
)
from modularity_registry.model.location import Location
from modularity_registry.model.service import CheckPlan
from modularity_registry.model.split import split_of
from modularity_registry.network.address_policy import AddressPolicy
from modularity_registry.network.name_lookup import NameLookup
from support.loops import soon
from unit.envoy.entries import entry

HERE, THERE = Node("here", zone="z1", region="eu"), Node("there", zone="z9")


class World:
    """A catalog, the source over it, and what it has told."""

    def __init__(self) -> None:
        self.catalog = Catalog(Renderer(CheckPlan(5, 5)), SystemClock())
        self.addresses: dict[str, tuple[str, ...]] = {"two.test": ("10.0.0.8",)}
        lookup = NameLookup(lambda host, port: self.addresses[host], ttl=0)
        policy = AddressPolicy.parse("private")
        self.source = CatalogSource(
            self.catalog, lambda changed: HostNames(policy, lookup, changed)
        )
        self.told: list[Names | None] = []
        self.source.listen(self.told.append)
        self._revision = 0

    def put(self, service_id: str, status: str = "healthy", **fields: Any) -> None:
        made = entry(service_id, status, **fields)
        self._revision += 1
        stored = StoredService(made.service, made.document, self._revision)
        self.catalog.apply(service_id, stored, self._revision)
        self.source.changed(["c"])

    def remove(self, service_id: str) -> None:
        self._revision += 1
        self.catalog.apply(service_id, None, self._revision)
        self.source.changed(["c"])

    def split(self, **groups: int) -> None:
        self._revision += 1
        stored = StoredSplit(split_of("c", groups), self._revision) if groups else None
        self.catalog.put_split("c", stored, self._revision)
        self.source.changed(["c"])

    def last(self) -> set[tuple[str, str]]:
        """Return the kinds and names that it has told last."""
        assert self.told and self.told[-1] is not None
        names = self.told[-1].items()
        return {(kind.label, name) for kind, those in names for name in those}

    def find(self, kind: Kind, name: str = "c", node: Node = HERE) -> Resource:
        found = self.source.find(kind, name, node)
        assert found is not None
        return found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(catalog_source, "LINGER", 0.05)
    yield World()


def test_a_change_of_health_concerns_the_endpoints_alone(world: World) -> None:
    world.put("a")
    assert world.last() == {
        ("clusters", "c"),
        ("endpoints", "c"),
        ("listeners", "c"),
        ("routes", "c"),
    }
    cluster = world.find(Kind.CLUSTERS)
    world.put("a", "unhealthy")
    assert world.last() == {("endpoints", "c")}
    assert world.find(Kind.CLUSTERS).version == cluster.version


def test_what_is_the_same_for_many_is_made_once(world: World) -> None:
    world.put("a", zone="z1")
    for kind in Kind:
        first = world.find(kind, node=Node("x", zone="z5"))
        assert world.find(kind, node=Node("y", zone="z6")) is first
    near = world.find(Kind.ENDPOINTS, node=HERE)
    assert near is world.find(Kind.ENDPOINTS, node=Node("z", zone="z1"))


def test_versions_are_those_of_the_content(world: World) -> None:
    world.put("a")
    before = world.find(Kind.ENDPOINTS).version
    world.put("a", "draining")
    assert world.find(Kind.ENDPOINTS).version != before
    world.put("a")
    assert world.find(Kind.ENDPOINTS).version == before
    other = World()
    other.put("a")
    assert other.find(Kind.ENDPOINTS).version == before


def test_a_split_has_a_cluster_for_each_group_and_weighted_routes(
    world: World,
) -> None:
    world.put("a", version="1.2.0")
    world.put("b", version="2.0.0")
    world.split(v1=90, v2=10, v3=5)
    names = world.source.names(Kind.CLUSTERS, HERE)
    assert names == ["c", "c@v1", "c@v2", "c@v3"]
    routes = RouteConfiguration.FromString(world.find(Kind.ROUTES).body)
    (route,) = routes.virtual_hosts[0].routes
    weights = {
        each.name: each.weight.value for each in route.route.weighted_clusters.clusters
    }
    # Nobody is in v3: calls there would fail.
    assert weights == {"c@v1": 90, "c@v2": 10}
    assert ("routes", "@egress") in world.last()
    group = ClusterLoadAssignment.FromString(world.find(Kind.ENDPOINTS, "c@v2").body)
    assert len(group.endpoints[0].lb_endpoints) == 1


def test_a_group_without_anybody_healthy_gets_no_calls(world: World) -> None:
    world.put("a", version="1.0.0")
    world.put("b", version="2.0.0")
    world.split(v1=1, v2=1)
    world.put("b", "unhealthy", version="2.0.0")
    assert ("routes", "c") in world.last()
    routes = RouteConfiguration.FromString(world.find(Kind.ROUTES).body)
    clusters = routes.virtual_hosts[0].routes[0].route.weighted_clusters.clusters
    assert [each.name for each in clusters] == ["c@v1"]


def test_what_is_gone_lingers_for_a_while(world: World) -> None:
    async def live() -> None:
        world.put("a", version="1.0.0")
        world.split(v1=1)
        world.split()
        # Routes that still name the group reach somebody.
        left = world.find(Kind.ENDPOINTS, "c@v1").body
        assert ClusterLoadAssignment.FromString(left).endpoints
        world.remove("a")
        assert world.find(Kind.CLUSTERS)
        body = world.find(Kind.ENDPOINTS).body
        assert not ClusterLoadAssignment.FromString(body).endpoints
        told = len(world.told)
        await soon(lambda: len(world.told) > told)
        assert world.source.find(Kind.CLUSTERS, "c", HERE) is None
        assert world.source.find(Kind.CLUSTERS, "c@v1", HERE) is None
        assert not world.source.names(Kind.CLUSTERS, HERE)
        world.put("a")
        assert world.find(Kind.CLUSTERS)
        await world.source.stop()

    asyncio.run(live())


def test_endpoints_of_anything_are_answered_with_nobody(world: World) -> None:
    for name in ("never", "never@v1", "c@v7"):
        body = world.find(Kind.ENDPOINTS, name).body
        assert ClusterLoadAssignment.FromString(body).cluster_name == name
    for kind in (Kind.CLUSTERS, Kind.LISTENERS, Kind.ROUTES):
        assert world.source.find(kind, "never", HERE) is None


@pytest.mark.parametrize(
    ("modes", "protocol"),
    [
        (("http",), "http1"),
        (("grpc",), "http2"),
        (("http", "grpc"), "both"),
    ],
)
def test_a_cluster_speaks_as_its_providers_do(
    world: World, modes: tuple[str, ...], protocol: str
) -> None:
    from modularity_registry.integrations.envoy.resources.clusters import cluster

    for mode in modes:
        world.put(mode, mode=mode)
    expected = cluster("c", protocol, False, Way.ADS)
    assert Cluster.FromString(world.find(Kind.CLUSTERS).body) == expected


def test_each_node_gets_what_it_refers_to_as_it_got_that(world: World) -> None:
    world.put("a")
    for way in Way:
        node = Node("n", way=way)
        body = world.find(Kind.CLUSTERS, node=node).body
        source = Cluster.FromString(body).eds_cluster_config.eds_config
        assert source.HasField("ads") == (way is Way.ADS)
        if way is not Way.ADS:
            kind = source.api_config_source.ApiType.Name(
                source.api_config_source.api_type
            )
            assert kind == way.name


def test_the_outbound_listener_is_where_the_node_says(world: World) -> None:
    node = Node("n", egress=("10.0.0.1", 9))
    body = world.find(Kind.LISTENERS, "@egress", node).body
    address = Listener.FromString(body).address.socket_address
    assert (address.address, address.port_value) == ("10.0.0.1", 9)
    assert list(world.source.names(Kind.LISTENERS, node)) == ["@egress"]


def test_a_path_comes_before_that_of_the_call(world: World) -> None:
    world.put("a", path="/my-api")
    routes = RouteConfiguration.FromString(world.find(Kind.ROUTES, "@egress").body)
    rewritten = [
        route.route.prefix_rewrite
        for route in routes.virtual_hosts[0].routes
        if route.route.cluster == "c"
    ]
    assert set(rewritten) == {"/my-api/"}
    world.put("b")
    routes = RouteConfiguration.FromString(world.find(Kind.ROUTES, "@egress").body)
    assert not any(route.route.cluster for route in routes.virtual_hosts[0].routes)


def test_host_names_are_looked_up_and_forgotten(world: World) -> None:
    def addresses() -> list[str]:
        body = world.find(Kind.ENDPOINTS).body
        return [
            each.endpoint.address.socket_address.address
            for locality in ClusterLoadAssignment.FromString(body).endpoints
            for each in locality.lb_endpoints
        ]

    async def live() -> None:
        world.source.host_names.start()
        world.put("a", host="two.test")
        assert addresses() == []
        await soon(lambda: bool(addresses()))
        assert addresses() == ["10.0.0.8"]
        assert world.last() == {("endpoints", "c")}
        world.put("a", host="10.0.0.9")
        assert world.source.host_names.addresses(_at("two.test")) == ()
        # One of its addresses may not be called: then none of them is.
        world.addresses["bad.test"] = ("10.0.0.8", "169.254.169.254")
        world.put("a", host="bad.test")
        world.put("b", host="two.test")
        await soon(lambda: bool(addresses()))
        assert addresses() == ["10.0.0.8"]
        await world.source.stop()

    asyncio.run(live())


def test_host_names_are_looked_up_side_by_side() -> None:
    together = threading.Barrier(2, timeout=20)

    def lookup(host: str, port: int) -> tuple[str, ...]:
        together.wait()
        return ("10.0.0.8",)

    async def live() -> None:
        policy = AddressPolicy.parse("private")
        changed: list[str] = []
        names = HostNames(policy, NameLookup(lookup, timeout=30), changed.append)
        for host in ("one.test", "two.test"):
            names.want(_at(host))
        names.start()
        await soon(lambda: len(changed) == 2, 30)
        await names.stop()

    asyncio.run(live())


def test_a_name_that_is_forgotten_while_it_is_looked_up_stays_so() -> None:
    asked, forgotten = threading.Event(), threading.Event()

    def lookup(host: str, port: int) -> tuple[str, ...]:
        if host == "one.test":
            asked.set()
            forgotten.wait(20)
        return ("10.0.0.8",)

    async def live() -> None:
        changed: list[str] = []
        policy = AddressPolicy.parse("private")
        names = HostNames(policy, NameLookup(lookup, timeout=30), changed.append)
        names.want(_at("one.test"))
        names.start()
        await soon(asked.is_set)
        names.forget("one.test")
        forgotten.set()
        names.want(_at("two.test"))
        await soon(lambda: "two.test" in changed)
        await names.stop()
        assert changed == ["two.test"]
        assert names.addresses(_at("one.test")) == ()

    asyncio.run(live())


def _at(host: str) -> Location:
    return Location("http", "http", host, 80, "", None)


def test_a_reload_may_have_changed_anything(world: World) -> None:
    async def live() -> None:
        world.put("a")
        await world.source.start()
        assert world.told[-1] is None
        world.source.note(["c"])
        await soon(lambda: world.told[-1] is not None)
        assert world.last() == {("endpoints", "c")}
        await world.source.stop()

    asyncio.run(live())


class Mine:
    """A part's own resources: a cluster, and another listener for one node."""

    def names(self, kind: Kind, node: Node) -> tuple[str, ...]:
        return ("mine",) if kind is Kind.CLUSTERS else ()

    def covers(self, kind: Kind, name: str, node: Node) -> bool:
        return name in self.names(kind, node)

    def find(self, kind: Kind, name: str, node: Node) -> Resource | None:
        if kind is Kind.CLUSTERS and name == "mine":
            return Resource(name, "1", b"")
        if kind is Kind.LISTENERS and name == "@egress" and node.id == "here":
            return Resource(name, "2", b"")
        return None

    def listen(self, tell: Tell) -> None:
        self.tell = tell


def test_another_part_adds_resources_and_replaces_some(world: World) -> None:
    world.put("a")
    sources, mine = Sources([world.source]), Mine()
    sources.add_first(mine)
    told: list[Names | None] = []
    sources.listen(told.append)
    here, there = sources.for_node(HERE), sources.for_node(THERE)
    assert list(here.names(Kind.CLUSTERS)) == ["mine", "c"]
    own, other = (each.find(Kind.LISTENERS, "@egress") for each in (here, there))
    assert own is not None and other is not None
    assert own.version == "2"
    assert other.version != "2"
    mine.tell({Kind.CLUSTERS: frozenset(("mine",))})
    assert told == [{Kind.CLUSTERS: frozenset(("mine",))}]


def test_a_name_that_no_cluster_can_have_has_no_resource(world: World) -> None:
    for kind in Kind:
        assert world.source.find(kind, "c" * 1000, HERE) is None
    assert world.source.find(Kind.ENDPOINTS, "c" * 128 + "@" + "g" * 64, HERE)
