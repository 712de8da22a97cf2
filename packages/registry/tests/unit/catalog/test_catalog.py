"""The catalog against a model that is too simple to be wrong."""

import threading
from collections import deque
from datetime import timedelta

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modularity_registry.catalog import documents
from modularity_registry.catalog.catalog import MAX_DEPARTED, Catalog, StoredService
from modularity_registry.catalog.entry import Renderer
from modularity_registry.model import status as rules
from modularity_registry.model.service import CheckPlan, Fault, Registration, Service
from modularity_registry.stores.base import Record
from support.registry import ManualClock

IDS = st.sampled_from(["a", "A", "b", "b-2", "c.3"])
CAPABILITIES = st.lists(st.sampled_from(["x", "X", "y", "y/z", "w"]), unique=True)


def new_catalog() -> tuple[Catalog, ManualClock]:
    clock = ManualClock()
    return Catalog(Renderer(CheckPlan(30.0, 5.0)), clock), clock


def service(
    clock: ManualClock, service_id: str, capabilities: tuple[str, ...] = ("x",)
) -> Service:
    said = Registration(service_id, "N", capabilities, "here", "embedded")
    return Service(said, registered_at=clock.now(), since=clock.now())


def stored(value: Service, revision: int) -> StoredService:
    return StoredService(value, documents.encode(value), revision)


def apply(
    catalog: Catalog, service_id: str, value: Service | None, revision: int
) -> None:
    put = stored(value, revision) if value else None
    catalog.apply(service_id, put, revision)


def load(catalog: Catalog, services: list[StoredService], revision: int) -> None:
    known = {each.service.registration.id: each for each in services}
    records = deque(
        Record(documents.key_of(key), each.document, each.revision)
        for key, each in known.items()
    )
    steps = catalog.load(records, lambda r: known[r.key[len("services/") :]], revision)
    for _ in steps:
        pass


class CatalogMachine(RuleBasedStateMachine):
    """Random changes, and snapshots in between; the model is a plain dict."""

    def __init__(self) -> None:
        super().__init__()
        self.catalog, self.clock = new_catalog()
        self.model: dict[str, tuple[Service, int]] = {}
        self.ever: set[str] = set()
        self.revision = 0

    def put(self, value: Service) -> None:
        self.revision += 1
        self.model[value.registration.id] = (value, self.revision)
        self.ever.update(value.registration.capabilities)

    @rule(service_id=IDS, capabilities=CAPABILITIES)
    def register(self, service_id: str, capabilities: list[str]) -> None:
        self.clock.advance(1)
        value = service(self.clock, service_id, tuple(capabilities))
        self.put(value)
        apply(self.catalog, service_id, value, self.revision)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def unregister(self, data: st.DataObject) -> None:
        service_id = data.draw(st.sampled_from(sorted(self.model)))
        self.revision += 1
        del self.model[service_id]
        apply(self.catalog, service_id, None, self.revision)

    @precondition(lambda self: self.model)
    @rule(
        data=st.data(), change=st.sampled_from(["fault", "clear", "drain", "undrain"])
    )
    def change_status(self, data: st.DataObject, change: str) -> None:
        service_id = data.draw(st.sampled_from(sorted(self.model)))
        old, _ = self.model[service_id]
        now = self.clock.now()
        changed = {
            "fault": lambda: rules.with_fault(old, Fault("check", "bad", now)),
            "clear": lambda: rules.without_faults(old, frozenset({"check"}), now),
            "drain": lambda: rules.drained(old, "later", now),
            "undrain": lambda: rules.undrained(old, now),
        }[change]()
        self.put(changed)
        apply(self.catalog, service_id, changed, self.revision)

    @rule(missed=st.lists(IDS, unique=True), capabilities=CAPABILITIES)
    def reload(self, missed: list[str], capabilities: list[str]) -> None:
        """Changes that went by unseen, then a snapshot."""
        before = set(self.model)
        for service_id in missed:
            self.revision += 1
            if service_id in self.model:
                del self.model[service_id]
            else:
                self.clock.advance(1)
                self.put(service(self.clock, service_id, tuple(capabilities)))
        load(
            self.catalog, [stored(*each) for each in self.model.values()], self.revision
        )
        for service_id in before & set(self.model):
            entry = self.catalog.service(service_id)
            assert entry is not None
            assert self.catalog.lease_seen(entry) == self.clock.monotonic()

    @invariant()
    def reads_agree(self) -> None:
        catalog, model = self.catalog, self.model
        assert catalog.revision == self.revision
        assert len(catalog) == len(model)
        assert [each.id for each in catalog.services()] == sorted(model)
        for service_id, (value, revision) in model.items():
            entry = catalog.service(service_id)
            assert entry is not None
            assert (entry.service, entry.revision) == (value, revision)
            assert entry.status == rules.status(value)
            shown = msgspec.json.decode(entry.json)
            assert shown["id"] == service_id
            assert shown["status"] == entry.status
            assert shown["capabilities"] == list(value.registration.capabilities)

    @invariant()
    def capabilities_agree(self) -> None:
        offered: dict[str, set[str]] = {}
        for service_id, (value, _) in self.model.items():
            for name in value.registration.capabilities:
                offered.setdefault(name, set()).add(service_id)
        names = [each.name for each in self.catalog.capabilities()]
        assert names == sorted(offered)
        assert self.catalog.total_capabilities == len(offered)
        for name in self.ever:
            capability = self.catalog.capability(name)
            if name not in offered:
                assert capability is None
                continue
            assert capability is not None
            providers = capability.providers()
            assert {each.id for each in providers.entries} == offered[name]
            healthy = {
                each for each in offered[name]
                if rules.status(self.model[each][0]) == "healthy"
            }  # fmt: skip
            assert {each.id for each in providers.candidates} == healthy

    @invariant()
    def counts_agree(self) -> None:
        statuses = [rules.status(value) for value, _ in self.model.values()]
        for status in ("healthy", "unhealthy", "draining"):
            assert self.catalog.by_status[status] == statuses.count(status)
        assert self.catalog.by_runtime.total() == len(self.model)


CatalogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestCatalogAgainstModel = CatalogMachine.TestCase


def test_other_capabilities_take_the_old_ones_away_at_once() -> None:
    catalog, clock = new_catalog()
    apply(catalog, "a", service(clock, "a", ("old", "kept")), 1)
    clock.advance(1)
    apply(catalog, "a", service(clock, "a", ("kept", "new")), 2)
    assert catalog.capability("old") is None
    assert catalog.departed("old") == 2
    assert catalog.capability("new") is not None


def test_departed_capabilities_are_forgotten_at_some_point() -> None:
    catalog, clock = new_catalog()
    for number in range(MAX_DEPARTED + 10):
        apply(catalog, "a", service(clock, "a", (f"c{number}",)), number + 1)
        clock.advance(1)
    assert catalog.departed("c0") is None
    assert catalog.departed(f"c{MAX_DEPARTED}") is not None


def test_a_reader_keeps_what_it_took_while_the_writer_goes_on() -> None:
    catalog, clock = new_catalog()
    apply(catalog, "a", service(clock, "a"), 1)
    capability = catalog.capability("x")
    assert capability is not None
    taken = capability.providers()
    apply(catalog, "b", service(clock, "b"), 2)
    assert [each.id for each in taken.entries] == ["a"]
    assert [each.id for each in capability.providers().entries] == ["a", "b"]


def test_status_changes_keep_the_vital_signs_and_registrations_reset_them() -> None:
    catalog, clock = new_catalog()
    first = service(clock, "a")
    apply(catalog, "a", first, 1)
    entry = catalog.service("a")
    assert entry is not None
    entry.vitals.failed_checks = 3
    fault = Fault("check", "bad", clock.now())
    apply(catalog, "a", rules.with_fault(first, fault), 2)
    changed = catalog.service("a")
    assert changed is not None and changed.vitals.failed_checks == 3
    clock.advance(timedelta(seconds=1).total_seconds())
    apply(catalog, "a", service(clock, "a"), 3)
    replaced = catalog.service("a")
    assert replaced is not None and replaced.vitals.failed_checks == 0


def test_readers_never_see_a_torn_view_under_a_busy_writer() -> None:
    catalog, clock = new_catalog()
    stop, failures = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            capability = catalog.capability("x")
            for entry in capability.providers().entries if capability else ():
                if "x" not in entry.service.registration.capabilities:
                    failures.append(entry.id)
            ids = [each.id for each in catalog.services()]
            if ids != sorted(ids):
                failures.append("order")

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for revision in range(1, 3_000):
        clock.advance(1)
        key = f"s{revision % 50}"
        gone = revision % 7 == 0
        apply(catalog, key, None if gone else service(clock, key), revision)
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
