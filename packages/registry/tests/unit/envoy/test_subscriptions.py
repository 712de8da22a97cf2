"""What a node is sent: what it has asked for, once, and again when it has changed."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)

from modularity_registry.integrations.envoy.delivery.subscriptions import (
    MOST_NAMES,
    DeltaSubscription,
    Subscription,
    TooManyNames,
    WholeSubscription,
)
from modularity_registry.integrations.envoy.kinds import Kind
from modularity_registry.integrations.envoy.node import Node
from modularity_registry.integrations.envoy.resources.source import (
    Resource,
    Snapshot,
    Sources,
    Tell,
)


class Things:
    """A source of resources whose content is their version."""

    def __init__(self, **versions: str) -> None:
        self.versions = versions

    def names(self, kind: Kind, node: Node) -> Sequence[str]:
        return [name for name in self.versions if not name.startswith("hidden")]

    def covers(self, kind: Kind, name: str, node: Node) -> bool:
        return not name.startswith("hidden")

    def find(self, kind: Kind, name: str, node: Node) -> Resource | None:
        version = self.versions.get(name)
        return Resource(name, version, version.encode()) if version else None

    def listen(self, tell: Tell) -> None:
        """Nobody is told: the tests do that."""


class Talk:
    """A node's side of one subscription."""

    def __init__(self, subscription: Subscription, things: Things) -> None:
        self.subscription = subscription
        self._snapshot: Snapshot = Sources([things]).for_node(Node("n"))
        self._nonces = 0

    def next(self) -> list[str] | None:
        """Return the names in the next response, those that are gone with a minus."""
        made = asyncio.run(self.subscription.response(self._snapshot))
        if made is None:
            return None
        self._nonces += 1
        self.subscription.nonce = str(self._nonces)
        self.subscription.waits = True
        if isinstance(self.subscription, WholeSubscription):
            whole = DiscoveryResponse.FromString(made[0].body)
            return [f"{len(whole.resources)}:", *made[1]]
        delta = DeltaDiscoveryResponse.FromString(made[0].body)
        removed = [f"-{name}" for name in delta.removed_resources]
        return [each.name for each in delta.resources] + removed

    def ask(self, **fields: Any) -> bool:
        whole = isinstance(self.subscription, WholeSubscription)
        kind = DiscoveryRequest if whole else DeltaDiscoveryRequest
        return self.subscription.take(kind(**fields))

    def change(self, *names: str) -> list[str] | None:
        self.subscription.note(frozenset(names))
        return self.next()


def whole(kind: Kind, **versions: str) -> tuple[Talk, Things]:
    things = Things(**versions)
    return Talk(WholeSubscription(kind), things), things


def delta(kind: Kind, **versions: str) -> tuple[Talk, Things]:
    things = Things(**versions)
    return Talk(DeltaSubscription(kind), things), things


def test_of_clusters_each_response_holds_all() -> None:
    talk, things = whole(Kind.CLUSTERS, a="1", b="1")
    assert not talk.ask()
    assert sorted(talk.next() or ()) == ["2:", "a", "b"]
    assert talk.change("a") is None
    things.versions["a"] = "2"
    assert talk.change("a") == ["2:", "a"]
    del things.versions["b"]
    assert talk.change("b") == ["1:"]


def test_of_endpoints_a_response_holds_what_has_changed() -> None:
    talk, things = whole(Kind.ENDPOINTS, a="1", b="1")
    talk.ask(resource_names=["a", "b"])
    assert talk.next() == ["2:", "a", "b"]
    things.versions["b"] = "2"
    assert talk.change("a", "b", "c") == ["1:", "b"]
    assert talk.change("a") is None


def test_endpoints_without_names_are_none() -> None:
    talk, _ = whole(Kind.ENDPOINTS, a="1")
    talk.ask()
    assert talk.next() is None
    assert talk.change("a") is None


def test_new_names_are_answered_though_nothing_has_changed() -> None:
    talk, _ = whole(Kind.ENDPOINTS, a="1", b="1")
    talk.ask(resource_names=["a"])
    assert talk.next() == ["1:", "a"]
    assert talk.ask(resource_names=["a", "b"], response_nonce="1")
    assert talk.next() == ["1:", "b"]
    assert talk.ask(resource_names=["a"], response_nonce="2")
    assert talk.next() is None
    talk.ask(resource_names=["a", "b"], response_nonce="2")
    assert talk.next() == ["1:", "b"]


def test_a_request_of_before_the_last_response_counts_for_nothing() -> None:
    talk, things = whole(Kind.ENDPOINTS, a="1", b="1")
    talk.ask(resource_names=["a"])
    talk.next()
    things.versions["a"] = "2"
    talk.change("a")
    assert not talk.ask(resource_names=["a", "b"], response_nonce="1")
    assert talk.next() is None
    assert talk.ask(resource_names=["a", "b"], response_nonce="2")
    assert talk.next() == ["1:", "b"]


def test_what_was_refused_is_not_sent_again_until_it_changes() -> None:
    talk, things = whole(Kind.CLUSTERS, a="1")
    talk.ask()
    talk.next()
    assert talk.ask(response_nonce="1", error_detail={"message": "no"})
    assert talk.change("a") is None
    things.versions["a"] = "2"
    assert talk.change("a") == ["1:", "a"]


def test_one_who_names_clusters_gets_these_alone() -> None:
    talk, things = whole(Kind.CLUSTERS, a="1", b="1")
    talk.ask(resource_names=["a", "gone"])
    assert talk.next() == ["1:", "a"]
    things.versions["b"] = "2"
    assert talk.change("b") is None
    # All of its clusters may be gone: then it has to be told.
    talk.ask(resource_names=["gone"], response_nonce="1")
    assert talk.next() == ["0:"]


def test_delta_sends_what_is_new_and_what_is_gone() -> None:
    talk, things = delta(Kind.CLUSTERS, a="1", b="1")
    talk.ask()
    assert talk.next() == ["a", "b"]
    things.versions |= {"b": "2", "c": "1"}
    assert talk.change("a", "b", "c") == ["b", "c"]
    del things.versions["a"]
    assert talk.change("a") == ["-a"]
    assert talk.change("a", "never") is None


def test_delta_answers_even_if_there_is_nothing() -> None:
    talk, _ = delta(Kind.CLUSTERS)
    talk.ask()
    assert talk.next() == []
    named, _ = delta(Kind.ENDPOINTS)
    named.ask(resource_names_subscribe=["gone"])
    assert named.next() == ["-gone"]
    assert named.change("gone") is None


def test_delta_leaves_out_what_a_node_brings_with_it() -> None:
    talk, _ = delta(Kind.CLUSTERS, a="1", b="2")
    talk.ask(initial_resource_versions={"a": "1", "b": "1", "gone": "1"})
    assert talk.next() == ["b", "-gone"]


def test_delta_sends_again_what_is_asked_for_again() -> None:
    talk, _ = delta(Kind.ENDPOINTS, a="1")
    talk.ask(resource_names_subscribe=["a"])
    assert talk.next() == ["a"]
    talk.ask(resource_names_subscribe=["a"])
    assert talk.next() == ["a"]
    talk.ask(resource_names_unsubscribe=["a"])
    assert talk.change("a") is None


def test_everything_is_not_what_is_for_those_who_name_it() -> None:
    talk, _ = delta(Kind.LISTENERS, a="1", hidden="1")
    talk.ask()
    assert talk.next() == ["a"]
    assert talk.change("hidden") is None


def test_many_changes_are_one_response() -> None:
    talk, things = whole(Kind.ENDPOINTS, a="1")
    talk.ask(resource_names=["a"])
    talk.next()
    for number in range(2, 100):
        things.versions["a"] = str(number)
        talk.subscription.note(frozenset("a"))
    assert talk.next() == ["1:", "a"]
    assert talk.next() is None


@pytest.mark.parametrize("make", [whole, delta])
def test_a_stream_names_so_many_and_no_more(make: Any) -> None:
    talk, _ = make(Kind.ENDPOINTS)
    names = [str(number) for number in range(MOST_NAMES + 1)]
    field = "resource_names" if make is whole else "resource_names_subscribe"
    with pytest.raises(TooManyNames):
        talk.ask(**{field: names})
