"""A client stays in its zone by the registry's rule, and says where it is."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from client_support.harness import RegistryProcess, eventually
from client_support.services import service
from modularity_client import Registry, Resolver, Service, ServiceList, calls
from modularity_client.events.session import Event
from modularity_client.locality import ZONE_THRESHOLD, Place, find_place, nearest
from modularity_client.resolver.cache import ProviderCache

EU = tuple(
    service(f"{zone}{number}", zone=zone, region="eu")
    for zone in ("a", "b")
    for number in range(10)
)
US = (service("c0", zone="c", region="us"), service("n0"))
ALL = EU + US


def near(place: Place, gone: int = 0, threshold: float = ZONE_THRESHOLD) -> list[str]:
    """Who is near when so many of zone a are not usable."""
    lost = {f"a{number}" for number in range(gone)}
    usable = tuple(each for each in ALL if each.id not in lost)
    return [each.id for each in nearest(usable, ALL, place, threshold)]


@pytest.mark.parametrize(
    ("gone", "count"), [(0, 10), (3, 7), (4, 16), (6, 14), (7, 15), (10, 12)]
)
def test_zone_then_region_then_anywhere(gone: int, count: int) -> None:
    ids = near(Place("a"), gone)
    if gone < 7:
        assert len(ids) == count
        assert {name[0] for name in ids} == ({"a"} if gone < 4 else {"a", "b"})
    else:
        # Without a healthy seventh in the region, the caller goes anywhere.
        assert len(ids) == len(ALL) - gone == count


def test_a_priority_comes_before_the_zone() -> None:
    far, backup = service("far", zone="b"), service("backup", zone="a", priority=1)
    assert nearest((far,), (far, backup), Place("a"), 0.7) == (far,)
    here = service("here", zone="a")
    chosen = nearest((far, here), (far, here, backup), Place("a"), 0.7)
    assert chosen == (here,), "a backup does not count for the share"


def test_a_zone_without_providers_has_the_region_that_is_given() -> None:
    assert len(near(Place("z"))) == len(ALL)
    assert len(near(Place("z", "eu"))) == 20


def test_a_threshold_of_0_stays_with_the_last_one() -> None:
    assert near(Place("a"), 9, threshold=0) == ["a9"]


def test_the_place_is_found_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_place(None, None) == Place()
    monkeypatch.setenv("REGISTRY_ZONE", "a")
    assert find_place(None, None) == Place("a")
    monkeypatch.setenv("REGISTRY_REGION", "eu")
    assert find_place(None, None).header() == {"X-Zone": "eu/a"}
    assert find_place("b", None) == Place("b")
    monkeypatch.setenv("REGISTRY_ZONE", "off")
    monkeypatch.setenv("REGISTRY_REGION", "off")
    assert find_place(None, None).header() == {}


@pytest.mark.parametrize(("zone", "region"), [("a b", None), ("a", "/"), (None, "eu")])
def test_a_place_that_is_none_is_refused(zone: str | None, region: str | None) -> None:
    with pytest.raises(ValueError, match=r"zone|region"):
        Registry(zone=zone, region=region)


def cache_of(providers: tuple[Service, ...]) -> ProviderCache:
    cache = ProviderCache(
        "round_robin", 10, near=partial(nearest, place=Place("a"), threshold=0.7)
    )
    cache.watch(["greet"])
    assert cache.install("greet", ServiceList(providers, 1), 0)[0]
    return cache


def choices(cache: ProviderCache) -> list[str]:
    return [each.id for each in cache.choices["greet"].services]


def test_a_skipped_provider_is_missing_in_its_zone() -> None:
    cache = cache_of((service("a1", zone="a"), service("b1", zone="b")))
    assert choices(cache) == ["a1"]
    cache.skip("a1")
    assert choices(cache) == ["b1"]


def test_an_unhealthy_one_that_leaves_brings_callers_back() -> None:
    sick = service("a2", zone="a", status="unhealthy")
    cache = cache_of((service("a1", zone="a"), sick, service("b1", zone="b")))
    assert choices(cache) == ["a1", "b1"]
    cache.apply(Event("e-2", "service.unregistered", None, 2, sick))
    assert choices(cache) == ["a1"]


def registered(registry: Registry, name: str, zone: str, **changes: Any) -> None:
    fields: dict[str, Any] = {"id": f"{name}-{zone}", "name": name, "location": "here"}
    fields |= {"capabilities": [name], "mode": "standalone", "zone": zone}
    registry.put(**(fields | changes))


@pytest.fixture
def two(shared: RegistryProcess) -> Iterator[str]:
    with Registry(shared.url) as registry:
        for zone in ("a", "b"):
            registered(registry, "zoned", zone, region="eu")
        yield shared.url
        for zone in ("a", "b"):
            registry.unregister(f"zoned-{zone}")


def test_calls_say_where_the_caller_is(two: str) -> None:
    with Registry(two, zone="b", region="eu") as registry:
        assert {registry.capability("zoned").zone for _ in range(4)} == {"b"}
        near_a = [registry.capability("zoned", near="a") for _ in range(4)]
        assert {(each.zone, each.region) for each in near_a} == {("a", "eu")}
        assert [each.id for each in registry.services(zone="a")] == ["zoned-a"]
    assert calls.capability("x", near="a").query == (("near", "a"),)


def test_a_member_is_registered_where_it_is(two: str) -> None:
    with Registry(two, zone="b", region="eu") as registry:
        joining: dict[str, Any] = {"name": "m", "capabilities": [], "location": "x"}
        with registry.join(id="m-1", mode="standalone", **joining):
            assert registry.service("m-1").zone == "b"
            assert registry.service("m-1").region == "eu"
        with registry.join(id="m-2", mode="standalone", zone="c", **joining):
            assert registry.service("m-2").zone == "c"
            assert registry.service("m-2").region is None


def test_a_resolver_stays_in_its_zone_and_leaves_it(two: str) -> None:
    with Registry(two, zone="a") as registry, Resolver(registry, "zoned") as resolver:
        assert {resolver.resolve("zoned").id for _ in range(4)} == {"zoned-a"}
        registry.drain("zoned-a")
        eventually(lambda: resolver.resolve("zoned").id == "zoned-b")
        registry.undrain("zoned-a")
        eventually(lambda: resolver.resolve("zoned").id == "zoned-a")
