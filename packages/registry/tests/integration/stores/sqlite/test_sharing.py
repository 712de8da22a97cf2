"""Several stores over one SQLite file: none misses a change, in whatever order."""

import queue
import random
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from integration.stores.sqlite.support import SECONDS
from modularity_registry.errors import StoreConflict
from modularity_registry.stores.base import Change, Lost, Record, Snapshot, delete, put
from modularity_registry.stores.conformance.contract import snapshot_of
from modularity_registry.stores.conformance.recorder import Recorder
from modularity_registry.stores.sqlite import change_log, layout
from modularity_registry.stores.sqlite.store import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def pair(path: Path) -> Iterator[tuple[SqliteStore, SqliteStore]]:
    with closing(SqliteStore(path)) as one, closing(SqliteStore(path)) as other:
        yield one, other


Pair = tuple[SqliteStore, SqliteStore]


def logged(path: Path) -> list[Change]:
    """Return what the log of the file holds."""
    with closing(sqlite3.connect(path)) as file:
        file.text_factory = bytes
        rows = file.execute(layout.SELECT_LOG).fetchall()
    return [change for row in rows for change in change_log.decode_row(row, path)]


def test_a_change_of_another_is_heard_soon(pair: Pair) -> None:
    one, other = pair
    heard: queue.Queue[float] = queue.Queue()
    one.watch(lambda event: heard.put(time.monotonic()))
    heard.get(timeout=SECONDS)
    waits = []
    for number in range(21):
        put(other, "services/a", b"%d" % number)
        begun = time.monotonic()
        waits.append(heard.get(timeout=SECONDS) - begun)
    # Of a busy machine the slowest ones say more than of the store.
    assert statistics.median(waits) < 0.05


def test_ones_own_write_is_told_after_all_that_came_before_it(pair: Pair) -> None:
    one, other = pair
    recorder = Recorder()
    one.watch(recorder)
    for number in range(0, 40, 2):
        put(other, "services/a", b"%d" % number)
        last = put(one, "services/b", b"")
        assert recorder.changes[-1] == Change("services/b", b"", last)
        assert len(recorder.changes) == number + 2


def test_a_value_that_was_overwritten_is_told(pair: Pair) -> None:
    one, other = pair
    recorder = Recorder()
    one.watch(recorder)
    with one._turn:  # the poller has to wait
        for number in range(5):
            put(other, "services/a", b"%d" % number)
            delete(other, "services/a")
        last = put(other, "services/a", b"last")
    recorder.wait_for_revision(last)
    assert [change.value for change in recorder.changes] == [
        b"0", None, b"1", None, b"2", None, b"3", None, b"4", None, b"last",
    ]  # fmt: skip


def test_a_conflict_is_one_with_what_is_there_now(pair: Pair) -> None:
    one, other = pair
    first = put(one, "services/a", b"1")
    second = put(other, "services/a", b"2")
    third = put(one, "services/a", b"3", expected=second)
    assert delete(other, "services/a", expected=third) == third + 1
    assert delete(one, "services/a") is None
    assert put(other, "services/a", b"4", expected=0) == third + 2
    with pytest.raises(StoreConflict) as caught:
        put(one, "services/a", b"", expected=first)
    assert caught.value.actual == third + 2


@pytest.mark.parametrize("large", [False, True])
def test_who_is_behind_the_log_hears_a_snapshot(
    pair: Pair, path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr(change_log, "MOST_CHANGES" if not large else "MOST_BYTES", 100)
    one, other = pair
    recorder = Recorder()
    one.watch(recorder)
    with one._turn:
        for number in range(130):
            last = put(other, f"services/{number % 7}", b"%d" % number)
        delete(other, "services/3")
    recorder.wait_for_revision(last + 1)
    assert [type(event) for event in recorder.events] == [Snapshot, Snapshot]
    following = put(other, "services/a", b"")
    recorder.wait_for_revision(following)
    assert recorder.events[2:] == [Change("services/a", b"", following)]
    assert put(one, "services/a", b"", expected=following) == following + 1
    assert len(recorder.held()) == 7
    assert len(logged(path)) <= 101


def test_a_log_is_kept_from_the_moment_that_there_are_two(path: Path) -> None:
    with closing(SqliteStore(path)) as one:
        first = put(one, "services/a", b"1")
        assert logged(path) == []
        with closing(SqliteStore(path)) as other:
            recorder = Recorder()
            other.watch(recorder)
            second = put(one, "services/a", b"2")
            assert logged(path) == [Change("services/a", b"2", second)]
            recorder.wait_for_revision(second)
            assert recorder.events == [
                Snapshot((Record("services/a", b"1", first),), first),
                Change("services/a", b"2", second),
            ]


@pytest.mark.parametrize("seed", range(3))
def test_all_that_several_do_at_random_is_told_to_all(
    path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(change_log, "MOST_CHANGES", 20)
    chance = random.Random(seed)
    true: dict[str, Record] = {}
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(SqliteStore(path))) for _ in range(3)]
        recorders = [Recorder() for _ in stores]
        for store, recorder in zip(stores, recorders, strict=True):
            store.watch(recorder)
        last = 0
        for number in range(400):
            store, key = chance.choice(stores), f"services/{chance.randrange(8)}"
            if chance.random() < 0.3:
                revision = delete(store, key)
                assert (revision is None) == (key not in true), f"seed {seed}"
                true.pop(key, None)
            else:
                revision = put(store, key, b"%d" % number)
                true[key] = Record(key, b"%d" % number, revision)
            last = revision or last
        for store, recorder in zip(stores, recorders, strict=True):
            recorder.wait_for_revision(last)
            assert recorder.held() == true, f"seed {seed}"
            assert set(snapshot_of(store).records) == set(true.values())


def test_what_another_file_holds_is_taken_over_with_its_epoch(
    path: Path, pair: Pair
) -> None:
    source = path.with_name("source.db")
    with closing(SqliteStore(source)) as store:
        put(store, "services/b", b"")
        epoch = store.epoch
    put(pair[0], "services/a", b"")
    with closing(sqlite3.connect(source)) as new, closing(sqlite3.connect(path)) as old:
        new.backup(old)
    for store in pair:
        assert [record.key for record in snapshot_of(store).records] == ["services/b"]
        assert store.epoch == epoch


def test_an_older_copy_put_back_never_repeats_a_revision(
    path: Path, pair: Pair
) -> None:
    one, other = pair
    put(one, "services/a", b"old")
    copy = path.with_name("copy.db")
    with closing(sqlite3.connect(path)) as new, closing(sqlite3.connect(copy)) as old:
        new.backup(old)
    recorder = Recorder()
    one.watch(recorder)
    last = [put(other, "services/a", b"%d" % number) for number in range(5)][-1]
    recorder.wait_for_revision(last)
    with closing(sqlite3.connect(copy)) as old, closing(sqlite3.connect(path)) as new:
        old.backup(new)
    recorder.wait(lambda: isinstance(recorder.events[-1], Snapshot), "a snapshot")
    with closing(SqliteStore(path)) as late:  # knows nothing of what was lost
        assert put(late, "services/b", b"late") < last
        recorder.wait(lambda: "services/b" in recorder.held(), "the late write")
    following = put(one, "services/c", b"")
    assert following > last
    numbered = [event for event in recorder.events if not isinstance(event, Lost)]
    revisions = [event.revision for event in numbered]
    assert revisions == sorted(revisions)
    assert set(recorder.held().values()) == set(snapshot_of(one).records)
