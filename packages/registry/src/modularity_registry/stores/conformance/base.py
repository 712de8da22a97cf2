"""What the parts of the store contract share: fixtures and assertions."""

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from modularity_registry.stores.base import Snapshot, Store, delete, put
from modularity_registry.stores.conformance.recorder import Recorder

OpenStore = Callable[[], Store]

# A call that only ends something must not wait for a server.
PROMPT_SECONDS = 5.0


class Opened:
    """Gives each test an empty store."""

    @pytest.fixture
    def open_new(self) -> OpenStore:
        """Return a function that opens a store with nothing in it, each time."""
        raise NotImplementedError("the store's tests must say how it is opened")

    @pytest.fixture
    def store(self, open_new: OpenStore) -> Iterator[Store]:
        store = open_new()
        yield store
        store.close()


def snapshot_of(store: Store) -> Snapshot:
    """Return what ``store`` holds now."""
    recorder = Recorder()
    store.watch(recorder).close()
    return recorder.first_snapshot()


def write(store: Store, verb: str, expected: int | None) -> int | None:
    if verb == "put":
        return put(store, "services/a", b"new", expected)
    return delete(store, "services/a", expected)


def assert_growing(revisions: Sequence[int | None]) -> None:
    numbers = [revision for revision in revisions if revision is not None]
    assert len(numbers) == len(revisions), f"no revision: {revisions}"
    assert numbers == sorted(set(numbers)), f"revisions went back: {revisions}"


def assert_agrees(recorder: Recorder, store: Store) -> None:
    records = snapshot_of(store).records
    assert recorder.held() == {record.key: record for record in records}


def assert_prompt(call: Callable[[], object], seconds: float = PROMPT_SECONDS) -> None:
    """Call it; raise what it raises, or `AssertionError` when it took too long."""
    begun = time.monotonic()
    try:
        call()
    finally:
        assert time.monotonic() - begun < seconds
