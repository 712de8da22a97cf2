"""Writes: compare-and-set under contention, and what the store's troubles do."""

import threading
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from modularity_registry.catalog import documents
from modularity_registry.catalog.entry import Entry
from modularity_registry.catalog.feed import Feed
from modularity_registry.errors import (
    RevisionMismatch,
    ServiceNotFound,
    StoreConflict,
    StoreCorrupt,
    StoreUnavailable,
)
from modularity_registry.model.service import Drain, Fault, Registration, Service
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Lost, Outcome, Write, delete, put
from modularity_registry.stores.memory import MemoryStore
from modularity_registry.writes.precondition import Precondition
from support.registry import ManualClock, loaded_registry

NOW = ManualClock().now()


def said(service_id: str = "a", **changes: object) -> Registration:
    base = Registration(service_id, "N", ("x",), "here", "standalone")
    return msgspec.structs.replace(base, **changes)


def found(registry: Registry, service_id: str = "a") -> Entry:
    entry = registry.catalog.service(service_id)
    assert entry is not None
    return entry


def service(registry: Registry, service_id: str = "a") -> Service:
    return found(registry, service_id).service


def test_what_was_written_can_be_read_at_once(registry: Registry) -> None:
    written = registry.commands.register(said(), caller_is_local=True)
    entry = registry.catalog.service("a")
    assert entry is not None
    assert (written.created, written.revision) == (True, entry.revision)


def test_of_many_writers_each_sees_a_consistent_order(registry: Registry) -> None:
    created, failures = [], []

    def work(number: int) -> None:
        for turn in range(40):
            try:
                written = registry.commands.register(
                    said(version=f"{number}.{turn}"), caller_is_local=True
                )
                created.append(written.created)
            except StoreUnavailable as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert created.count(True) == 1
    assert registry.catalog.revision == 8 * 40


def test_of_two_conditional_writers_one_wins(registry: Registry) -> None:
    revision = registry.commands.register(said(), True).revision
    outcomes: list[str] = []
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        barrier.wait()
        at = Precondition(revisions=frozenset({revision}))
        try:
            registry.commands.register(said(version=str(number)), True, at)
            outcomes.append("won")
        except RevisionMismatch:
            outcomes.append("lost")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 5 + ["won"]


def test_a_fault_of_a_replaced_registration_is_dropped(
    registry: Registry, clock: ManualClock
) -> None:
    registry.commands.register(said(), True)
    old = found(registry)
    clock.advance(1)
    registry.commands.register(said(), True)
    registry.commands.add_fault(old, Fault("check", "bad", clock.now()))
    registry.commands.expire(old)
    assert service(registry).faults == ()


def test_a_verdict_on_who_is_gone_is_let_go(
    registry: Registry, clock: ManualClock
) -> None:
    registry.commands.register(said(), True)
    old = found(registry)
    registry.commands.unregister("a")
    registry.commands.add_fault(old, Fault("check", "bad", clock.now()))
    registry.commands.remove_faults(old, frozenset({"check"}))
    registry.commands.expire(old)
    assert registry.catalog.service("a") is None


def test_since_moves_only_with_the_status(
    registry: Registry, clock: ManualClock
) -> None:
    registry.commands.register(said(), True)
    clock.advance(5)
    registry.commands.add_fault(found(registry), Fault("check", "bad", clock.now()))
    ill_since = service(registry).since
    assert ill_since == clock.now()
    clock.advance(5)
    registry.commands.add_fault(found(registry), Fault("lease", "late", clock.now()))
    assert service(registry).since == ill_since
    assert len(service(registry).faults) == 2


class SlowStore(MemoryStore):
    """Another replica's write comes between the look and the write, each time."""

    interfere = 0

    def commit(self, batch: Sequence[Write]) -> list[Outcome]:
        [write] = batch
        if write.expected is not None and self.interfere > 0:
            self.interfere -= 1
            super().commit([write._replace(expected=None)])
        return super().commit(batch)


def test_a_writer_that_is_overtaken_tries_again(registry: Registry) -> None:
    registry.commands.register(said(), True)
    other = SlowStore()
    overtaken = loaded_registry()
    overtaken.feed.stop()
    feed = Feed(other, overtaken.catalog)
    feed.start()
    commands = type(registry.commands)(
        other, feed, overtaken.catalog, registry.commands._policy,
        registry.commands._lookup, registry.clock,
    )  # fmt: skip
    other.interfere = 3
    commands.register(said(), True)
    assert commands.drain("a", "later").revision == overtaken.catalog.revision
    assert service(overtaken).drain is not None


def test_without_the_store_nothing_changes(registry: Registry) -> None:
    registry.commands.register(said(), True)
    registry.store.close()
    with pytest.raises(StoreUnavailable):
        registry.commands.register(said(), True)
    with pytest.raises(StoreUnavailable):
        registry.commands.unregister("a")
    with pytest.raises(StoreUnavailable):
        registry.commands.drain("a", "")
    assert service(registry).drain is None


def test_unknown_services(registry: Registry) -> None:
    with pytest.raises(ServiceNotFound):
        registry.commands.unregister("none")
    with pytest.raises(ServiceNotFound):
        registry.commands.drain("none", "")
    with pytest.raises(ServiceNotFound):
        registry.commands.undrain("none")


# The feed


def test_a_foreign_record_stops_the_start_and_is_named() -> None:
    registry = loaded_registry()
    put(registry.store, "services/a", b"not a service")
    with pytest.raises(StoreCorrupt, match="services/a"):
        Feed(registry.store, registry.catalog).start()


def test_a_record_under_another_key_is_refused() -> None:
    value = documents.encode(Service(said("b"), NOW, since=NOW))
    with pytest.raises(StoreCorrupt, match="another service"):
        documents.decode("services/a", value)


def test_a_bad_record_met_later_is_reported_until_it_is_mended(
    registry: Registry,
) -> None:
    registry.commands.register(said(), True)
    put(registry.store, "services/a", b"{}")
    assert "services/a" in str(registry.feed.unreadable)
    assert registry.view_health.problems() == [registry.feed.unreadable]
    assert service(registry).registration == said(), "the last good one stays"
    delete(registry.store, "services/a")
    assert registry.feed.unreadable is None
    assert registry.view_health.problems() == []
    assert registry.catalog.service("a") is None


def test_records_of_others_only_move_the_revision(registry: Registry) -> None:
    revision = put(registry.store, "replicas/r1", b"whatever")
    assert registry.catalog.revision == revision
    assert len(registry.catalog) == 0


def test_a_lost_line_is_told_until_the_next_snapshot(registry: Registry) -> None:
    feed = registry.feed
    feed._receive(Lost("the store went away"))
    assert feed.interruption == "the store went away"
    assert registry.view_health.problems() == ["the store went away"]
    Feed(registry.store, registry.catalog).start()


def test_a_feed_that_fails_says_so_instead_of_standing_still(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(registry.catalog, "apply", fail)
    put(registry.store, "services/a", documents.encode(Service(said(), NOW, since=NOW)))
    assert registry.view_health.problems() != []
    assert "RuntimeError" in registry.degraded()[0]


def test_waiting_for_a_revision_has_an_end(registry: Registry) -> None:
    with pytest.raises(StoreUnavailable, match="read again"):
        registry.feed.wait(999, timeout=0.01)


def test_a_stored_service_reads_back_the_same(clock: ManualClock) -> None:
    now = clock.now()
    whole = Service(
        said(ttl=5.0, weight=3, metadata=msgspec.Raw(b'{"a":[1,2.5,"x"]}')),
        registered_at=now,
        since=now + timedelta(seconds=1),
        faults=(Fault("check", "bad", now),),
        drain=Drain("later", now),
    )
    assert documents.decode("services/a", documents.encode(whole)) == whole


def test_a_conflict_on_a_deleted_key_is_not_waited_for(registry: Registry) -> None:
    registry.commands.register(said(), True)
    with pytest.raises(StoreConflict) as caught:
        put(registry.store, "services/none", b"x", expected=7)
    assert caught.value.actual == 0
