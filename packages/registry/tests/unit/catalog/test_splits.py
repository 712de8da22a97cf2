"""Groups and their shares; a split fails no call and costs no time."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from modularity_registry.catalog import documents, splits
from modularity_registry.catalog.catalog import Catalog, Providers, StoredSplit
from modularity_registry.catalog.selection import Strategy, StrategyName
from modularity_registry.catalog.splits import SplitChange, SplitFeed
from modularity_registry.catalog.zones import Place
from modularity_registry.model.service import Drain, Registration, Service
from modularity_registry.model.split import group_of, split_of
from modularity_registry.schema import encode
from modularity_registry.stores.base import Record
from unit.catalog.test_catalog import apply, new_catalog
from unit.catalog.test_zones import NOW, offered


def put(
    catalog: Catalog,
    service_id: str,
    version: str = "1.0.0",
    healthy: bool = True,
    zone: str = "",
    weight: int = 1,
    **metadata: Any,
) -> None:
    registration = Registration(
        service_id,
        "N",
        ("x",),
        "here",
        "embedded",
        version=version,
        metadata=msgspec.Raw(encode(metadata)),
        zone=zone,
        weight=weight,
    )
    drain = None if healthy else Drain("", NOW)
    apply(catalog, service_id, Service(registration, NOW, NOW, drain=drain), 1)


def split(catalog: Catalog, **groups: int) -> None:
    catalog.put_split("x", StoredSplit(split_of("x", groups), 2), 2)


def pick(
    catalog: Catalog, strategy: Strategy | None = None, zone: str = ""
) -> str | None:
    capability = offered(catalog)
    providers = capability.providers()
    place = Place(zone) if zone else None
    entry = splits.pick(catalog, capability, providers, strategy or Strategy(), place)
    return None if entry is None else entry.id


def shares(catalog: Catalog, calls: int = 4_000, **options: Any) -> dict[str, float]:
    picked = Counter(pick(catalog, **options) for _ in range(calls))
    return {str(service_id): count / calls for service_id, count in picked.items()}


@pytest.fixture
def versions() -> Catalog:
    """Two providers of version 1, one of version 2."""
    catalog, _ = new_catalog()
    put(catalog, "a", "1.4.2")
    put(catalog, "b", "v1.5.0")
    put(catalog, "c", "2.0.0")
    return catalog


@pytest.mark.parametrize(
    ("name", "version", "belongs"),
    [
        ("v1", "1.4.2", True),
        ("1", "1.4.2", True),
        ("1.4", "1.4.2", True),
        ("v1.4.2", "1.4.2", True),
        ("1.4.2", "v1.4.2", True),
        ("1.4.2.1", "1.4.2", False),
        ("1.4", "1.40", False),
        ("v14", "1.4.2", False),
        ("v2", "1.4.2", False),
        ("canary", "1.4.2", False),
        ("latest", "latest", True),
    ],
)
def test_a_group_is_named_by_a_version_or_its_first_whole_parts(
    name: str, version: str, belongs: bool
) -> None:
    assert group_of([name], None, version) == (name if belongs else None)


def test_the_longest_beginning_of_a_version_wins() -> None:
    names = ["1", "1.4", "1.4.2"]
    assert group_of(names, None, "1.4.2") == "1.4.2"
    assert group_of(names, None, "1.4.3") == "1.4"
    assert group_of(names, None, "1.5") == "1"


def test_a_tag_that_names_a_group_counts_alone() -> None:
    assert group_of(["v1", "canary"], "canary", "1.0") == "canary"
    assert group_of(["v1", "v2"], "v2", "1.0") == "v2"
    assert group_of(["v1", "canary"], "other", "1.0") == "v1"


def test_calls_are_shared_by_weight(versions: Catalog) -> None:
    split(versions, v1=90, v2=10)
    found = shares(versions)
    assert found["c"] == pytest.approx(0.1, abs=0.03)
    # Round robin within the group.
    assert found["a"] == pytest.approx(found["b"], abs=0.001)


def test_a_group_with_nobody_gives_its_share_to_the_others(versions: Catalog) -> None:
    split(versions, v1=10, v2=10, v3=80)
    assert shares(versions)["c"] == pytest.approx(0.5, abs=0.05)
    put(versions, "c", "2.0.0", healthy=False)
    assert shares(versions, 100).keys() == {"a", "b"}


def test_a_weight_of_zero_gets_calls_only_if_nobody_else_can(versions: Catalog) -> None:
    split(versions, v1=0, v2=1)
    assert shares(versions, 50) == {"c": 1.0}
    put(versions, "c", "2.0.0", healthy=False)
    assert shares(versions, 50) == {"a": 0.5, "b": 0.5}


def test_those_in_no_group_get_calls_only_if_no_group_has_anybody(
    versions: Catalog,
) -> None:
    split(versions, v2=1)
    assert shares(versions, 50) == {"c": 1.0}
    put(versions, "c", "2.0.0", healthy=False)
    assert shares(versions, 50) == {"a": 0.5, "b": 0.5}


def test_nobody_healthy_is_nobody_with_a_split(versions: Catalog) -> None:
    split(versions, v1=1)
    for service_id in "abc":
        put(versions, service_id, healthy=False)
    assert pick(versions) is None


def test_a_tag_that_is_not_a_text_names_no_group() -> None:
    catalog, _ = new_catalog()
    put(catalog, "a", "3", tag=["v1"])
    put(catalog, "b", "3", tag="v1")
    split(catalog, v1=1)
    assert shares(catalog, 20) == {"b": 1.0}


@pytest.mark.parametrize("name", ["random", "weighted"])
def test_the_strategy_picks_within_the_group(
    versions: Catalog, name: StrategyName
) -> None:
    put(versions, "b", "1.5.0", weight=0 if name == "weighted" else 1)
    split(versions, v1=50, v2=50)
    found = shares(versions, strategy=Strategy(name))
    assert found["c"] == pytest.approx(0.5, abs=0.05)
    of_b = 0 if name == "weighted" else 0.25
    assert found.get("b", 0) == pytest.approx(of_b, abs=0.05)


def by_key(catalog: Catalog, keys: int = 2_000) -> dict[str, str]:
    """Who each key gets, of one provider a group: so it is the group as well."""
    return {
        str(number): str(pick(catalog, Strategy("hash", str(number))))
        for number in range(keys)
    }


def test_a_key_stays_in_its_group_and_few_keys_move_with_the_weights() -> None:
    catalog, _ = new_catalog()
    put(catalog, "a", "1")
    put(catalog, "b", "2")
    split(catalog, v1=90, v2=10)
    before = by_key(catalog)
    assert by_key(catalog) == before
    assert Counter(before.values())["b"] == pytest.approx(200, abs=60)
    split(catalog, v1=80, v2=20)
    after = by_key(catalog)
    moved = [key for key in before if before[key] != after[key]]
    assert all(before[key] == "a" and after[key] == "b" for key in moved)
    assert len(moved) == pytest.approx(200, abs=60)


def test_only_the_keys_of_a_group_that_is_gone_move() -> None:
    catalog, _ = new_catalog()
    for number in "123":
        put(catalog, number, number)
    split(catalog, **{"v1": 1, "v2": 1, "v3": 1})
    before = by_key(catalog)
    put(catalog, "3", "3", healthy=False)
    after = by_key(catalog)
    assert all(before[key] == "3" for key in before if before[key] != after[key])


def test_a_zone_counts_within_the_group() -> None:
    catalog, _ = new_catalog()
    put(catalog, "a1", "1", zone="a")
    put(catalog, "b1", "1", zone="b")
    put(catalog, "b2", "2", zone="b")
    split(catalog, v1=50, v2=50)
    found = shares(catalog, zone="a")
    assert found.keys() == {"a1", "b2"}
    assert found["a1"] == pytest.approx(0.5, abs=0.05)


def test_the_zones_of_two_groups_take_turns_by_themselves() -> None:
    catalog, _ = new_catalog()
    for number in range(4):
        put(catalog, f"a{number}", "1", zone="a")
    split(catalog, v1=1)
    assert shares(catalog, 8, zone="a") == {f"a{number}": 0.25 for number in range(4)}


def test_the_split_is_over_what_a_filter_leaves(versions: Catalog) -> None:
    split(versions, v1=90, v2=10)
    capability = offered(versions)
    for part in (
        capability.providers().matching(lambda entry: entry.id == "c"),
        capability.providers().part("c", lambda entry: entry.id == "c"),
    ):
        entry = splits.pick(versions, capability, part, Strategy(), None)
        assert entry is not None and entry.id == "c"


def test_providers_are_divided_once_until_something_changes(
    versions: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    split(versions, v1=1)
    divided: list[Providers] = []
    divide = splits._divide

    def counted(providers: Providers, *args: Any) -> Any:
        divided.append(providers)
        return divide(providers, *args)

    monkeypatch.setattr(splits, "_divide", counted)
    shares(versions, 20)
    assert len(divided) == 1
    put(versions, "a", "1", healthy=False)
    shares(versions, 20)
    split(versions, v2=1)
    shares(versions, 20)
    assert len(divided) == 3


def test_a_split_waits_for_who_will_offer_the_capability() -> None:
    catalog, _ = new_catalog()
    split(catalog, v2=1)
    put(catalog, "a", "1")
    put(catalog, "b", "2")
    assert shares(catalog, 10) == {"b": 1.0}


def test_the_feed_puts_splits_in_and_takes_them_out(versions: Catalog) -> None:
    told: list[SplitChange] = []
    feed = SplitFeed(versions, told.append)
    key, new = documents.key_of_split("x"), split_of("x", {"v2": 1})
    feed.changed(key, documents.encode_split(new), 5)
    assert versions.split("x") == StoredSplit(new, 5)
    assert offered(versions).revision == versions.changed == 5
    feed.changed(key, None, 6)
    feed.changed(key, None, 7)  # nothing is there
    assert versions.split("x") is None and pick(versions) in ("a", "b", "c")
    assert told == [SplitChange("x", None, new, 5), SplitChange("x", new, None, 6)]


def test_a_reload_replaces_all_splits(versions: Catalog) -> None:
    split(versions, v1=1)
    feed = SplitFeed(versions, lambda change: None)
    other = split_of("a/b", {"v2": 1})
    versions.advance(9)
    key = documents.key_of_split("a/b")
    feed.loaded([Record(key, documents.encode_split(other), 8)])
    assert versions.splits() == [StoredSplit(other, 8)]
    assert offered(versions).revision == 9  # a list that was read before has changed


@pytest.mark.parametrize("value", [b"junk", b'{"capability":"y","groups":{"v1":1}}'])
def test_an_unreadable_split_splits_nothing(versions: Catalog, value: bytes) -> None:
    feed = SplitFeed(versions, lambda change: None)
    feed.changed("splits/x", value, 5)
    feed.loaded([Record("splits/x", value, 5)])
    assert versions.splits() == []
