"""Whether the view is current, and since when not."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from modularity_registry import config, runtime
from modularity_registry.catalog import documents
from modularity_registry.errors import StoreCorrupt, StoreError, StoreUnavailable
from modularity_registry.replicas.membership import LOST_AFTER
from modularity_registry.replicas.staleness import PING_TIMEOUT
from modularity_registry.runtime import Registry
from modularity_registry.stores.base import Lost, Snapshot
from modularity_registry.stores.memory import MemoryStore
from support.registry import (
    LOOP,
    ManualClock,
    deliver,
    eventually,
    on_loop,
    put_record,
)
from support.shared_memory_store import Handle


class SickStore(Handle):
    error: StoreError | None = None
    hangs: threading.Event | None = None

    def ping(self) -> None:
        if self.hangs is not None:
            self.hangs.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> SickStore:
    return SickStore(MemoryStore())


@pytest.fixture
def registry(clock: ManualClock, store: SickStore) -> Iterator[Registry]:
    registry = runtime.build(
        config.Settings(), clock, period=1.0, store=store, replica="a"
    )
    LOOP.call(registry.feed.start())
    yield registry
    LOOP.call(registry.view_health.stop())
    LOOP.call(registry.feed.stop())


def test_it_is_stale_from_the_first_problem_to_the_last(
    registry: Registry, clock: ManualClock, store: SickStore
) -> None:
    view = registry.view_health
    on_loop(view.check)
    assert (view.stale_since, view.stale_seconds) == (None, None)
    store.error = StoreUnavailable("no ping")
    LOOP.call(view.ping())
    on_loop(view.check)
    assert (view.stale_reason, view.stale_seconds) == ("no ping", 0)
    clock.advance(3.5)
    deliver(registry, Lost("no changes"))
    assert (view.stale_reason, view.stale_seconds) == ("no changes", 3)
    assert view.problems() == ["no changes", "no ping"]
    deliver(registry, Snapshot((), 7))
    assert (view.stale_reason, view.stale_seconds) == ("no ping", 3)
    store.error = None
    LOOP.call(view.ping())
    on_loop(view.check)
    assert (view.stale_reason, view.stale_since) == (None, None)
    assert view.problems() == []


def test_it_is_stale_while_its_own_record_does_not_come_back(
    registry: Registry, clock: ManualClock
) -> None:
    assert registry.announcer is not None
    view = registry.view_health
    LOOP.call(registry.announcer.announce())
    clock.advance(LOST_AFTER - 0.5)
    on_loop(view.check)
    assert view.stale_since is None
    clock.advance(1)
    on_loop(view.check)
    assert "own record has not come back" in str(view.stale_reason)
    LOOP.call(registry.announcer.announce())
    on_loop(view.check)
    assert view.stale_since is None


def test_the_first_read_after_a_standstill_knows_that_it_is_stale(
    registry: Registry, clock: ManualClock
) -> None:
    assert registry.announcer is not None
    view = registry.view_health
    LOOP.call(registry.announcer.announce())
    LOOP.call(view.start())

    def wake() -> bool:
        clock.advance(LOST_AFTER + 1)
        assert view.stale_since is None
        return view.is_stale()

    assert not on_loop(view.is_stale)
    assert on_loop(wake)


def test_after_a_standstill_only_a_record_written_since_makes_it_current(
    registry: Registry, clock: ManualClock
) -> None:
    announcer, view = registry.announcer, registry.view_health
    assert announcer is not None
    LOOP.call(announcer.announce())
    on_loop(lambda: registry.membership.announcing(2))
    clock.advance(LOST_AFTER + 10)
    # Leases get a full term; what waits in sockets may still be read after that.
    on_loop(registry.membership.renew)
    on_loop(view.check)
    assert "has not come back from the store for 13 s" in str(view.stale_reason)
    waiting = documents.ReplicaRecord(2, "host", "1", clock.now())
    key = documents.key_of_replica("a")
    put_record(registry.store, key, documents.encode_replica(waiting))
    on_loop(view.check)
    assert "own record has not come back" in str(view.stale_reason)
    LOOP.call(announcer.announce())
    on_loop(view.check)
    assert view.stale_since is None


def test_the_reason_is_why_its_own_record_can_not_be_written(
    registry: Registry, clock: ManualClock
) -> None:
    announcer, view = registry.announcer, registry.view_health
    assert announcer is not None
    LOOP.call(announcer.announce())
    on_loop(lambda: announcer._set_fault("the disk is full"))
    reason = "this replica can't write to the store: the disk is full"
    assert view.problems() == [reason]
    assert view.stale_reason is None
    clock.advance(LOST_AFTER + 0.5)
    on_loop(view.check)
    assert view.stale_reason == reason
    assert view.problems() == [reason]
    on_loop(lambda: announcer._set_fault(None))
    LOOP.call(announcer.announce())
    on_loop(view.check)
    assert view.problems() == []


def test_an_unreadable_record_makes_it_incomplete_but_not_stale(
    registry: Registry,
) -> None:
    put_record(registry.store, "services/a", b"{}")
    on_loop(registry.view_health.check)
    assert registry.view_health.stale_since is None
    assert "services/a" in registry.view_health.problems()[0]


def test_it_goes_on_checking_and_pinging_by_itself(
    registry: Registry, store: SickStore
) -> None:
    view = registry.view_health
    LOOP.call(view.start())
    store.error = StoreUnavailable("away")
    eventually(lambda: view.stale_reason == "away")
    LOOP.call(view.stop())
    LOOP.call(view.stop())


def test_the_store_s_answer_to_a_ping_is_what_readers_hear(
    registry: Registry, store: SickStore
) -> None:
    for error in (StoreUnavailable("away"), StoreCorrupt("broken"), None):
        store.error = error
        LOOP.call(registry.view_health.ping())
        assert registry.view_health.problems() == ([error.detail] if error else [])


def test_a_store_that_hangs_counts_as_away_and_keeps_nobody_waiting(
    registry: Registry, clock: ManualClock, store: SickStore
) -> None:
    view = registry.view_health
    store.hangs = threading.Event()
    pinging = asyncio.run_coroutine_threadsafe(view.ping(), LOOP.loop)
    eventually(lambda: view._ping_started is not None)
    assert view.problems() == []
    clock.advance(PING_TIMEOUT + 1)
    assert view.problems() == ["the store has not answered for 4 s"]
    store.hangs.set()
    pinging.result(30)
    assert view.problems() == []


def test_the_end_does_not_wait_for_a_ping_that_hangs(
    registry: Registry, store: SickStore
) -> None:
    store.hangs = threading.Event()
    LOOP.call(registry.view_health.start())
    eventually(lambda: registry.view_health._ping_started is not None)
    LOOP.call(registry.view_health.stop())
    store.hangs.set()
