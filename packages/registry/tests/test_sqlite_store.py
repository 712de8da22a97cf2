"""What can happen to an SQLite store while it runs, and whom it lets in."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from modularity_registry.errors import (
    StoreConflict,
    StoreError,
    StoreUnavailable,
)
from modularity_registry.stores import sqlite, sqlite_file
from modularity_registry.stores.base import Change, Event, Record, Snapshot
from modularity_registry.stores.sqlite import SqliteStore
from modularity_registry.stores.sqlite_file import SqliteFile
from modularity_registry.testing.recorder import Recorder
from modularity_registry.testing.store_contract import snapshot_of
from sqlite_support import SECONDS, locked, run, wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path, busy_seconds=SECONDS)) as store:
        yield store


def together(
    store: SqliteStore, path: Path, writes: list[Callable[[], object]]
) -> list[Future[object]]:
    """Run ``writes`` so that all but the first wait for the same commit."""
    with ThreadPoolExecutor(len(writes)) as pool:
        with locked(path):
            first = pool.submit(writes[0])
            wait_until(lambda: store._writers._led and not store._writers._waiting)
            rest = [pool.submit(write) for write in writes[1:]]
            wait_until(lambda: len(store._writers._waiting) == len(rest))
        return [first, *rest]


# Commits


def test_writers_that_wait_share_one_commit(store: SqliteStore, path: Path) -> None:
    statements: list[str] = []
    store._file._connection.set_trace_callback(statements.append)
    recorder = Recorder()
    store.watch(recorder)
    done = together(
        store,
        path,
        [partial(store.put, f"services/{n}", b"") for n in range(32)],
    )
    assert sorted(int(str(each.result())) for each in done) == list(range(1, 33))
    assert sum(statement.startswith("INSERT") for statement in statements) == 2
    assert store.commits == 2
    assert [change.revision for change in recorder.changes] == list(range(1, 33))


def test_free_writers_share_commits(store: SqliteStore) -> None:
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: store.put(f"services/{n}", b"x" * 400), range(1_600)))
    assert len(snapshot_of(store).records) == 1_600
    assert store.commits < 1_600


def test_a_put_that_returned_is_committed_and_synced(
    store: SqliteStore, path: Path
) -> None:
    revision = store.put("services/a", b"1")
    with closing(sqlite3.connect(path)) as other:
        rows = other.execute("SELECT revision, value FROM record WHERE key <> ''")
        assert rows.fetchall() == [(revision, b"1")]
    [[synchronous]] = store._file._execute("PRAGMA synchronous")
    [[mode]] = store._file._execute("PRAGMA journal_mode")
    assert (synchronous, mode) == (2, b"wal")


def test_a_conflict_fails_only_its_own_writer(store: SqliteStore, path: Path) -> None:
    mine: list[Callable[[], object]] = [lambda: store.put("services/first", b"")]
    mine += [lambda: store.put("services/a", b"", expected=0)] * 5
    mine += [lambda: store.put("services/b", b""), lambda: store.delete("services/x")]
    done = together(store, path, mine)
    failures = [each.exception() for each in done]
    conflicts = [failure for failure in failures if failure is not None]
    assert len(conflicts) == 4
    held = {record.key: record.revision for record in snapshot_of(store).records}
    assert set(held) == {"services/first", "services/a", "services/b"}
    for conflict in conflicts:
        assert isinstance(conflict, StoreConflict)
        assert conflict.actual == held["services/a"]


def test_all_that_happens_to_a_key_in_one_commit_is_told(
    store: SqliteStore, path: Path
) -> None:
    store.put("services/a", b"old")
    recorder = Recorder()
    store.watch(recorder)
    turns: list[Callable[[], object]] = [lambda: store.put("services/b", b"")]
    for n in range(6):
        turns.append(partial(store.put, "services/a", b"%d" % n))
        turns.append(lambda: store.delete("services/a"))
    for each in together(store, path, turns):
        each.result()
    told = recorder.changes
    assert [change.revision for change in told] == list(range(2, 2 + len(told)))
    assert sum(change.value is not None for change in told) == 7
    held = {r.key: r for r in snapshot_of(store).records}
    assert held == recorder.held()


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("", b"", ValueError),
        ("services/\ud800", b"", ValueError),
        ("services/a", b"12345", ValueError),
        ("services/a", "text", TypeError),
    ],
)
def test_a_bad_write_does_not_poison_a_batch(
    store: SqliteStore,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    value: bytes,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(sqlite, "LARGEST_VALUE", 4)
    with pytest.raises(error):
        store.put(key, value)
    assert store.put("services/a", b"1234") == 1


# Trouble


def test_a_locked_file_fails_the_batch_and_then_works(path: Path) -> None:
    store = SqliteStore(path, busy_seconds=0.2)
    recorder = Recorder()
    store.watch(recorder)
    with locked(path), ThreadPoolExecutor(8) as pool:
        begun = time.monotonic()
        writes = [pool.submit(store.put, f"services/{n}", b"") for n in range(8)]
        failures = [write.exception(SECONDS) for write in writes]
        assert time.monotonic() - begun < SECONDS / 2
    for failure in failures:
        assert isinstance(failure, StoreUnavailable)
        assert f"{path} is locked by another program" in failure.detail
    assert len(set(map(id, failures))) == 8
    assert recorder.changes == []
    assert store.put("services/a", b"") == 1
    assert recorder.changes == [Change("services/a", b"", 1)]
    store.close()


def test_a_locked_file_does_not_open_and_then_does(path: Path) -> None:
    SqliteStore(path).close()
    with locked(path), pytest.raises(StoreUnavailable, match="is locked by"):
        SqliteStore(path, busy_seconds=0.1)
    SqliteStore(path).close()


def test_a_full_disk_changes_nothing_and_passes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(path)
    recorder = Recorder()
    store.watch(recorder)
    before = store.put("services/a", b"1")
    [[pages]] = store._file._execute("PRAGMA page_count")
    store._file._execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="the disk is full; make room"):
            store.put("services/big", b"x" * 100_000)
    assert [record.key for record in snapshot_of(store).records] == ["services/a"]
    assert store.put("services/a", b"2") == before + 1
    store._file._execute("PRAGMA max_page_count = 100000")
    last = store.put("services/big", b"x" * 100_000)
    assert [change.revision for change in recorder.changes] == [1, 2, last]
    store.close()
    with closing(SqliteStore(path)) as again:
        assert snapshot_of(again).revision == last == 3


FILE_SIZE_PROGRAM = """
import resource, sys
from modularity_registry.errors import StoreUnavailable
from modularity_registry.stores.sqlite import SqliteStore
from modularity_registry.testing.store_contract import snapshot_of
store = SqliteStore(sys.argv[1])
first = store.put("services/a", b"1")
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
refused = 0
for _ in range(3):
    try:
        store.put("services/big", b"x" * 400_000)
    except StoreUnavailable as error:
        refused += 1
        assert "can't be read or written" in error.detail, error.detail
assert refused == 3
assert [r.key for r in snapshot_of(store).records] == ["services/a"]
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
store.ping()
second = store.put("services/big", b"x" * 400_000, expected=0)
assert second > first
store.close()
store = SqliteStore(sys.argv[1])
assert [r.revision for r in snapshot_of(store).records] == [first, second]
store.close()
"""


def test_a_write_that_the_system_refuses_changes_nothing_and_passes(path: Path) -> None:
    run(FILE_SIZE_PROGRAM, path)


def test_a_commit_that_landed_with_an_error_is_found_out(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    store.put("services/a", b"1")
    with failing_execute(monkeypatch, after=True), pytest.raises(StoreUnavailable):
        store.put("services/b", b"2")
    assert len(recorder.changes) == 1
    assert store.put("services/c", b"3") == 3
    announced, change = recorder.events[-2:]
    assert isinstance(announced, Snapshot)
    assert announced.revision == 2
    assert [record.key for record in announced.records] == ["services/a", "services/b"]
    assert change == Change("services/c", b"3", 3)


def test_a_commit_that_failed_in_doubt_is_found_undone(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    store.watch(recorder)
    store.put("services/a", b"1")
    with failing_execute(monkeypatch, after=False), pytest.raises(StoreUnavailable):
        store.put("services/b", b"2")
    with pytest.raises(StoreConflict):
        store.put("services/b", b"2", expected=2)
    assert store.put("services/b", b"2", expected=0) == 2
    assert [change.revision for change in recorder.changes] == [1, 2]
    assert len(recorder.events) == 3


def test_a_delete_that_fails_leaves_no_transaction_open(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("services/a", b"1")
    with failing_execute(monkeypatch, after=False), pytest.raises(StoreUnavailable):
        store.delete("services/a")
    with locked(path):
        pass  # nobody else holds it
    assert [record.key for record in snapshot_of(store).records] == ["services/a"]
    assert store.delete("services/a") == 2


def test_trouble_that_stays_is_told_each_time(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("services/a", b"1")
    with failing_execute(monkeypatch, after=False):
        for call in (lambda: store.put("services/b", b""), store.ping, store.ping):
            with pytest.raises(StoreError):
                call()
    store.ping()
    assert store.put("services/b", b"") == 2


def test_a_write_interrupted_after_its_commit_is_told_as_a_snapshot(
    store: SqliteStore,
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Change):
            raise KeyboardInterrupt

    interrupted = store.watch(interrupt)
    recorder = Recorder()
    store.watch(recorder)
    with pytest.raises(KeyboardInterrupt):
        store.put("services/a", b"1")
    interrupted.close()
    assert store.put("services/b", b"2") == 2
    told = recorder.events[1:]
    assert told == [
        Snapshot((Record("services/a", b"1", 1),), 1),
        Change("services/b", b"2", 2),
    ]


@contextmanager
def failing_execute(monkeypatch: pytest.MonkeyPatch, after: bool) -> Iterator[None]:
    """Make every statement end in an I/O error, before or after it is done."""
    execute = SqliteFile._execute

    def fail(self: SqliteFile, sql: str, parameters: object = ()) -> object:
        if after:
            execute(self, sql, parameters)  # type: ignore[arg-type]
        elif sql.startswith("BEGIN"):
            return execute(self, sql)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(SqliteFile, "_execute", fail)
        yield


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_taken_away_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    monkeypatch.setattr(sqlite, "LOOK_SECONDS", -1.0)
    store = SqliteStore(path)
    store.put("services/a", b"1")
    path.rename(path.with_name("elsewhere.db"))
    if replaced:
        sqlite_file.create(path.with_name("other.db"), 1)
        path.with_name("other.db").rename(path)
    for call in (lambda: store.put("services/b", b""), store.ping):
        with pytest.raises(StoreUnavailable, match="was removed or replaced"):
            call()
    path.with_name("elsewhere.db").rename(path)
    store.ping()
    assert store.put("services/b", b"") == 2
    store.close()
