"""The store contract: random writes leave a store and a dict with the same records."""

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import Record, Store, Write, delete
from modularity_registry.stores.conformance.recorder import Recorder

# Few keys, so that writes collide; expectations by their place in the key's writes.
KEYS = st.sampled_from(["services/a", "services/A", "services/a.b", "replicas/a"])
VALUES = st.one_of(st.binary(max_size=8), st.just(b"x" * 5_000), st.none())
EXPECTED = st.sampled_from(
    ["any", "any", "current", "current", "stale", "zero", "later"]
)
BATCHES = st.lists(
    st.tuples(KEYS, VALUES, EXPECTED),
    min_size=1,
    max_size=4,
    unique_by=lambda write: write[0],
)

SETTINGS = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,  # a store may be far away
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def agrees_with_a_dict(
    open_store: Callable[[], Store], reopen: Callable[[], Store] | None = None
) -> None:
    """Run random writes and watches; raise `AssertionError` when the store differs.

    With ``reopen`` the store is closed and opened again at random times.
    """

    class Agreement(_Agreement):
        def __init__(self) -> None:
            super().__init__(open_store, reopen)

    run_state_machine_as_test(Agreement, settings=SETTINGS)


class _Agreement(RuleBasedStateMachine):
    def __init__(
        self, open_store: Callable[[], Store], reopen: Callable[[], Store] | None
    ) -> None:
        super().__init__()
        self.reopen = reopen
        self.store = open_store()
        self.recorder = Recorder()
        self.store.watch(self.recorder)
        self.revision = self.recorder.first_snapshot().revision
        self.records: dict[str, Record] = {}
        # A store that is opened again may hold what an earlier run left.
        for key in self.recorder.held():
            self.revision = delete(self.store, key) or self.revision
        self.earlier: dict[str, int] = {}

    @rule(batch=BATCHES)
    def commit(self, batch: list[tuple[str, bytes | None, str]]) -> None:
        writes = [
            Write(key, value, self._expected_revision(key, expected))
            for key, value, expected in batch
        ]
        outcomes = self.store.commit(writes)
        before = newest = self.revision
        for write, outcome in zip(writes, outcomes, strict=True):
            current = self.records.get(write.key)
            actual = current.revision if current else 0
            if write.expected not in (None, actual):
                assert isinstance(outcome, StoreConflict)
                assert (outcome.key, outcome.actual) == (write.key, actual)
            elif write.value is None and current is None:
                assert outcome is None
            else:
                assert isinstance(outcome, int)
                assert outcome > before
                assert outcome >= newest
                newest = outcome
                self._apply(write, outcome)
        self.revision = newest

    @rule()
    def look(self) -> None:
        recorder = Recorder()
        self.store.watch(recorder).close()
        snapshot = recorder.first_snapshot()
        assert snapshot.revision >= self.revision
        revisions = [record.revision for record in snapshot.records]
        assert revisions == sorted(revisions)
        assert {record.key: record for record in snapshot.records} == self.records

    @precondition(lambda self: self.reopen is not None)
    @rule()
    def open_again(self) -> None:
        assert self.reopen is not None
        self._catch_up()
        epoch = self.store.epoch
        self.store.close()
        self.store = self.reopen()
        assert self.store.epoch == epoch
        self.recorder = Recorder()
        self.store.watch(self.recorder)

    def teardown(self) -> None:
        try:
            self._catch_up()
        finally:
            self.store.close()

    def _catch_up(self) -> None:
        self.recorder.wait_for_revision(self.revision)
        assert self.recorder.held() == self.records

    def _expected_revision(self, key: str, expected: str) -> int | None:
        current = self.records[key].revision if key in self.records else 0
        stale = self.earlier.get(key, current)
        by_name = {"current": current, "stale": stale, "zero": 0}
        by_name["later"] = self.revision + 1_000
        return by_name.get(expected)

    def _apply(self, write: Write, revision: int) -> None:
        before = self.records.pop(write.key, None)
        if before is not None:
            self.earlier[write.key] = before.revision
        if write.value is not None:
            self.records[write.key] = Record(write.key, write.value, revision)
