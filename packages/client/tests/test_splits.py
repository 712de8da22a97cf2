"""The client shares calls among groups as the registry does."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from client_support.harness import RegistryProcess, eventually
from client_support.services import service
from modularity_client import Registry, Resolver, Service, ServiceList
from modularity_client.balancing import Strategy
from modularity_client.errors import RevisionMismatch, SplitNotFound
from modularity_client.events.session import Event
from modularity_client.locality import Place, nearest
from modularity_client.resolver.cache import ProviderCache
from modularity_client.resolver.view import CapabilityView
from modularity_client.splits import group_of

ONE, TWO = service("a", version="1.4.2"), service("b", version="2.0.0")
CANARY = service("c", version="1.0.0", metadata={"tag": "canary"})


def split_event(revision: int, split: dict[str, int] | None) -> Event:
    data = {"capability": "greet", "split": split}
    kind = "capability.split_changed"
    return Event(f"e-{revision}", kind, None, revision, None, data)


def cache_of(*services: Service, zone: str = "", **split: int) -> ProviderCache:
    near = partial(nearest, place=Place(zone), threshold=0.7) if zone else None
    cache = ProviderCache("round_robin", 10, near=near)
    cache.watch(["greet"])
    listed = ServiceList(services, 1, split=split or None)
    assert cache.install("greet", listed, 0)[0]
    return cache


def shares(cache: ProviderCache, times: int = 2_000) -> dict[str, float]:
    picked = Counter(cache.pickers["greet"]().id for _ in range(times))
    return {service_id: count / times for service_id, count in picked.items()}


@pytest.mark.parametrize(
    ("provider", "names", "group"),
    [
        (ONE, ["v1", "v2"], "v1"),
        (ONE, ["1", "1.4", "1.4.2.1"], "1.4"),
        (ONE, ["1.4.20", "2"], None),
        (service("x", version="v2"), ["2"], "2"),
        (CANARY, ["v1", "canary"], "canary"),
        (CANARY, ["v1"], "v1"),
        (service("x", version="3", metadata={"tag": ["v1"]}), ["v1"], None),
    ],
)
def test_a_provider_is_in_the_group_of_its_tag_or_its_version(
    provider: Service, names: list[str], group: str | None
) -> None:
    assert group_of(provider, names) == group


def test_calls_are_shared_by_weight_and_follow_each_change() -> None:
    cache = cache_of(ONE, TWO, CANARY, v1=90, v2=10)
    assert shares(cache)["b"] == pytest.approx(0.1, abs=0.04)
    cache.apply(split_event(2, {"v2": 1}))
    assert shares(cache, 20) == {"b": 1.0}
    cache.apply(split_event(3, {"canary": 0, "v2": 0}))
    assert shares(cache, 200).keys() == {"b", "c"}
    cache.apply(split_event(4, None))
    assert shares(cache, 30).keys() == {"a", "b", "c"}


def test_a_group_whose_providers_all_fail_gives_its_share_away() -> None:
    cache = cache_of(ONE, TWO, CANARY, v2=1)
    cache.skip("b")
    assert shares(cache, 20).keys() == {"a", "c"}  # nobody is in a group
    cache.apply(split_event(2, {"v1": 1, "v2": 9}))
    assert shares(cache, 20) == {"a": 0.5, "c": 0.5}


def test_a_zone_counts_within_the_group() -> None:
    services = [
        service("a1", version="1", zone="a"),
        service("b1", version="1", zone="b"),
        service("b2", version="2", zone="b"),
    ]
    cache = cache_of(*services, zone="a", v1=1, v2=1)
    assert shares(cache, 100).keys() == {"a1", "b2"}


@pytest.mark.parametrize("strategy", ["round_robin", "random", "weighted", "hash"])
def test_every_strategy_keeps_to_the_groups(strategy: Strategy) -> None:
    choice = cache_of(ONE, TWO, CANARY, v2=1).choices["greet"]
    key = "k" if strategy == "hash" else None
    assert {choice.pick(strategy, key).id for _ in range(20)} == {"b"}
    assert (choice.picker(strategy) is None) == (strategy == "hash")


def test_hash_without_a_key_is_an_error_with_a_split_too() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        cache_of(ONE, TWO, v2=1).choices["greet"].pick("hash")


def test_an_event_before_the_list_does_not_count_and_one_after_it_does() -> None:
    view = CapabilityView("greet")
    view.apply_split(split_event(3, {"v1": 1}))
    view.install([ONE], 5, view.generation, {"v2": 1})
    assert view.split == {"v2": 1}
    view.mark_stale()
    view.apply_split(split_event(8, {"v3": 1}))
    view.install([ONE], 6, view.generation)
    assert view.split == {"v3": 1}
    assert not view.apply_split(split_event(6, None))
    assert view.apply_split(split_event(9, None))


def test_a_split_of_another_capability_is_no_news() -> None:
    cache = cache_of(ONE, TWO)
    other = Event("e-2", "capability.split_changed", None, 2, None, {"capability": "x"})
    assert cache.apply(other) == []
    assert shares(cache, 20).keys() == {"a", "b"}


@pytest.fixture
def versions(shared: RegistryProcess) -> Iterator[Registry]:
    with Registry(shared.url) as registry:
        for number in "1234":
            fields: dict[str, Any] = {"id": f"split-{number}", "name": "S"}
            fields |= {"capabilities": ["split/it"], "mode": "standalone"}
            version = "1.0" if number in "12" else "2.0"
            registry.put(location="here", version=version, **fields)
        yield registry
        for number in "1234":
            registry.unregister(f"split-{number}")


def test_a_split_is_set_read_listed_and_ended(versions: Registry) -> None:
    with pytest.raises(SplitNotFound):
        versions.split("split/it")
    changed = versions.set_split("split/it", {"v1": 90, "v2": 10}, only_new=True)
    assert (changed.capability, changed.status) == ("split/it", "split")
    assert versions.split("split/it") == {"v1": 90, "v2": 10}
    [split] = [each for each in versions.splits() if each.capability == "split/it"]
    assert (split.groups, split.revision) == (changed.groups, changed.revision)
    assert versions.providers("split/it").split == {"v1": 90, "v2": 10}
    explained = versions.explain("split/it")
    assert explained.split == {"v1": 90, "v2": 10}
    assert [each.group for each in explained] == ["v1", "v1", "v2", "v2"]
    with pytest.raises(RevisionMismatch):
        versions.set_split("split/it", {"v1": 1}, revision=split.revision - 1)
    assert versions.end_split("split/it", revision=split.revision).status == "ended"
    assert versions.providers("split/it").split is None


def test_a_resolver_follows_and_agrees_with_the_registry(versions: Registry) -> None:
    def served(resolver: Resolver) -> set[str]:
        return {resolver.resolve("split/it").version for _ in range(20)}

    def agreed(resolver: Resolver) -> bool:
        keys = [str(number) for number in range(40)]
        ask: Callable[[str], str] = lambda key: versions.capability(  # noqa: E731
            "split/it", strategy="hash", key=key
        ).id
        return list(map(ask, keys)) == [
            resolver.resolve("split/it", key=key).id for key in keys
        ]

    with Resolver(versions, "split/it") as resolver:
        assert served(resolver) == {"1.0", "2.0"}
        versions.set_split("split/it", {"v2": 1})
        eventually(lambda: served(resolver) == {"2.0"})
        versions.set_split("split/it", {"v1": 30, "v2": 70})
        eventually(lambda: served(resolver) == {"1.0", "2.0"})
        assert agreed(resolver)
        again = resolver.alternative("split/it", {"split-1", "split-2"}, key="k")
        assert again is None  # none of them speaks HTTP
        versions.end_split("split/it")
        eventually(lambda: agreed(resolver))
