"""What loads and changes leave behind: what is read, told, counted and split."""

from collections import deque
from collections.abc import Iterator

import msgspec
import pytest

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import (
    Additions,
    Catalog,
    StoredService,
    StoredSplit,
    Transition,
)
from modularity_registry.errors import ServiceNotFound
from modularity_registry.model.checks import ServiceCheck
from modularity_registry.model.service import Registration, Service
from modularity_registry.model.split import split_of
from modularity_registry.stores.base import Record
from support.registry import ManualClock
from unit.catalog.test_catalog import apply, new_catalog, service, stored
from unit.catalog.test_zones import NOW, offered


class Store:
    """Records to load; notes which of them are read."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.services: dict[str, StoredService] = {}
        self.unreadable: set[str] = set()
        self.read: list[str] = []

    def put(self, service_id: str, revision: int, *capabilities: str) -> None:
        value = service(self.clock, service_id, capabilities or ("x",))
        self.services[service_id] = stored(value, revision)

    def load(
        self, catalog: Catalog, revision: int
    ) -> Iterator[list[Transition] | None]:
        """Yield after each step, at last what has changed."""

        def read(record: Record) -> StoredService | None:
            key = record.key.removeprefix(documents.PREFIX)
            self.read.append(key)
            return None if key in self.unreadable else self.services[key]

        records = deque(
            Record(documents.key_of(key), each.document, each.revision)
            for key, each in self.services.items()
        )
        self.read.clear()
        steps = catalog.load(records, read, revision)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                yield list(end.value)
                return
            yield None


def load(store: Store, catalog: Catalog, revision: int) -> list[Transition]:
    *_, changes = store.load(catalog, revision)
    assert changes is not None
    return changes


@pytest.fixture
def catalog() -> Catalog:
    return new_catalog()[0]


@pytest.fixture
def store() -> Store:
    return Store(ManualClock())


def test_the_first_load_adds_all_that_can_be_read(
    catalog: Catalog, store: Store
) -> None:
    store.put("b", 1, "x", "y")
    store.put("a", 2)
    store.put("bad", 3)
    store.unreadable.add("bad")
    changes = load(store, catalog, 9)
    assert [(each.id, each.old, each.revision) for each in changes] == [
        ("b", None, 1),
        ("a", None, 2),
    ]
    assert changes[0].capabilities == {"x", "y"}
    assert not any(each.last for each in changes)
    assert catalog.ids() == ["a", "b"]
    assert [each.name for each in catalog.capabilities()] == ["x", "y"]
    assert (catalog.revision, catalog.changed) == (9, 9)


def test_an_addition_is_among_the_additions(catalog: Catalog) -> None:
    apply(catalog, "a", service(ManualClock(), "a"), 1)
    additions = Additions([catalog.require("a")])
    [addition] = additions
    assert addition in additions
    assert msgspec.structs.replace(addition, revision=2) not in additions
    assert len(additions) == 1


def test_who_has_not_changed_is_not_read_again(catalog: Catalog, store: Store) -> None:
    for service_id in ("same", "newer", "other"):
        store.put(service_id, 1)
    load(store, catalog, 1)
    store.services["newer"] = store.services["newer"]._replace(revision=2)
    store.put("other", 1, "y")
    changes = load(store, catalog, 2)
    assert store.read == ["newer", "other"]
    assert [each.id for each in changes] == ["newer", "other"]


def test_a_reload_completes_no_revision_before_its_end(
    catalog: Catalog, store: Store
) -> None:
    for service_id in ("gone", "stays", "bad"):
        store.put(service_id, 1)
    load(store, catalog, 1)
    del store.services["gone"]
    for service_id in ("stays", "bad", "new", "worse"):
        store.put(service_id, 7, "y")
    store.unreadable.update(("bad", "worse"))
    for changes in store.load(catalog, 9):
        assert catalog.revision == (1 if changes is None else 9)
    assert changes is not None
    assert [(each.id, each.revision, each.new is None) for each in changes] == [
        ("gone", 9, True),
        ("stays", 7, False),
        ("bad", 9, True),
        ("new", 7, False),
    ]
    assert not any(each.last for each in changes)
    assert catalog.ids() == ["new", "stays"]


def test_only_the_last_change_of_a_revision_completes_it(catalog: Catalog) -> None:
    assert (catalog.revision, catalog.changed) == (0, 0)
    value = stored(service(ManualClock(), "a"), 3)
    assert not catalog.apply("a", value, 3, last=False).last
    assert (catalog.revision, catalog.changed) == (0, 3)
    assert catalog.apply("b", value, 3).last
    assert catalog.revision == 3


def test_a_change_names_the_capabilities_before_and_after(catalog: Catalog) -> None:
    clock = ManualClock()
    catalog.apply("a", stored(service(clock, "a", ("x", "y")), 1), 1)
    change = catalog.apply("a", stored(service(clock, "a", ("y", "z")), 2), 2)
    assert change.capabilities == {"x", "y", "z"}
    assert catalog.apply("a", None, 3).capabilities == {"y", "z"}
    assert catalog.apply("a", None, 4).capabilities == frozenset()


def test_a_service_that_nobody_registered_can_not_be_required(
    catalog: Catalog,
) -> None:
    apply(catalog, "a", service(ManualClock(), "a"), 1)
    assert catalog.require("a").id == "a"
    with pytest.raises(ServiceNotFound, match="'b'"):
        catalog.require("b")


def test_a_catalog_knows_how_many_services_it_has_of_each_kind(
    catalog: Catalog,
) -> None:
    said = Registration("a", "N", ("x",), "here", "embedded", zone="z", region="r")
    other = msgspec.structs.replace(said, id="b", mode="ipc")
    values = [
        Service(said, NOW, NOW, owner="ann"),
        Service(other, NOW, NOW, owner="ann"),
        Service(msgspec.structs.replace(other, id="c"), NOW, NOW, owner="bob"),
    ]
    for value in values:
        apply(catalog, value.registration.id, value, 1)
    sizes = [len(documents.encode(value)) for value in values]
    assert catalog.by_mode == {"embedded": 1, "ipc": 2}
    assert catalog.by_status == {"healthy": 3}
    assert catalog.by_status_and_mode[("healthy", "ipc")] == 2
    assert catalog.by_runtime.total() == 3
    assert catalog.by_owner == {"ann": 2, "bob": 1}
    assert catalog.bytes_by_owner == {"ann": sizes[0] + sizes[1], "bob": sizes[2]}
    assert catalog.document_bytes == sum(sizes)
    assert catalog.regions.known() == {"z": "r"}
    assert catalog.total_capabilities == 1
    assert not catalog.is_preview


def test_a_term_begins_with_the_last_report_or_when_reports_could_be_seen_again() -> (
    None
):
    catalog, clock = new_catalog()
    reported = Registration(
        *("a", "N", (), "here", "embedded"),
        checks=(ServiceCheck("jobs", "ttl", ttl=5),),
    )
    apply(catalog, "a", Service(reported, NOW, NOW), 1)
    apply(catalog, "b", service(clock, "b"), 2)
    began = clock.monotonic()
    entry = catalog.require("a")
    assert catalog.report_seen(entry, "jobs") == began
    assert catalog.report_seen(catalog.require("b"), "jobs") < began
    clock.advance(5)
    catalog.renew_leases()
    assert catalog.report_seen(entry, "jobs") == began + 5
    assert catalog.lease_seen(entry) == began + 5


def test_a_split_holds_for_who_offers_the_capability_now_and_later(
    catalog: Catalog,
) -> None:
    clock = ManualClock()
    apply(catalog, "a", service(clock, "a"), 1)
    assert offered(catalog).providers().split is None
    for name in ("x", "later"):
        catalog.put_split(name, StoredSplit(split_of(name, {"v1": 1}), 2), 2)
    assert offered(catalog).providers().split == split_of("x", {"v1": 1})
    assert offered(catalog).providers().revision == 2
    assert (catalog.splits_changed, catalog.changed, catalog.revision) == (2, 2, 1)
    assert [each.split.capability for each in catalog.splits()] == ["later", "x"]
    assert catalog.total_splits == 2
    apply(catalog, "b", service(clock, "b", ("later",)), 3)
    later = catalog.capability("later")
    assert later is not None and later.split == split_of("later", {"v1": 1})
    catalog.put_split("x", None, 4)
    assert offered(catalog).providers().split is None
    assert catalog.split("x") is None
    assert catalog.total_splits == 1
