"""What every store must do, as tests. A store's own tests inherit them:

    class TestMyStore(StoreContract):
        @pytest.fixture
        def open_new(self) -> OpenStore:
            return lambda: MyStore(somewhere_empty())

A store whose records outlive it adds `DurableStoreContract`, one that several
processes use at once adds `SharedStoreContract`, and one with a server over a network
`RemoteStoreContract`. What a store can't do is left out by
not inheriting it; no test is skipped.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import Change, Store, delete, put
from modularity_registry.stores.conformance.base import (
    OpenStore,
    assert_agrees,
    assert_growing,
    snapshot_of,
)
from modularity_registry.stores.conformance.batches import BatchContract
from modularity_registry.stores.conformance.model import agrees_with_a_dict
from modularity_registry.stores.conformance.outages import RemoteContract
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.conformance.records import (
    ReadingContract,
    WritingContract,
)
from modularity_registry.stores.conformance.watches import (
    EndingContract,
    WatchingContract,
)

__all__ = [
    "DurableStoreContract",
    "OpenStore",
    "Recorder",
    "RemoteStoreContract",
    "SharedStoreContract",
    "StoreContract",
    "snapshot_of",
]


class StoreContract(
    ReadingContract, WritingContract, BatchContract, WatchingContract, EndingContract
):
    """For every store."""

    def test_it_agrees_with_a_dict(self, open_new: OpenStore) -> None:
        agrees_with_a_dict(open_new)


class DurableStoreContract(StoreContract):
    """For stores whose records are still there when they are opened again."""

    @pytest.fixture
    def open_same(self) -> OpenStore:
        """Return a function that always opens the same store, empty at first."""
        raise NotImplementedError("the store's tests must say how it is reopened")

    def test_opened_again_it_holds_the_same(self, open_same: OpenStore) -> None:
        store = open_same()
        put(store, "services/a", b"old")
        put(store, "services/b", b"2")
        put(store, "services/a", bytes(range(256)))
        put(store, "services/c", b"3")
        delete(store, "services/c")
        epoch, before = store.epoch, snapshot_of(store)
        store.close()
        store = open_same()
        after = snapshot_of(store)
        assert store.epoch == epoch
        assert after.records == before.records
        assert after.revision >= before.revision
        store.close()

    def test_opened_again_revisions_go_on(self, open_same: OpenStore) -> None:
        revisions: list[int | None] = []
        for value in (b"1", b"2", b"3"):
            store = open_same()
            revisions.append(put(store, "services/a", value))
            revisions.append(delete(store, "services/a"))
            store.close()
        assert_growing(revisions)

    def test_opened_again_it_compares_as_before(self, open_same: OpenStore) -> None:
        store = open_same()
        stale = put(store, "services/a", b"1")
        current = put(store, "services/a", b"2")
        store.close()
        store = open_same()
        with pytest.raises(StoreConflict) as caught:
            put(store, "services/a", b"3", expected=stale)
        assert caught.value.actual == current
        assert put(store, "services/a", b"3", expected=current) > current
        store.close()

    def test_reopened_at_any_time_it_agrees_with_a_dict(
        self, open_new: OpenStore, open_same: OpenStore
    ) -> None:
        agrees_with_a_dict(open_same, reopen=open_same)


class SharedStoreContract(DurableStoreContract):
    """For stores that several processes can have open at once."""

    @pytest.fixture
    def pair(self, open_same: OpenStore) -> Iterator[tuple[Store, Store]]:
        one, other = open_same(), open_same()
        yield one, other
        one.close()
        other.close()

    def test_one_sees_what_the_other_writes(self, pair: tuple[Store, Store]) -> None:
        one, other = pair
        recorder = Recorder()
        one.watch(recorder)
        first = put(other, "services/a", b"1")
        second = delete(other, "services/a", expected=first)
        assert second is not None
        recorder.wait_for_revision(second)
        assert recorder.changes == [
            Change("services/a", b"1", first),
            Change("services/a", None, second),
        ]
        assert one.epoch == other.epoch

    def test_one_compares_with_what_the_other_wrote(
        self, pair: tuple[Store, Store]
    ) -> None:
        one, other = pair
        first = put(one, "services/a", b"1")
        second = put(other, "services/a", b"2", expected=first)
        with pytest.raises(StoreConflict) as caught:
            put(one, "services/a", b"3", expected=first)
        assert caught.value.actual == second

    def test_compare_and_set_loses_no_update(self, pair: tuple[Store, Store]) -> None:
        put(pair[0], "services/count", b"0")

        def increment(store: Store) -> None:
            for _ in range(20):
                while True:
                    [record] = snapshot_of(store).records
                    count = b"%d" % (int(record.value) + 1)
                    try:
                        put(store, record.key, count, expected=record.revision)
                        break
                    except StoreConflict:
                        continue

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(increment, pair))
        assert snapshot_of(pair[0]).records[0].value == b"40"

    def test_both_see_the_same_order(self, pair: tuple[Store, Store]) -> None:
        recorders = [Recorder(), Recorder()]
        for store, recorder in zip(pair, recorders, strict=True):
            store.watch(recorder)

        def load(store: Store) -> int:
            return [put(store, f"services/{n % 3}", b"%d" % n) for n in range(60)][-1]

        with ThreadPoolExecutor(2) as pool:
            last = max(pool.map(load, pair))
        for recorder in recorders:
            recorder.wait_for_revision(last)
        assert recorders[0].changes == recorders[1].changes
        assert_growing([change.revision for change in recorders[0].changes])

    def test_one_sees_the_epoch_that_the_other_begins(
        self, pair: tuple[Store, Store]
    ) -> None:
        one, other = pair
        revision = put(one, "services/a", b"1")
        recorder = Recorder()
        one.watch(recorder)
        epoch = other.begin_epoch()
        recorder.wait(lambda: len(recorder.events) > 1, "a snapshot of the new epoch")
        assert one.epoch == other.epoch == epoch
        last = put(one, "services/a", b"2", expected=revision)
        recorder.wait_for_revision(last)
        assert_agrees(recorder, other)

    def test_closing_one_leaves_the_other(self, pair: tuple[Store, Store]) -> None:
        one, other = pair
        recorder = Recorder()
        other.watch(recorder)
        one.close()
        recorder.wait_for_revision(put(other, "services/a", b""))

    def test_two_writers_and_two_watchers_agree(
        self, pair: tuple[Store, Store]
    ) -> None:
        # One watch on the store that writes, one on the other.
        recorders = [Recorder() for _ in range(4)]
        for store, recorder in zip(pair * 2, recorders, strict=True):
            store.watch(recorder)

        def load(writer: int) -> int:
            store, last = pair[writer], 0
            for number in range(40):
                key = f"services/{number % 4}"
                last = put(store, key, b"%d of %d" % (number, writer))
                if number % 5 == writer:
                    last = delete(store, key) or last
            return last

        with ThreadPoolExecutor(2) as pool:
            last = max(pool.map(load, range(2)))
        for recorder in recorders:
            recorder.wait_for_revision(last)
            assert recorder.changes == recorders[0].changes
            assert_agrees(recorder, pair[0])


class RemoteStoreContract(SharedStoreContract, RemoteContract):
    """For stores that use a server over a network; see `RemoteContract`."""
