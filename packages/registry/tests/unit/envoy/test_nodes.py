"""What is shown of nodes: each once, those that refuse something first, and not all."""

from envoy.config.core.v3.base_pb2 import Node as Message
from google.protobuf.json_format import ParseDict

from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.node import Node, Way, node_of
from modularity_registry.integrations.envoy.nodes import (
    MOST_POLLERS,
    MOST_SHOWN,
    POLLER_LASTS,
    Nodes,
)
from support.registry import ManualClock


def test_a_refusal_is_shown_until_something_is_accepted() -> None:
    clock = ManualClock()
    nodes = Nodes(clock)
    nodes.join("s", Node("good"))
    state = nodes.join("t", Node("worse"))
    nodes.sent(state, Kind.CLUSTERS, "1")
    nodes.answered(state, Kind.CLUSTERS, "1", "no " * 1000)
    first, second = nodes.statistics()["shown"]
    assert (first["id"], second["id"]) == ("worse", "good")
    assert first["types"]["clusters"]["accepted"] is None
    assert first["rejected"]["version"] == "1"
    assert len(first["rejected"]["message"]) == 1000
    assert not first["up_to_date"]
    clock.advance(1)
    nodes.sent(state, Kind.CLUSTERS, "2")
    nodes.answered(state, Kind.CLUSTERS, "2", None)
    first = nodes.statistics()["shown"][0]
    assert first["up_to_date"]
    assert first["rejected"]["version"] == "1"


def test_several_streams_of_a_node_are_one_row() -> None:
    nodes = Nodes(ManualClock())
    for kind in (Kind.CLUSTERS, Kind.ENDPOINTS):
        state = nodes.join(kind, Node("n", way=Way.GRPC))
        nodes.sent(state, kind, "1")
    shown = nodes.statistics()
    assert (shown["nodes"], shown["streams"]) == (1, 2)
    assert shown["shown"][0]["types"].keys() == {"clusters", "endpoints"}
    nodes.leave(Kind.CLUSTERS)
    assert nodes.statistics()["shown"][0]["types"].keys() == {"endpoints"}


def test_who_asks_no_more_is_forgotten() -> None:
    clock = ManualClock()
    nodes = Nodes(clock)
    nodes.poller(Node("a"), "one")
    clock.advance(POLLER_LASTS + 1)
    assert nodes.statistics()["nodes"] == 0
    for number in range(MOST_POLLERS + 5):
        nodes.poller(Node(str(number)), "one")
    shown = nodes.statistics()
    assert shown["nodes"] == MOST_POLLERS
    assert len(shown["shown"]) == MOST_SHOWN


def test_no_client_pushes_the_nodes_of_others_out() -> None:
    nodes = Nodes(ManualClock())
    first = nodes.poller(Node("quiet"), "one")
    for number in range(MOST_POLLERS + 5):
        nodes.poller(Node(str(number)), "two")
    assert nodes.statistics()["nodes"] == MOST_POLLERS
    assert nodes.poller(Node("quiet"), "one") is first
    # Of as many clients as there are places, the one that asked last stays.
    for number in range(MOST_POLLERS + 5):
        last = nodes.poller(Node("n"), str(number))
    assert nodes.poller(Node("n"), str(number)) is last
    assert len(list(nodes._states())) == MOST_POLLERS


def test_clients_that_are_gone_leave_nothing() -> None:
    clock = ManualClock()
    nodes = Nodes(clock)
    for client in ("one", "two", "three"):
        nodes.poller(Node("n"), client)
        clock.advance(POLLER_LASTS / 2)
    nodes.poller(Node("n"), "four")
    assert list(nodes._pollers) == ["two", "three", "four"]


def test_of_who_asks_again_no_metadata_is_kept() -> None:
    node = Node("n", zone="z", metadata='{"mesh": {}}')
    assert Nodes(ManualClock()).poller(node, "one").node == Node("n", zone="z")


def test_a_node_says_where_it_is_and_where_it_listens() -> None:
    def egress(value: object) -> tuple[str, int]:
        content = {"id": "n" * 1000, "metadata": {"egress": value}}
        node = node_of(ParseDict(content, Message()), Way.ADS)
        assert len(node.id) == 256
        return node.egress

    assert egress(15002) == ("127.0.0.1", 15002)
    assert egress("15002") == ("127.0.0.1", 15002)
    assert egress("0.0.0.0:80") == ("0.0.0.0", 80)
    assert egress("[::1]:80") == ("::1", 80)
    for wrong in ("", "here", -1, 70_000, 1e300, None, {"a": 1}, True):
        assert egress(wrong) == ("127.0.0.1", 15001)
