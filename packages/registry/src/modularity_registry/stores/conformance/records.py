"""The store contract: snapshots, values, keys, revisions and compare-and-set."""

import string

import pytest

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import (
    LARGEST_BATCH,
    Change,
    Outcome,
    Record,
    Store,
    Write,
    delete,
    put,
)
from modularity_registry.stores.conformance.base import (
    Opened,
    assert_growing,
    snapshot_of,
    write,
)
from modularity_registry.stores.conformance.recorder import Recorder


class ReadingContract(Opened):
    """Snapshots, values and keys."""

    def test_a_watch_begins_with_a_snapshot(self, store: Store) -> None:
        first = put(store, "services/a", b"1")
        second = put(store, "services/b", b"2")
        snapshot = snapshot_of(store)
        assert snapshot.records == (
            Record("services/a", b"1", first),
            Record("services/b", b"2", second),
        )
        assert snapshot.revision >= second

    def test_an_empty_store_has_an_empty_snapshot(self, store: Store) -> None:
        assert snapshot_of(store).records == ()

    def test_a_snapshot_is_ordered_by_revision(self, store: Store) -> None:
        for key in ("services/c", "services/a", "services/b", "services/c"):
            put(store, key, b"")
        keys = [record.key for record in snapshot_of(store).records]
        assert keys == ["services/a", "services/b", "services/c"]

    def test_a_snapshot_holds_a_thousand_records(self, store: Store) -> None:
        revisions: dict[str, Outcome] = {}
        for begin in range(0, 1_000, LARGEST_BATCH):
            numbers = range(begin, min(begin + LARGEST_BATCH, 1_000))
            keys = [f"services/{number}" for number in numbers]
            outcomes = store.commit([Write(key, key.encode()) for key in keys])
            revisions |= zip(keys, outcomes, strict=True)
        records = snapshot_of(store).records
        assert {record.key: record.revision for record in records} == revisions
        assert all(record.value == record.key.encode() for record in records)
        ordered = [record.revision for record in records]
        assert ordered == sorted(ordered)

    @pytest.mark.parametrize(
        "value",
        [b"", b"\0", bytes(range(256)), b"\xff\xfe", "ü☃".encode(), b"x" * 65_536],
        ids=["empty", "nul", "every byte", "not text", "utf-8", "64 KiB"],
    )
    def test_values_come_back_as_they_went_in(self, store: Store, value: bytes) -> None:
        recorder = Recorder()
        store.watch(recorder)
        revision = put(store, "services/a", value)
        recorder.wait_for_revision(revision)
        assert recorder.changes == [Change("services/a", value, revision)]
        assert snapshot_of(store).records == (Record("services/a", value, revision),)

    def test_keys_have_every_allowed_character(self, store: Store) -> None:
        allowed = string.ascii_letters + string.digits + "._:-"
        keys = [f"services/{allowed}", *(f"services/{c}" for c in "._:-"), "replicas/x"]
        # The longest one: the longest id in a namespace with the longest name.
        keys.append(f"ns/{'n' * 63}/services/{'i' * 128}")
        # A key may be where another one begins, as capabilities may.
        keys += ["splits/a", "splits/a/b", "splits/a/b/.c/..d", f"splits/{64 * 'x/'}x"]
        for key in keys:
            put(store, key, key.encode())
        records = snapshot_of(store).records
        assert [(record.key, record.value) for record in records] == [
            (key, key.encode()) for key in keys
        ]

    def test_keys_that_differ_only_by_case_are_two(self, store: Store) -> None:
        lower = put(store, "services/name", b"lower")
        upper = put(store, "services/Name", b"upper", expected=0)
        assert snapshot_of(store).records == (
            Record("services/name", b"lower", lower),
            Record("services/Name", b"upper", upper),
        )
        delete(store, "services/NAME")
        assert len(snapshot_of(store).records) == 2

    def test_a_key_that_begins_another_is_its_own(self, store: Store) -> None:
        put(store, "services/a", b"")
        put(store, "services/a.b", b"")
        delete(store, "services/a")
        assert [r.key for r in snapshot_of(store).records] == ["services/a.b"]


class WritingContract(Opened):
    """Revisions and compare-and-set."""

    def test_revisions_only_grow(self, store: Store) -> None:
        revisions = [
            put(store, "services/a", b"1"),
            put(store, "services/a", b"1"),
            put(store, "services/b", b"2"),
            delete(store, "services/a"),
            put(store, "services/a", b"3"),
            delete(store, "services/a"),
            delete(store, "services/b"),
            put(store, "services/b", b"4"),
        ]
        assert_growing(revisions)
        assert snapshot_of(store).revision >= (revisions[-1] or 0)

    def test_deleting_what_is_not_there_changes_nothing(self, store: Store) -> None:
        kept = put(store, "services/kept", b"")
        recorder = Recorder()
        store.watch(recorder)
        assert delete(store, "services/none") is None
        assert delete(store, "services/none", expected=0) is None
        last = put(store, "services/kept", b"", expected=kept)
        recorder.wait_for_revision(last)
        assert recorder.changes == [Change("services/kept", b"", last)]

    def test_a_deleted_record_is_gone(self, store: Store) -> None:
        put(store, "services/a", b"")
        assert delete(store, "services/a") is not None
        assert delete(store, "services/a") is None
        assert snapshot_of(store).records == ()

    @pytest.mark.parametrize("verb", ["put", "delete"])
    @pytest.mark.parametrize("expected", ["none", "current"])
    def test_a_met_expectation_writes(
        self, store: Store, verb: str, expected: str
    ) -> None:
        put(store, "services/a", b"1")
        current = put(store, "services/a", b"2")
        revision = write(store, verb, current if expected == "current" else None)
        assert revision is not None
        assert revision > current
        held = [
            (record.value, record.revision) for record in snapshot_of(store).records
        ]
        assert held == ([(b"new", revision)] if verb == "put" else [])

    @pytest.mark.parametrize("verb", ["put", "delete"])
    @pytest.mark.parametrize("expected", ["zero", "stale", "later"])
    def test_an_expectation_not_met_is_a_conflict(
        self, store: Store, verb: str, expected: str
    ) -> None:
        stale = put(store, "services/a", b"1")
        current = put(store, "services/a", b"2")
        revision = {"zero": 0, "stale": stale, "later": current + 1_000}[expected]
        with pytest.raises(StoreConflict) as caught:
            write(store, verb, revision)
        assert (caught.value.key, caught.value.actual) == ("services/a", current)
        assert snapshot_of(store).records == (Record("services/a", b"2", current),)

    @pytest.mark.parametrize("verb", ["put", "delete"])
    @pytest.mark.parametrize("before", ["never there", "deleted"])
    def test_a_missing_key_meets_no_expectation_but_zero(
        self, store: Store, verb: str, before: str
    ) -> None:
        revision = 7
        if before == "deleted":
            revision = put(store, "services/a", b"1")
            delete(store, "services/a")
        with pytest.raises(StoreConflict) as caught:
            write(store, verb, revision)
        assert (caught.value.key, caught.value.actual) == ("services/a", 0)
        assert snapshot_of(store).records == ()

    def test_zero_expects_that_a_key_is_missing(self, store: Store) -> None:
        first = put(store, "services/a", b"1", expected=0)
        delete(store, "services/a", expected=first)
        second = put(store, "services/a", b"2", expected=0)
        assert snapshot_of(store).records == (Record("services/a", b"2", second),)

    def test_a_conflict_is_not_told_to_watchers(self, store: Store) -> None:
        recorder = Recorder()
        store.watch(recorder)
        first = put(store, "services/a", b"1")
        with pytest.raises(StoreConflict):
            put(store, "services/a", b"refused", expected=0)
        last = put(store, "services/b", b"2")
        recorder.wait_for_revision(last)
        assert [change.revision for change in recorder.changes] == [first, last]
