"""The store contract: a batch of writes, each with an outcome of its own."""

import pytest

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import (
    LARGEST_BATCH,
    LARGEST_BATCH_BYTES,
    Change,
    Outcome,
    Record,
    Store,
    Write,
    put,
)
from modularity_registry.stores.conformance.base import (
    Opened,
    assert_agrees,
    snapshot_of,
)
from modularity_registry.stores.conformance.recorder import Recorder


class BatchContract(Opened):
    """Outcomes, their order, and how watches see a batch."""

    def test_each_write_of_a_batch_has_an_outcome_of_its_own(
        self, store: Store
    ) -> None:
        taken = put(store, "services/taken", b"old")
        changed = put(store, "services/changed", b"old")
        deleted = put(store, "services/deleted", b"old")
        outcomes = store.commit(
            [
                Write("services/new", b"new", 0),
                Write("services/taken", b"new", 0),
                Write("services/none", None),
                Write("services/changed", b"new", changed),
                Write("services/missing", None, 7),
                Write("services/deleted", None, deleted),
                Write("services/any", b"new"),
            ]
        )
        new, conflict, nothing, after_change, missing, after_delete, any_ = outcomes
        assert_conflict(conflict, "services/taken", taken)
        assert_conflict(missing, "services/missing", 0)
        assert nothing is None
        revisions = [revision_of(o) for o in (new, after_change, after_delete, any_)]
        assert min(revisions) > deleted
        assert revisions == sorted(revisions)
        held = {r.key: (r.value, r.revision) for r in snapshot_of(store).records}
        assert held == {
            "services/new": (b"new", new),
            "services/taken": (b"old", taken),
            "services/changed": (b"new", after_change),
            "services/any": (b"new", any_),
        }

    def test_a_batch_without_a_change_is_not_told_to_watchers(
        self, store: Store
    ) -> None:
        taken = put(store, "services/taken", b"")
        recorder = Recorder()
        store.watch(recorder)
        conflict, nothing = store.commit(
            [Write("services/taken", b"new", 0), Write("services/none", None)]
        )
        assert_conflict(conflict, "services/taken", taken)
        assert nothing is None
        last = put(store, "services/last", b"")
        recorder.wait_for_revision(last)
        assert recorder.changes == [Change("services/last", b"", last)]

    def test_the_changes_of_a_batch_arrive_in_its_order(self, store: Store) -> None:
        for key in ("services/z", "services/b"):
            put(store, key, b"old")
        recorder = Recorder()
        store.watch(recorder)
        written: list[tuple[str, bytes | None, int]] = []
        for turn in range(5):
            batch = [
                Write("services/y", b"%d" % turn),
                Write("services/taken", b"never", 7),
                Write("services/z", None if turn % 2 else b"%d" % turn),
                Write("services/a", b"%d" % turn),
                Write("services/b", b"%d" % turn),
            ]
            outcomes = store.commit(batch)
            written += [
                (write.key, write.value, outcome)
                for write, outcome in zip(batch, outcomes, strict=True)
                if isinstance(outcome, int)
            ]
        recorder.wait_for_revision(written[-1][-1])
        changes = recorder.changes
        assert [(c.key, c.value, c.revision) for c in changes] == written
        assert_agrees(recorder, store)

    def test_only_the_last_change_of_a_revision_completes_it(
        self, store: Store
    ) -> None:
        recorder = Recorder()
        store.watch(recorder)
        for turn in range(3):
            outcomes = store.commit(
                [Write(f"services/{number}", b"%d" % turn) for number in range(7)]
            )
        recorder.wait_for_revision(revision_of(outcomes[-1]))
        changes = recorder.changes
        following = [change.revision for change in changes[1:]] + [0]
        assert [change.last for change in changes] == [
            change.revision != revision
            for change, revision in zip(changes, following, strict=True)
        ]

    def test_a_batch_writes_no_key_twice(self, store: Store) -> None:
        with pytest.raises(ValueError, match="one write of a key"):
            store.commit(
                [
                    Write("services/a", b"1"),
                    Write("services/b", b"2"),
                    Write("services/a", None),
                ]
            )
        assert snapshot_of(store).records == ()

    def test_the_largest_batch_is_written(self, store: Store) -> None:
        keys = [f"services/{number}" for number in range(LARGEST_BATCH)]
        for value in (b"x" * 600, b"y" * 600):
            outcomes = store.commit([Write(key, value) for key in keys])
            held = {r.key: (r.value, r.revision) for r in snapshot_of(store).records}
            assert held == {
                key: (value, outcome)
                for key, outcome in zip(keys, outcomes, strict=True)
            }
        store.commit([Write(key, None) for key in keys])
        assert snapshot_of(store).records == ()

    @pytest.mark.parametrize(
        ("count", "size"),
        [(LARGEST_BATCH + 1, 0), (2, LARGEST_BATCH_BYTES // 2 + 1)],
        ids=["writes", "bytes"],
    )
    def test_a_larger_batch_is_refused(
        self, store: Store, count: int, size: int
    ) -> None:
        batch = [Write(f"services/{n}", bytes(size)) for n in range(count)]
        with pytest.raises(ValueError, match="a batch has at most"):
            store.commit(batch)
        assert snapshot_of(store).records == ()

    def test_a_batch_has_as_many_bytes_as_it_may(self, store: Store) -> None:
        value = bytes(LARGEST_BATCH_BYTES // 8)
        batch = [Write(f"services/{n}", value) for n in range(8)]
        outcomes = store.commit(batch)
        held = {record.key: record for record in snapshot_of(store).records}
        assert held == {
            write.key: Record(write.key, value, revision_of(outcome))
            for write, outcome in zip(batch, outcomes, strict=True)
        }


def assert_conflict(outcome: Outcome, key: str, actual: int) -> None:
    assert isinstance(outcome, StoreConflict), f"{key}: {outcome!r}"
    assert (outcome.key, outcome.actual) == (key, actual)


def revision_of(outcome: Outcome) -> int:
    assert isinstance(outcome, int), f"no revision: {outcome!r}"
    return outcome
