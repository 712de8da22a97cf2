"""A part of a store is a store: the contract, and what lies between the parts."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from modularity_registry.errors import StoreConflict, StoreUnavailable
from modularity_registry.stores.base import (
    Advanced,
    Change,
    Lost,
    Record,
    Send,
    Snapshot,
    Store,
    Watch,
    Write,
    delete,
    put,
    snapshot_of,
)
from modularity_registry.stores.conformance.contract import (
    OpenStore,
    SharedStoreContract,
    StoreContract,
)
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.group_commit import GroupCommit
from modularity_registry.stores.local_watch import LocalWatch
from modularity_registry.stores.memory import MemoryStore
from modularity_registry.stores.parts import Division, Part, PartWriter
from modularity_registry.stores.sqlite.store import SqliteStore


class Alone(Part):
    """The part ``a`` of a store that is opened for it, and closed with it."""

    def __init__(self, store: Store) -> None:
        division = Division(store, [])
        super().__init__(division, store, "a")
        division.parts["a"] = self
        self._whole = store

    def close(self) -> None:
        self._whole.close()
        super().close()


class Fresh(Alone):
    """The same, with a division for each watch.

    Only the first watch of a division is as new as the store: see `Part`.
    """

    def watch(self, send: Send) -> LocalWatch:
        self._require_open()
        return Division(self._whole, ["a"]).parts["a"].watch(send)


class TestPartOfMemory(StoreContract):
    @pytest.fixture
    def open_new(self) -> OpenStore:
        return lambda: Alone(MemoryStore())


class TestPartOfSqlite(SharedStoreContract):
    @pytest.fixture
    def open_new(self, tmp_path: Path) -> OpenStore:
        numbers = itertools.count()
        return lambda: Fresh(SqliteStore(tmp_path / f"new-{next(numbers)}.db"))

    @pytest.fixture
    def open_same(self, tmp_path: Path) -> OpenStore:
        return lambda: Fresh(SqliteStore(tmp_path / "same.db"))


class Scripted(MemoryStore):
    """A store whose events the test makes up. It counts its watches."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = 0
        self.send: Send | None = None

    def watch(self, send: Send) -> Watch:  # type: ignore[override]
        self.watches += 1
        self.send = send
        return super().watch(send)


def divided(store: Store) -> tuple[Part, Part]:
    parts = Division(store, ["a", "b"]).parts
    return parts["a"], parts["b"]


def test_a_part_shows_its_own_records_alone() -> None:
    store = MemoryStore()
    a, b = divided(store)
    put(store, "services/web", b"default")
    put(a, "services/web", b"of a")
    put(b, "services/web", b"of b")
    put(b, "tokens/ci", b"token")

    assert snapshot_of(a) == Snapshot((Record("services/web", b"of a", 2),), 4)
    assert [record.key for record in snapshot_of(b).records] == [
        "services/web",
        "tokens/ci",
    ]
    assert [record.key for record in snapshot_of(store).records] == [
        "services/web",
        "ns/a/services/web",
        "ns/b/services/web",
        "ns/b/tokens/ci",
    ]


def test_what_happens_elsewhere_only_advances_the_revision() -> None:
    store = MemoryStore()
    a, b = divided(store)
    seen = Recorder()
    a.watch(seen)
    put(store, "services/web", b"1")
    put(b, "services/web", b"2")
    put(store, "ns/gone/services/web", b"3")
    put(a, "services/web", b"4")
    delete(b, "services/web")

    assert seen.events == [
        Snapshot((), 0),
        Advanced(1),
        Advanced(2),
        Advanced(3),
        Change("services/web", b"4", 4),
        Advanced(5),
    ]


def test_a_revision_is_complete_with_its_last_change_wherever_that_is() -> None:
    store = Scripted()
    a, b = divided(store)
    of_a, of_b = Recorder(), Recorder()
    a.watch(of_a)
    b.watch(of_b)
    assert store.send is not None
    store.send(Change("ns/a/services/web", b"1", 7, last=False))
    store.send(Change("ns/b/services/web", b"2", 7, last=True))

    assert of_a.events[1:] == [
        Change("services/web", b"1", 7, last=False),
        Advanced(7),
    ]
    assert of_b.events[1:] == [Change("services/web", b"2", 7)]


def test_all_parts_share_one_watch() -> None:
    store = Scripted()
    a, b = divided(store)
    for part in (a, a, b):
        part.watch(Recorder())
    assert store.watches == 1


def test_a_later_watch_begins_with_what_the_part_holds_by_then() -> None:
    store = MemoryStore()
    a, b = divided(store)
    a.watch(Recorder())
    first = put(b, "services/one", b"1")
    put(b, "services/two", b"2")
    put(b, "services/one", b"3", expected=first)
    delete(b, "services/two")
    assert snapshot_of(b) == Snapshot((Record("services/one", b"3", 3),), 4)


def test_every_part_hears_of_a_lost_connection_and_gets_a_new_snapshot() -> None:
    store = Scripted()
    a, b = divided(store)
    of_a, of_b = Recorder(), Recorder()
    a.watch(of_a)
    b.watch(of_b)
    assert store.send is not None
    store.send(Lost("the cable"))
    with pytest.raises(StoreUnavailable, match="the cable"):
        a.watch(Recorder())
    record = Record("ns/a/services/web", b"1", 3)
    store.send(Snapshot((record, Record("services/x", b"", 4)), 9))

    own = Record("services/web", b"1", 3)
    assert of_a.events[1:] == [Lost("the cable"), Snapshot((own,), 9)]
    assert of_b.events[1:] == [Lost("the cable"), Snapshot((), 9)]
    assert snapshot_of(a) == Snapshot((own,), 9)


def test_a_watcher_that_fails_does_not_stop_those_of_other_parts() -> None:
    store = MemoryStore()
    a, b = divided(store)
    begun: list[object] = []

    def fail(event: object) -> None:
        begun.append(event)
        if len(begun) > 1:
            raise RuntimeError("the watcher is broken")

    seen = Recorder()
    a.watch(fail)
    b.watch(seen)
    put(a, "services/web", b"1")
    put(b, "services/web", b"2")
    assert seen.events[-1] == Change("services/web", b"2", 2)
    assert len(begun) == 2


def test_closing_a_part_leaves_the_store_and_the_others_open() -> None:
    store = MemoryStore()
    a, b = divided(store)
    closed, seen = Recorder(), Recorder()
    a.watch(closed)
    b.watch(seen)
    a.close()
    a.close()
    put(b, "services/web", b"1")
    assert seen.events[-1] == Change("services/web", b"1", 1)
    assert closed.events == [Snapshot((), 0)]
    calls: list[Callable[[], object]] = [
        a.ping,
        a.begin_epoch,
        lambda: a.watch(seen),
        lambda: put(a, "services/web", b""),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()


def test_conflicts_name_the_key_in_the_part() -> None:
    store = MemoryStore()
    a, b = divided(store)
    put(b, "services/web", b"1")
    assert put(a, "services/web", b"2", expected=0) == 2
    with pytest.raises(StoreConflict) as caught:
        put(a, "services/web", b"3", expected=1)
    assert caught.value.key == "services/web"
    assert caught.value.actual == 2


def test_the_writer_of_a_part_shares_that_of_the_store() -> None:
    store = MemoryStore()
    a, _ = divided(store)
    writer = PartWriter(GroupCommit(store), a)

    async def write() -> None:
        assert await writer.write(Write("services/web", b"1", 0)) == 1
        assert await writer.write(Write("services/none", None)) is None
        with pytest.raises(StoreConflict) as caught:
            await writer.write(Write("services/web", b"2", 9))
        assert caught.value.key == "services/web"

    asyncio.run(write())
    assert snapshot_of(store).records == (Record("ns/a/services/web", b"1", 1),)
