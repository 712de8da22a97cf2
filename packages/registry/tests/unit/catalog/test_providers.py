"""Who of a capability's providers is picked from, and what is remembered of them."""

from collections.abc import Iterable

import pytest

from modularity_registry.catalog import catalog as catalog_module
from modularity_registry.catalog import splits
from modularity_registry.catalog.catalog import (
    MOST_PARTS,
    Capability,
    Catalog,
    Providers,
)
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.selection import Strategy
from modularity_registry.catalog.zones import Place
from modularity_registry.model.service import Drain, Fault, Registration, Service
from unit.catalog.test_catalog import apply, new_catalog
from unit.catalog.test_zones import NOW, offered


def put(
    catalog: Catalog,
    service_id: str,
    status: str = "healthy",
    priority: int = 0,
    weight: int = 1,
    capabilities: tuple[str, ...] = ("x",),
    revision: int = 1,
) -> None:
    service = Service(
        Registration(
            *(service_id, "N", capabilities, "here", "embedded"),
            priority=priority,
            weight=weight,
        ),
        *(NOW, NOW),
        drain=Drain("", NOW) if status == "draining" else None,
        warnings=(Fault("report", "", NOW),) if status == "warning" else (),
    )
    apply(catalog, service_id, service, revision)


def ids(entries: Iterable[Entry]) -> list[str]:
    return [entry.id for entry in entries]


def anybody(entry: Entry) -> bool:
    return True


@pytest.fixture
def catalog() -> Catalog:
    return new_catalog()[0]


def test_those_with_a_warning_are_usable_only_if_nobody_is_healthy(
    catalog: Catalog,
) -> None:
    put(catalog, "warned", "warning")
    put(catalog, "drained", "draining")
    assert ids(offered(catalog).providers().usable) == ["warned"]
    put(catalog, "well")
    assert ids(offered(catalog).providers().usable) == ["well"]


def test_who_is_indifferent_may_get_those_with_a_warning_too(catalog: Catalog) -> None:
    for status in ("warning", "draining", "healthy"):
        put(catalog, status, status)
    providers = offered(catalog).providers()
    indifferent = providers.indifferent()
    assert ids(indifferent.usable) == ["warning", "healthy"]
    assert ids(indifferent.matching(anybody).usable) == ["warning", "healthy"]
    assert ids(providers.matching(anybody).usable) == ["healthy"]
    assert providers.indifferent() is indifferent


def test_the_primary_ones_have_the_best_priority_of_all_that_are_registered(
    catalog: Catalog,
) -> None:
    put(catalog, "second", priority=2)
    put(catalog, "first", priority=1)
    primary, backup = offered(catalog).providers().tiers()
    assert (ids(primary.entries), ids(backup.entries)) == (["first"], ["second"])
    put(catalog, "first", "draining", priority=1)
    providers = offered(catalog).providers()
    primary, backup = providers.tiers()
    assert (ids(primary.entries), ids(backup.entries)) == ([], ["second"])
    assert ids(providers.candidates) == ["second"]


def test_thresholds_are_the_running_totals_of_the_weights(catalog: Catalog) -> None:
    for service_id, weight in (("a", 3), ("b", 0), ("c", 2)):
        put(catalog, service_id, weight=weight)
    assert offered(catalog).providers().thresholds == [3, 3, 5]


def test_providers_of_several_capabilities_are_those_of_the_rarest_in_order_of_id(
    catalog: Catalog,
) -> None:
    put(catalog, "c", capabilities=("x", "y"))
    put(catalog, "b", capabilities=("x",))
    put(catalog, "a", capabilities=("x", "y"))
    assert ids(catalog.providing(frozenset("xy"))) == ["a", "c"]
    assert ids(catalog.providing(frozenset("x"))) == ["a", "b", "c"]
    assert ids(catalog.providing(frozenset())) == ["a", "b", "c"]
    assert catalog.providing(frozenset("xz")) == []


def test_each_change_shows_in_the_providers_of_the_next_reader(
    catalog: Catalog,
) -> None:
    put(catalog, "a", revision=1)
    put(catalog, "b", revision=2)
    capability = offered(catalog)
    assert capability.providers() is capability.providers()
    apply(catalog, "a", None, 3)
    assert ids(capability.providers().entries) == ["b"]
    assert capability.providers().revision == 3


def test_a_part_is_picked_out_once(catalog: Catalog) -> None:
    put(catalog, "a")
    providers = offered(catalog).providers()
    parts = [providers.part(key, anybody) for key in range(MOST_PARTS)]
    again = [providers.part(key, anybody) for key in range(MOST_PARTS)]
    assert all(map(Providers.__eq__, parts, again))
    assert ids(parts[0].entries) == ["a"]


def test_one_part_too_many_makes_room(catalog: Catalog) -> None:
    put(catalog, "a")
    providers = offered(catalog).providers()
    first = providers.part(0, anybody)
    for key in range(1, MOST_PARTS + 1):
        providers.part(key, anybody)
    assert providers.part(0, anybody) is not first


def test_the_choices_of_so_many_places_are_remembered_and_no_more(
    catalog: Catalog,
) -> None:
    put(catalog, "a")
    capability = offered(catalog)
    providers = capability.providers()
    remembered = []
    for number in range(MOST_PARTS + 1):
        place = Place(f"z{number}")
        assert splits.pick(catalog, capability, providers, Strategy(), place)
        remembered.append(len(providers.choices))
    assert remembered == [*range(1, MOST_PARTS + 1), 1]


def test_each_part_has_turns_of_its_own() -> None:
    capability = Capability("x")
    assert [next(capability.turns_of("a")) for _ in range(3)] == [0, 1, 2]
    assert next(capability.turns_of("b")) == 0


def test_turns_go_on_while_there_are_as_many_parts_as_are_remembered() -> None:
    capability = Capability("x")
    for turn in range(3):
        for part in range(MOST_PARTS):
            assert next(capability.turns_of(part)) == turn


def test_the_turns_of_so_many_parts_are_remembered_and_no_more() -> None:
    capability = Capability("x")
    first = capability.turns_of(0)
    for part in range(1, MOST_PARTS):
        capability.turns_of(part)
    assert capability.turns_of(0) is first
    capability.turns_of(MOST_PARTS)
    assert capability.turns_of(0) is not first


def test_callers_of_more_parts_than_are_remembered_do_not_all_get_the_first() -> None:
    capability = Capability("x")
    parts = range(MOST_PARTS + 1)
    turns: dict[int, set[int]] = {part: set() for part in parts}
    for _ in range(3):
        for part in parts:
            turns[part].add(next(capability.turns_of(part)) % 2)
    assert all(seen == {0, 1} for seen in turns.values())


def test_as_many_departed_capabilities_are_remembered_as_it_says(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "MAX_DEPARTED", 2)
    for revision, name in enumerate(["c1", "c2", "c3"], 1):
        put(catalog, "a", capabilities=(name,), revision=revision)
    assert [catalog.departed(name) for name in ("c1", "c2")] == [2, 3]
    put(catalog, "a", capabilities=(), revision=4)
    assert [catalog.departed(name) for name in ("c1", "c2", "c3")] == [None, 3, 4]
