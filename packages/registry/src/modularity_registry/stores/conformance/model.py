"""The store contract: random writes leave a store and a dict with the same records."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import Record, Store, delete, put
from modularity_registry.stores.conformance.recorder import Recorder

# Few keys, so that writes collide; expectations by their place in the key's writes.
KEYS = st.sampled_from(["services/a", "services/A", "services/a.b", "replicas/a"])
VALUES = st.one_of(st.binary(max_size=8), st.just(b"x" * 5_000))
EXPECTED = st.sampled_from(
    ["any", "any", "current", "current", "stale", "zero", "later"]
)

SETTINGS = settings(
    max_examples=80,
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

    @rule(key=KEYS, value=VALUES, expected=EXPECTED)
    def put(self, key: str, value: bytes, expected: str) -> None:
        revision = self._expected_revision(key, expected)
        if self._refuses(key, revision, lambda: put(self.store, key, value, revision)):
            return
        revision = self._grown(put(self.store, key, value, revision))
        self._remember(key)
        self.records[key] = Record(key, value, revision)

    @rule(key=KEYS, expected=EXPECTED)
    def delete(self, key: str, expected: str) -> None:
        revision = self._expected_revision(key, expected)
        if self._refuses(key, revision, lambda: delete(self.store, key, revision)):
            return
        revision = delete(self.store, key, revision)
        assert (revision is None) == (key not in self.records)
        if revision is not None:
            self._grown(revision)
            self._remember(key)
            del self.records[key]

    @rule()
    def look(self) -> None:
        recorder = Recorder()
        self.store.watch(recorder).close()
        snapshot = recorder.first_snapshot()
        assert snapshot.revision >= self.revision
        ordered = sorted(self.records.values(), key=lambda record: record.revision)
        assert snapshot.records == tuple(ordered)

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

    def _refuses(
        self, key: str, revision: int | None, call: Callable[[], object]
    ) -> bool:
        current = self.records[key].revision if key in self.records else 0
        if revision is None or revision == current:
            return False
        with pytest.raises(StoreConflict) as caught:
            call()
        assert (caught.value.key, caught.value.actual) == (key, current)
        return True

    def _grown(self, revision: int) -> int:
        assert revision > self.revision
        self.revision = revision
        return revision

    def _remember(self, key: str) -> None:
        if key in self.records:
            self.earlier[key] = self.records[key].revision
