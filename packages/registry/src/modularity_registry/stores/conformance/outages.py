"""The store contract: a server that goes away, forgets its history or is wiped."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from modularity_registry.errors import OutcomeUnknown, StoreError, StoreUnavailable
from modularity_registry.stores.base import (
    Change,
    Lost,
    Outcome,
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
)
from modularity_registry.stores.conformance.breakable_proxy import BreakableProxy
from modularity_registry.stores.conformance.recorder import Recorder

# The longest that a call may take to notice that no server answers.
PATIENCE = 15.0

# What a write raises when the server does not answer: it may have got the write.
UNANSWERED = StoreUnavailable, OutcomeUnknown


class RemoteContract(Opened):
    """For stores that reach a server over a network. ``store`` connects directly.

    ``open_same`` opens the same records directly.
    """

    @pytest.fixture
    def proxy(self) -> Iterator[BreakableProxy]:
        """Return a proxy to the server."""
        raise NotImplementedError("the store's tests must say where its server is")

    @pytest.fixture
    def open_through_proxy(self, proxy: BreakableProxy) -> OpenStore:
        """Return a function that opens what ``open_same`` opens, through ``proxy``."""
        raise NotImplementedError("the store's tests must say how it is opened")

    @pytest.fixture
    def forget(self) -> Callable[[], None]:
        """Return a function after which the server knows no change before now."""
        raise NotImplementedError("the store's tests must say how history is lost")

    @pytest.fixture
    def wipe(self) -> Callable[[], None]:
        """Return a function that wipes all that the store keeps at the server."""
        raise NotImplementedError("the store's tests must say how it is wiped")

    @pytest.fixture
    def far(self, open_through_proxy: OpenStore) -> Iterator[Store]:
        store = open_through_proxy()
        yield store
        store.close()

    @pytest.fixture
    def near(self, open_same: OpenStore) -> Iterator[Store]:
        store = open_same()
        yield store
        store.close()

    def test_a_lost_connection_yields_a_fresh_snapshot(
        self, far: Store, near: Store, proxy: BreakableProxy
    ) -> None:
        first = put(near, "services/a", b"1")
        put(near, "services/gone", b"")
        recorder = Recorder()
        far.watch(recorder)
        proxy.cut()
        recorder.wait(lambda: _lost(recorder) == 1, "the event of the lost connection")
        delete(near, "services/gone")
        missed = put(near, "services/b", b"2")
        proxy.mend()
        recorder.wait(lambda: _snapshots(recorder) == 2, "a fresh snapshot")
        last = put(near, "services/c", b"3")
        recorder.wait_for_revision(last)
        assert _lost(recorder) == 1
        assert {key: r.revision for key, r in recorder.held().items()} == {
            "services/a": first,
            "services/b": missed,
            "services/c": last,
        }
        assert recorder.changes == [Change("services/c", b"3", last)]
        assert_agrees(recorder, near)

    def test_a_lost_connection_with_forgotten_history_yields_a_fresh_snapshot(
        self, far: Store, near: Store, proxy: BreakableProxy, forget: Callable[[], None]
    ) -> None:
        put(near, "services/a", b"1")
        recorder = Recorder()
        far.watch(recorder)
        proxy.cut()
        recorder.wait(lambda: _lost(recorder) > 0, "the event of the lost connection")
        for number in range(20):
            put(near, f"services/{number % 3}", b"%d" % number)
        forget()
        delete(near, "services/a")
        proxy.mend()
        recorder.wait(lambda: _snapshots(recorder) > 1, "a fresh snapshot")
        recorder.wait_for_revision(put(near, "services/last", b""))
        assert_agrees(recorder, near)

    def test_forgotten_history_under_a_watch_loses_nothing(
        self, near: Store, forget: Callable[[], None]
    ) -> None:
        recorder = Recorder()
        near.watch(recorder)
        for number in range(30):
            put(near, f"services/{number % 7}", b"%d" % number)
            if number % 10 == 5:
                forget()
        recorder.wait_for_revision(put(near, "services/last", b""))
        assert_agrees(recorder, near)

    @pytest.mark.parametrize("how", ["cut", "hold"])
    def test_without_a_server_every_call_says_so(
        self, far: Store, near: Store, proxy: BreakableProxy, how: str
    ) -> None:
        revision = put(near, "services/a", b"1")
        getattr(proxy, how)()
        writes: list[Callable[[], object]] = [
            lambda: put(far, "services/a", b"2"),
            lambda: put(far, "services/a", b"2", expected=revision),
            lambda: put(far, "services/b", b"2", expected=0),
            lambda: delete(far, "services/a"),
            lambda: delete(far, "services/a", expected=revision),
        ]
        for write in writes:
            with pytest.raises(UNANSWERED) as caught:
                assert_prompt(write, PATIENCE)
            assert caught.value.detail
        for call in (lambda: far.watch(Recorder()), far.ping):
            with pytest.raises(StoreUnavailable) as caught:
                assert_prompt(call, PATIENCE)
            assert caught.value.detail

    def test_a_write_whose_reply_is_lost_is_unknown(
        self, far: Store, near: Store, proxy: BreakableProxy
    ) -> None:
        put(far, "services/a", b"1")
        recorder = Recorder()
        near.watch(recorder)
        # Less than the batch, more than what a store may ask first.
        proxy.hold_replies_after(10_000)
        batch = [Write(f"services/{name}", b"x" * 20_000) for name in "abc"]
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(_outcomes, far, batch)
            recorder.wait(lambda: len(recorder.changes) == 3, "the batch's changes")
            proxy.cut()
            outcomes = running.result(PATIENCE)
        assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 3
        proxy.mend()
        recorder.wait(lambda: _answers(far), "an answer to a ping")
        recorder.wait_for_revision(put(far, "services/last", b""))
        assert len(recorder.changes) == 4, "a write was made twice"

    def test_a_connection_that_comes_back_is_used_again(
        self, far: Store, near: Store, proxy: BreakableProxy
    ) -> None:
        put(far, "services/a", b"1")
        proxy.cut()
        with pytest.raises(UNANSWERED):
            put(far, "services/a", b"2")
        proxy.mend()
        recorder = Recorder()
        near.watch(recorder)
        recorder.wait(lambda: _answers(far), "an answer to a ping")
        recorder.wait_for_revision(put(far, "services/a", b"3"))
        far.ping()

    def test_a_silent_server_is_noticed_and_survived(
        self, far: Store, near: Store, proxy: BreakableProxy
    ) -> None:
        recorder = Recorder(60.0)
        far.watch(recorder)
        proxy.hold()
        put(near, "services/a", b"1")
        proxy.mend()
        last = put(near, "services/b", b"2")
        recorder.wait_for_revision(last)
        assert_agrees(recorder, near)

    @pytest.mark.parametrize("how", ["cut", "hold"])
    def test_without_a_server_it_ends_promptly(
        self, open_through_proxy: OpenStore, proxy: BreakableProxy, how: str
    ) -> None:
        store = open_through_proxy()
        recorder = Recorder()
        watch = store.watch(recorder)
        getattr(proxy, how)()
        assert_prompt(watch.close)
        before = recorder.events
        assert_prompt(store.close)
        assert recorder.events == before

    def test_without_a_server_it_does_not_open(
        self, open_through_proxy: OpenStore, proxy: BreakableProxy
    ) -> None:
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            assert_prompt(open_through_proxy, PATIENCE)

    def test_a_wiped_store_has_another_epoch(
        self, near: Store, open_same: OpenStore, wipe: Callable[[], None]
    ) -> None:
        put(near, "services/a", b"1")
        recorder = Recorder(60.0)
        near.watch(recorder)
        before = near.epoch
        wipe()
        recorder.wait(lambda: _snapshots(recorder) > 1, "a fresh snapshot")
        assert recorder.held() == {}
        assert near.epoch != before
        recorder.wait(lambda: _answers(near), "an answer to a ping")
        put(near, "services/b", b"2", expected=0)
        recorder.wait(lambda: "services/b" in recorder.held(), "a change in it")
        assert_agrees(recorder, near)
        other = open_same()
        assert other.epoch == near.epoch
        other.close()

    def test_revisions_stay_in_order_over_a_lost_connection(
        self, far: Store, near: Store, proxy: BreakableProxy
    ) -> None:
        recorder = Recorder()
        far.watch(recorder)
        revisions: list[int | None] = []
        for number in range(40):
            revisions.append(put(near, f"services/{number % 5}", b"%d" % number))
            if number in (10, 25):
                proxy.cut()
            if number in (15, 30):
                proxy.mend()
        recorder.wait_for_revision(revisions[-1] or 0)
        assert_growing(revisions)
        assert_growing([change.revision for change in recorder.changes])
        assert_agrees(recorder, near)


def _snapshots(recorder: Recorder) -> int:
    return sum(isinstance(event, Snapshot) for event in recorder.events)


def _lost(recorder: Recorder) -> int:
    return sum(isinstance(event, Lost) for event in recorder.events)


def _outcomes(store: Store, batch: Sequence[Write]) -> Sequence[Outcome]:
    try:
        return store.commit(batch)
    except StoreError as error:
        return [error] * len(batch)


def _answers(store: Store) -> bool:
    try:
        store.ping()
    except StoreUnavailable:
        return False
    return True
