"""The store contract: a watch gets all changes in order, until it is closed."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from modularity_registry.errors import OutcomeUnknown, StoreUnavailable
from modularity_registry.stores.base import (
    Change,
    Event,
    Snapshot,
    Store,
    Write,
    delete,
    put,
)
from modularity_registry.stores.conformance.base import (
    Opened,
    OpenStore,
    assert_agrees,
    assert_growing,
    assert_prompt,
    snapshot_of,
)
from modularity_registry.stores.conformance.recorder import Recorder


class WatchingContract(Opened):
    """The order of changes, and that each is sent once."""

    def test_changes_follow_the_snapshot(self, store: Store) -> None:
        recorder = Recorder()
        store.watch(recorder)
        first = put(store, "services/a", b"1")
        second = put(store, "services/a", b"2")
        third = delete(store, "services/a")
        assert third is not None
        recorder.wait_for_revision(third)
        assert recorder.events[1:] == [
            Change("services/a", b"1", first),
            Change("services/a", b"2", second),
            Change("services/a", None, third),
        ]

    def test_a_closed_watch_hears_nothing_more(self, store: Store) -> None:
        closed, open_ = Recorder(), Recorder()
        watch = store.watch(closed)
        store.watch(open_)
        open_.wait_for_revision(put(store, "services/a", b""))
        assert_prompt(watch.close)
        before = closed.events
        open_.wait_for_revision(put(store, "services/b", b""))
        watch.close()
        assert closed.events == before

    def test_a_new_epoch_has_the_same_records(self, store: Store) -> None:
        put(store, "services/a", b"1")
        before, records = store.epoch, snapshot_of(store).records
        recorder = Recorder()
        store.watch(recorder)
        epoch = store.begin_epoch()
        assert epoch != before
        recorder.wait(lambda: len(recorder.events) > 1, "a snapshot of the new epoch")
        snapshot = recorder.events[1]
        assert isinstance(snapshot, Snapshot)
        assert (store.epoch, snapshot.records) == (epoch, records)
        last = put(store, "services/a", b"2", expected=records[0].revision)
        recorder.wait_for_revision(last)
        assert_agrees(recorder, store)

    def test_watchers_agree_on_the_order(self, store: Store) -> None:
        recorders = Recorder(), Recorder()
        for recorder in recorders:
            store.watch(recorder)
        for number in range(50):
            store.commit(
                [
                    Write(f"services/{number % 5}", b"%d" % number),
                    Write(f"services/new-{number}", b""),
                ]
            )
        last = put(store, "services/last", b"")
        for recorder in recorders:
            recorder.wait_for_revision(last)
        one, other = (recorder.changes for recorder in recorders)
        assert one == other
        assert len(one) == 2 * 50 + 1
        assert_agrees(recorders[0], store)

    def test_a_watch_during_writes_sees_each_once(self, store: Store) -> None:
        written: dict[str, int] = {}
        halfway = threading.Event()

        def load() -> None:
            for number in range(400):
                key = f"services/{number}"
                written[key] = put(store, key, b"")
                if number == 100:
                    halfway.set()

        recorder = Recorder()
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load)
            assert halfway.wait(20)
            store.watch(recorder)
            loading.result()
        recorder.wait_for_revision(max(written.values()))
        snapshot = recorder.first_snapshot()
        seen = [record.revision for record in snapshot.records]
        assert max(seen) <= snapshot.revision
        assert all(c.revision > snapshot.revision for c in recorder.changes)
        seen += [change.revision for change in recorder.changes]
        assert seen == sorted(written.values())

    def test_a_watcher_that_fails_hurts_no_other(self, store: Store) -> None:
        failed: list[Event] = []

        def fail(event: Event) -> None:
            if isinstance(event, Change):
                failed.append(event)
                raise RuntimeError("a bug in the watcher")

        before, after = Recorder(), Recorder()
        store.watch(before)
        failing = store.watch(fail)
        store.watch(after)
        for value in (b"1", b"2"):
            last = put(store, "services/a", value)
        for recorder in (before, after):
            recorder.wait_for_revision(last)
            assert [change.value for change in recorder.changes] == [b"1", b"2"]
        after.wait(lambda: bool(failed), "the change that fails")
        assert_prompt(failing.close)
        assert len(failed) == 1, "a watch that failed has to stop"


class EndingContract(Opened):
    """Epochs, pings, and the end of a store."""

    def test_an_open_store_answers_a_ping(self, store: Store) -> None:
        store.ping()

    def test_another_store_has_another_epoch(self, open_new: OpenStore) -> None:
        stores = [open_new() for _ in range(3)]
        for store in stores:
            store.close()
        assert len({store.epoch for store in stores}) == 3

    def test_a_closed_store_refuses_everything(self, open_new: OpenStore) -> None:
        store = open_new()
        watch = store.watch(Recorder())
        revision = put(store, "services/a", b"")
        assert_prompt(store.close)
        calls: list[Callable[[], object]] = [
            lambda: put(store, "services/a", b""),
            lambda: put(store, "services/a", b"", expected=revision),
            lambda: delete(store, "services/a"),
            lambda: delete(store, "services/a", expected=revision),
            lambda: store.watch(Recorder()),
            store.ping,
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable):
                call()
        store.close()
        watch.close()

    def test_a_close_during_writes_lets_the_writer_know(
        self, open_new: OpenStore
    ) -> None:
        store = open_new()
        recorder = Recorder()
        store.watch(recorder)

        def load() -> list[int]:
            revisions: list[int] = []
            try:
                while True:
                    revisions.append(put(store, "services/a", b""))
            except (StoreUnavailable, OutcomeUnknown):
                return revisions

        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load)
            recorder.wait(lambda: len(recorder.changes) > 40, "the 40th change")
            store.close()
            assert_growing(loading.result(20))
