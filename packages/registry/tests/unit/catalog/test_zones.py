"""Zone first, then region, then anywhere; and no work that grows with the providers."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from modularity_registry.catalog import zones
from modularity_registry.catalog.catalog import Capability, Catalog, Providers
from modularity_registry.catalog.selection import Strategy, pick_provider
from modularity_registry.catalog.zones import Place, nearest, nearest_locality
from modularity_registry.model.service import Drain, Registration, Service
from unit.catalog.test_catalog import apply, new_catalog

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def put(
    catalog: Catalog,
    service_id: str,
    zone: str = "",
    region: str = "",
    healthy: bool = True,
    revision: int = 1,
    priority: int = 0,
) -> None:
    registration = Registration(
        *(service_id, "N", ("x",), "here", "embedded"),
        zone=zone,
        region=region,
        priority=priority,
    )
    drain = None if healthy else Drain("", NOW)
    apply(catalog, service_id, Service(registration, NOW, NOW, drain=drain), revision)


def offered(catalog: Catalog) -> Capability:
    capability = catalog.capability("x")
    assert capability is not None
    return capability


def near(catalog: Catalog, zone: str, region: str = "") -> list[str]:
    """The ids of the providers that a caller there may get."""
    capability = offered(catalog)
    place = Place(zone, region)
    providers, _ = nearest(catalog, capability, capability.providers(), place)
    return sorted(entry.id for entry in providers.candidates)


def picked(catalog: Catalog, zone: str, times: int) -> Iterator[str]:
    capability = offered(catalog)
    for _ in range(times):
        near_by = nearest(catalog, capability, capability.providers(), Place(zone))
        entry = pick_provider(Strategy(), *near_by)
        assert entry is not None
        yield entry.id


def three_zones() -> Catalog:
    """Zones a and b in the region eu, c in us, each with ten healthy providers."""
    catalog, _ = new_catalog()
    for zone, region in (("a", "eu"), ("b", "eu"), ("c", "us")):
        for number in range(10):
            put(catalog, f"{zone}{number}", zone, region)
    return catalog


def lose(catalog: Catalog, zone: str, region: str, count: int) -> None:
    for number in range(count):
        put(catalog, f"{zone}{number}", zone, region, healthy=False)


def test_a_caller_gets_its_own_zone() -> None:
    assert near(three_zones(), "a") == [f"a{number}" for number in range(10)]


def test_a_priority_comes_before_the_zone() -> None:
    catalog, _ = new_catalog()
    put(catalog, "far", "b")
    put(catalog, "backup", "a", priority=1)
    assert near(catalog, "a") == ["far"]
    put(catalog, "near", "a")
    assert near(catalog, "a") == ["near"], "a backup does not count for the share"
    put(catalog, "near", "a", healthy=False)
    put(catalog, "far", "b", healthy=False)
    put(catalog, "elsewhere", "b", priority=1)
    assert near(catalog, "a") == ["backup"]


@pytest.mark.parametrize(("lost", "stays"), [(0, True), (3, True), (4, False)])
def test_a_zone_keeps_its_callers_while_seven_of_ten_are_healthy(
    lost: int, stays: bool
) -> None:
    catalog = three_zones()
    lose(catalog, "a", "eu", lost)
    ids = near(catalog, "a")
    assert len(ids) == (10 - lost if stays else 20 - lost)
    assert {service_id[0] for service_id in ids} == ({"a"} if stays else {"a", "b"})


def test_a_region_spills_over_by_the_same_rule() -> None:
    catalog = three_zones()
    lose(catalog, "a", "eu", 3)
    assert len(near(catalog, "a")) == 7
    lose(catalog, "a", "eu", 5)
    assert len(near(catalog, "a")) == 15
    lose(catalog, "a", "eu", 7)
    assert len(near(catalog, "a")) == 3 + 10 + 10
    lose(catalog, "b", "eu", 3)
    assert len(near(catalog, "b")) == 7


def test_a_zone_without_a_healthy_provider_is_left_at_any_threshold() -> None:
    catalog = three_zones()
    catalog.zone_threshold = 0.0
    lose(catalog, "a", "eu", 9)
    assert near(catalog, "a") == ["a9"]
    lose(catalog, "a", "eu", 10)
    assert {service_id[0] for service_id in near(catalog, "a")} == {"b"}


def test_a_zone_that_nobody_is_in_means_anywhere_but_its_region_if_that_is_told() -> (
    None
):
    catalog = three_zones()
    assert len(near(catalog, "none")) == 30
    assert len(near(catalog, "none", "eu")) == 20


def test_the_region_of_a_zone_is_known_from_other_capabilities() -> None:
    catalog, _ = new_catalog()
    put(catalog, "b0", "b", "eu")
    put(catalog, "c0", "c", "us")
    other = Registration("o", "N", ("y",), "here", "embedded", zone="a", region="eu")
    apply(catalog, "o", Service(other, NOW, NOW), 2)
    assert near(catalog, "a") == ["b0"]
    apply(catalog, "o", None, 3)
    assert near(catalog, "a") == ["b0", "c0"]
    assert "a" not in catalog.regions


def test_who_says_no_zone_is_near_to_nobody_and_far_from_nobody() -> None:
    catalog, _ = new_catalog()
    put(catalog, "a0", "a")
    put(catalog, "n0")
    assert near(catalog, "a") == ["a0"]
    assert near(catalog, "b") == ["a0", "n0"]


def test_callers_of_two_zones_that_take_turns_reach_all_providers() -> None:
    catalog = three_zones()
    seen: set[str] = set()
    for _ in range(10):
        seen.update(picked(catalog, "a", 1))
        seen.update(picked(catalog, "b", 1))
    assert len(seen) == 20


def test_a_lookup_does_not_look_at_the_providers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog = three_zones()
    divided = []
    divide = zones._divide

    def counted(providers: Providers) -> zones.Localities:
        divided.append(providers)
        return divide(providers)

    monkeypatch.setattr(zones, "_divide", counted)
    for zone in ("a", "b", "c", *map(str, range(1_000))):
        assert list(picked(catalog, zone, 3))
    assert len(divided) == 1
    put(catalog, "a0", "a", "eu", revision=2)
    assert list(picked(catalog, "a", 100))
    assert len(divided) == 2


def test_the_locality_is_told_by_name() -> None:
    catalog = three_zones()
    providers = offered(catalog).providers()
    assert nearest_locality(catalog, providers, Place("a")) == ("zone", "a")
    assert nearest_locality(catalog, providers, Place("z", "us")) == ("region", "us")
    assert nearest_locality(catalog, providers, Place("z")) is None
